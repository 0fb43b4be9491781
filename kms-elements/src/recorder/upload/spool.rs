//! What waits to be stored, on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
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
    /// What a server that is no more had begun to send it as.
    pub(super) begun: Option<String>,
}

impl Entry {
    /// Notes that it is being sent as this.
    pub(super) fn remember(&self, upload: &str) {
        let text = json!({ "uri": self.place.uri(), "tenants": self.place.is_a_tenants(), "upload": upload })
            .to_string();
        // In one step, for the server may be killed at any moment.
        let new = self.note.with_extension("new");
        let written = private(&new).and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written.and_then(|()| std::fs::rename(&new, &self.note)) {
            tracing::debug!(file = %self.note.display(), %error, "parts of a recording may be left in its bucket");
        }
    }

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
                (Ok((size, at)), Some((place, begun))) if size > 0 => {
                    left.push((
                        at,
                        Entry {
                            media,
                            note,
                            place,
                            begun,
                        },
                    ));
                }
                // Nothing was written before the server ended.
                (Ok((0, _)) | Err(_), place) => {
                    let (place, begun) = place.unwrap_or_default();
                    Entry {
                        media,
                        note,
                        place,
                        begun,
                    }
                    .remove();
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
        let text = json!({ "uri": place.uri(), "tenants": place.is_a_tenants() }).to_string();
        private(&note)?.write_all(text.as_bytes())?;
        private(&media)?;
        Ok(Entry {
            media,
            note,
            place,
            begun: None,
        })
    }
}

/// A file for its owner alone, empty.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Where a recording goes, and what was begun to send it as.
fn read(note: &Path) -> Option<(Place, Option<String>)> {
    let text = std::fs::read_to_string(note).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let begun = value["upload"].as_str().map(str::to_owned);
    let tenants = value["tenants"].as_bool().unwrap_or_default();
    Some((Place::parse(value["uri"].as_str()?)?.of(tenants), begun))
}
