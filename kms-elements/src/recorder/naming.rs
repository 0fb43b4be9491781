//! Which file comes next.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use kms_core::object::lock;

use super::pattern::{Pattern, Values, numbered};

/// A name that is taken is tried with numbers up to this one.
const MOST_ALIKE: u32 = 10_000;

/// Files that are being written, which nobody may remove. Clones are the same.
pub(super) type InUse = Arc<Mutex<HashSet<PathBuf>>>;

/// A file that is being written, as long as this lives.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where it is.
    pub(super) path: PathBuf,
    in_use: InUse,
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.in_use).remove(&self.path);
    }
}

/// The files of one recorder, one after the other. What it does touches the disk.
pub(super) struct Naming {
    pattern: Pattern,
    in_use: InUse,
    /// Files begun so far.
    count: AtomicU64,
    /// The file system of the first file: what is mounted there must not go away unnoticed.
    device: OnceLock<u64>,
}

impl Naming {
    /// One that has begun no file.
    pub(super) fn new(pattern: Pattern, in_use: InUse) -> Naming {
        Naming {
            pattern,
            in_use,
            count: AtomicU64::new(0),
            device: OnceLock::new(),
        }
    }

    /// What its names are made of.
    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Where a file that began now would be.
    pub(super) fn example(&self, name: &str) -> PathBuf {
        self.pattern.path(Values {
            name,
            at: SystemTime::now(),
            number: self.count.load(Ordering::Relaxed) + 1,
        })
    }

    /// Makes the file that begins at `at`, empty, and its directories. A recording of one file with a fixed name takes the place
    /// of what is there (`overwrite`); else a name that is taken gets a number: nothing is lost.
    pub(super) fn begin(&self, name: &str, at: SystemTime, overwrite: bool) -> io::Result<Taken> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.pattern.path(Values { name, at, number });
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)?;
        let device = std::fs::metadata(directory)?.dev();
        if *self.device.get_or_init(|| device) != device {
            return Err(io::Error::other("another file system is mounted there now"));
        }
        if overwrite && self.pattern.is_fixed() {
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
        Taken { path, in_use }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_are_left_alone_unless_there_is_one_file() {
        let folder = std::env::temp_dir().join(format!("kms-naming-{}", std::process::id()));
        let text = format!("{}/deep/a.mp4", folder.display());
        let pattern = Pattern::parse(&text, |t| Some(t.to_owned())).expect("a pattern");
        let naming = Naming::new(pattern, InUse::default());
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
        let naming = Naming::new(pattern, InUse::default());
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
