//! Which file comes next.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use kms_core::Reach;
use kms_core::object::lock;

use tokio::sync::watch;

use super::pattern::{Pattern, Values, numbered};
use super::upload::{Place, Tell, Uploads};
use super::uri::{self, Target};

/// A name that is taken is tried with numbers up to this one.
const MOST_ALIKE: u32 = 10_000;

/// Files that are being written, which nobody may remove. Clones are the same.
pub(super) type InUse = Arc<Mutex<HashSet<PathBuf>>>;

/// A file that is being written, as long as this lives.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where it is written.
    pub(super) path: PathBuf,
    /// Where it goes from there.
    place: Option<Place>,
    in_use: InUse,
    /// Dropped with it: then it is complete.
    _growing: Option<watch::Sender<()>>,
}

impl Taken {
    /// Where it is or will be, without secrets.
    pub(super) fn uri(&self) -> String {
        self.place
            .as_ref()
            .map_or_else(|| uri::file(&self.path), Place::to_string)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.in_use).remove(&self.path);
    }
}

/// The files of one recorder, one after the other. What it does touches the disk.
pub(super) struct Naming {
    target: Target,
    /// What may be reached on behalf of who records.
    reach: Reach,
    in_use: InUse,
    uploads: Uploads,
    /// Who hears what became of files that go to a server.
    tell: OnceLock<Tell>,
    /// The last name on a server, and how often it was given.
    last: Mutex<(PathBuf, u32)>,
    /// Files begun so far.
    count: AtomicU64,
    /// The file system of the first file: what is mounted there must not go away unnoticed.
    device: OnceLock<u64>,
}

impl Naming {
    /// One that has begun no file.
    pub(super) fn new(target: Target, reach: Reach, in_use: InUse, uploads: Uploads) -> Naming {
        Naming {
            target,
            reach,
            in_use,
            uploads,
            tell: OnceLock::new(),
            last: Mutex::default(),
            count: AtomicU64::new(0),
            device: OnceLock::new(),
        }
    }

    /// Tells what becomes of files that go to a server.
    pub(super) fn on_outcome(&self, tell: Tell) {
        let _ = self.tell.set(tell); // once, by the recorder that owns it
    }

    /// What names of its files are made of; `None`: they go to a server.
    pub(super) fn local_pattern(&self) -> Option<&Pattern> {
        self.target.server.is_none().then_some(&self.target.pattern)
    }

    /// Finds out whether a file can be made, without touching what is there. Directories are made.
    pub(super) fn check(&self, name: &str) -> io::Result<()> {
        if self.target.server.is_some() {
            return self.uploads.check();
        }
        let path = self.example(name);
        self.reach.file(&path).map_err(io::Error::other)?;
        make_directory_of(&path)?;
        let existed = path.exists();
        OpenOptions::new().create(true).append(true).open(&path)?;
        if existed {
            Ok(())
        } else {
            std::fs::remove_file(path)
        }
    }

    /// Where a file that began now would be.
    pub(super) fn example(&self, name: &str) -> PathBuf {
        self.target.pattern.path(Values {
            name,
            at: SystemTime::now(),
            number: self.count.load(Ordering::Relaxed) + 1,
        })
    }

    /// Makes the file that begins at `at`, empty, and its directories. A recording of one file with a fixed name takes the place
    /// of what is there (`overwrite`); else a name that is taken gets a number: nothing is lost.
    pub(super) fn begin(&self, name: &str, at: SystemTime, overwrite: bool) -> io::Result<Taken> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.target.pattern.path(Values { name, at, number });
        if let Some(server) = &self.target.server {
            return self.begin_upload(server, path);
        }
        self.reach.file(&path).map_err(io::Error::other)?;
        let directory = make_directory_of(&path)?;
        let device = std::fs::metadata(directory)?.dev();
        if *self.device.get_or_init(|| device) != device {
            return Err(io::Error::other("another file system is mounted there now"));
        }
        if overwrite && self.target.pattern.is_fixed() {
            OpenOptions::new().create(true).append(true).open(&path)?;
            return Ok(self.take(path));
        }
        let plain = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for alike in 1..=MOST_ALIKE {
            let path = if alike == 1 {
                path.clone()
            } else {
                path.with_file_name(numbered(&plain, alike))
            };
            match OpenOptions::new().create_new(true).write(true).open(&path) {
                Ok(_) => return Ok(self.take(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn take(&self, path: PathBuf) -> Taken {
        lock(&self.in_use).insert(path.clone());
        let in_use = self.in_use.clone();
        Taken {
            path,
            place: None,
            in_use,
            _growing: None,
        }
    }

    /// Makes a file in the spool that goes to a server. What is there already isn't known: but two files of this recorder that
    /// follow each other don't get the same name.
    fn begin_upload(&self, server: &str, mut path: PathBuf) -> io::Result<Taken> {
        {
            let mut last = lock(&self.last);
            if last.0 == path {
                last.1 += 1;
                let plain = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                path.set_file_name(numbered(&plain, last.1));
            } else {
                *last = (path.clone(), 1);
            }
        }
        let place = Place::parse(&format!("{server}{}", path.display()));
        let place = place.ok_or_else(|| io::Error::other("its URI has become none"))?;
        let place = place.of(self.reach.is_a_tenants());
        let tell = self.tell.get().cloned().unwrap_or_else(|| Arc::new(|_, _| {}));
        let (path, growing) = self.uploads.begin(place.clone(), tell)?;
        let mut taken = self.take(path);
        taken.place = Some(place);
        taken._growing = Some(growing);
        Ok(taken)
    }
}

/// Makes the directory that a file is to be in, and those above it.
pub(super) fn make_directory_of(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(|error| match error.kind() {
        // The system's "File exists" would puzzle people.
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            io::Error::other("a part of its path is a file, not a directory")
        }
        _ => error,
    })?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::super::upload::Storage;
    use super::*;

    fn naming(pattern: Pattern) -> Naming {
        let target = Target {
            pattern,
            server: None,
        };
        let uploads = Uploads::start(Storage::default()).expect("a thread");
        Naming::new(target, Reach::default(), InUse::default(), uploads)
    }

    #[test]
    fn names_that_are_taken_are_left_alone_unless_there_is_one_file() {
        let folder = std::env::temp_dir().join(format!("kms-naming-{}", std::process::id()));
        let text = format!("{}/deep/a.mp4", folder.display());
        let pattern = Pattern::parse(&text, |t| Some(t.to_owned())).expect("a pattern");
        let naming = naming(pattern);
        let begin = |overwrite| {
            let path = naming
                .begin("", SystemTime::now(), overwrite)
                .expect("a file")
                .path
                .clone();
            path.file_name().expect("a name").to_string_lossy().into_owned()
        };
        assert_eq!(begin(false), "a.mp4");
        assert_eq!(begin(false), "a-2.mp4");
        assert_eq!(begin(false), "a-3.mp4");
        assert_eq!(begin(true), "a.mp4");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_counter_counts_the_files_of_a_recorder() {
        let folder = std::env::temp_dir().join(format!("kms-counted-{}", std::process::id()));
        let text = format!("{}/{{n}}.mp4", folder.display());
        let pattern = Pattern::parse(&text, |t| Some(t.to_owned())).expect("a pattern");
        let naming = naming(pattern);
        for n in 1..4 {
            assert_eq!(naming.example(""), folder.join(format!("{n}.mp4")));
            let path = naming
                .begin("", SystemTime::now(), true)
                .expect("a file")
                .path
                .clone();
            assert_eq!(path, folder.join(format!("{n}.mp4")));
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
