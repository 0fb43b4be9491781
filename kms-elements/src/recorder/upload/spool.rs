//! What waits to be stored, on disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::store::Place;

/// One file, and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The file.
    pub(super) media: PathBuf,
    /// What says where it goes.
    note: PathBuf,
    /// Where it goes.
    pub(super) place: Place,
}

impl Entry {
    /// Removes it: it is at its place.
    pub(super) fn remove(&self) {
        // The media first: a note alone means nothing.
        for path in [&self.media, &self.note] {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %path.display(), %error, "a stored recording can't be removed from the spool");
            }
        }
    }
}

/// A directory with pairs of files: media, and a note that says where it goes.
pub(super) struct Spool {
    directory: PathBuf,
    /// Locked as long as it is open, so that two servers don't store the same.
    _lock: File,
}

impl Spool {
    /// Opens it; made if it isn't there. For its owner alone: places may hold passwords.
    pub(super) fn open(directory: &Path) -> io::Result<Spool> {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::other("another server uses it"))?;
        Ok(Spool {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Whether something can be written there.
    pub(super) fn check(&self) -> io::Result<()> {
        let path = self.directory.join("check");
        File::create(&path)?;
        std::fs::remove_file(path)
    }

    /// What is left from before, oldest first.
    pub(super) fn left(&self) -> Vec<Entry> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut left = Vec::new();
        for entry in entries.flatten() {
            let note = entry.path();
            if note.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let media = note.with_extension("media");
            let written = std::fs::metadata(&media).map(|m| (m.len(), m.modified().ok()));
            match (written, read(&note)) {
                (Ok((size, at)), Some(place)) if size > 0 => left.push((at, Entry { media, note, place })),
                // Nothing was written before the server ended.
                (Ok((0, _)) | Err(_), place) => {
                    let place = place.unwrap_or_default();
                    Entry { media, note, place }.remove();
                }
                (Ok(_), _) => {
                    tracing::warn!(file = %note.display(), "it does not say where its recording goes")
                }
            }
        }
        left.sort_by_key(|(at, _)| *at);
        left.into_iter().map(|(_, entry)| entry).collect()
    }

    /// A new, empty file that goes there.
    pub(super) fn begin(&self, place: Place) -> io::Result<Entry> {
        let media = self.directory.join(format!("{}.media", Uuid::new_v4()));
        let note = media.with_extension("json");
        let text = json!({ "uri": place.uri() }).to_string();
        let private = |path: &Path| {
            OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(path)
        };
        io::Write::write_all(&mut private(&note)?, text.as_bytes())?;
        private(&media)?;
        Ok(Entry { media, note, place })
    }
}

fn read(note: &Path) -> Option<Place> {
    let text = std::fs::read_to_string(note).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    Place::parse(value["uri"].as_str()?)
}
