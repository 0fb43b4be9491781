//! Which recorded files are removed, for their age or for their size together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use protocol::{Code, Error};

use super::pattern::Pattern;

/// What of a recorder's files is kept; `None`: without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retention {
    age: Option<Duration>,
    size: Option<u64>,
}

/// A file that a pattern wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// When it was written to last.
    at: SystemTime,
    size: u64,
    path: PathBuf,
}

impl Retention {
    /// From a client: seconds and bytes, 0 for no bound.
    pub(super) fn new(age_s: i64, size: i64) -> Result<Retention, Error> {
        let bound = |name: &str, value: i64| {
            let refused = || Error::new(Code::IllegalParam, format!("{name} is 0 or more"));
            u64::try_from(value).map_err(|_| refused())
        };
        let (age, size) = (bound("retentionAge", age_s)?, bound("retentionSize", size)?);
        Ok(Retention {
            age: (age > 0).then(|| Duration::from_secs(age)),
            size: (size > 0).then_some(size),
        })
    }

    /// Everything is kept.
    pub(super) fn is_none(self) -> bool {
        self == Retention::default()
    }

    /// Removes files that this pattern with this name wrote, oldest first, until what is left is within the bounds; those that
    /// are `in_use` are left alone and counted. Answers how many were removed. Touches the disk.
    pub(super) fn sweep(self, pattern: &Pattern, name: &str, in_use: &HashSet<PathBuf>) -> usize {
        if self.is_none() {
            return 0;
        }
        let mut found = Vec::new();
        look(pattern, name, 0, Path::new("/"), &mut found);
        let mut removed = 0;
        for file in self.excess(found, SystemTime::now(), in_use) {
            match std::fs::remove_file(&file) {
                Ok(()) => {
                    removed += 1;
                    remove_empty(pattern, name, &file);
                }
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "an old recording can't be removed");
                }
            }
        }
        removed
    }

    /// Which of these are too many.
    fn excess(self, mut found: Vec<Found>, now: SystemTime, in_use: &HashSet<PathBuf>) -> Vec<PathBuf> {
        found.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
        let mut total: u64 = found.iter().map(|f| f.size).sum();
        let mut excess = Vec::new();
        for file in found {
            let age = now.duration_since(file.at).unwrap_or_default();
            let too_old = self.age.is_some_and(|most| age > most);
            let too_much = self.size.is_some_and(|most| total > most);
            if (too_old || too_much) && !in_use.contains(&file.path) {
                total -= file.size;
                excess.push(file.path);
            }
        }
        excess
    }
}

/// Finds files of the pattern. Links are not followed.
fn look(pattern: &Pattern, name: &str, depth: usize, directory: &Path, found: &mut Vec<Found>) {
    let is_last = depth + 1 == pattern.depth();
    if !is_last && let Some(fixed) = pattern.fixed_component(depth, name) {
        return look(pattern, name, depth + 1, &directory.join(fixed), found);
    }
    let Ok(entries) = std::fs::read_dir(directory) else {
        return; // not made yet, or gone
    };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(candidate) = file_name.to_str() else {
            continue;
        };
        if !pattern.matches(depth, name, candidate) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        if !is_last && metadata.is_dir() {
            look(pattern, name, depth + 1, &entry.path(), found);
        } else if is_last && metadata.is_file() {
            found.push(Found {
                at: metadata.modified().unwrap_or_else(|_| SystemTime::now()),
                size: metadata.len(),
                path: entry.path(),
            });
        }
    }
}

/// Removes directories that a file's removal left empty, as far up as the pattern names them by time or number.
fn remove_empty(pattern: &Pattern, name: &str, file: &Path) {
    let mut directory = file.parent();
    for depth in (0..pattern.depth().saturating_sub(1)).rev() {
        let Some(path) = directory else { return };
        if pattern.fixed_component(depth, name).is_some() || std::fs::remove_dir(path).is_err() {
            return;
        }
        directory = path.parent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, age: u64, size: u64) -> Found {
        Found {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age),
            size,
            path: name.into(),
        }
    }

    fn excess(retention: Retention, in_use: &[&str]) -> Vec<String> {
        let files = vec![
            found("new", 10, 50),
            found("old", 3_600, 30),
            found("older", 7_200, 20),
        ];
        let in_use = in_use.iter().map(PathBuf::from).collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let excess = retention.excess(files, now, &in_use);
        excess.iter().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_stays() {
        let keep = |age, size| Retention::new(age, size).expect("bounds");
        assert!(excess(keep(0, 0), &[]).is_empty());
        assert_eq!(excess(keep(7_000, 0), &[]), ["older"]);
        assert_eq!(excess(keep(60, 0), &[]), ["older", "old"]);
        assert_eq!(excess(keep(0, 100), &[]), Vec::<String>::new());
        assert_eq!(excess(keep(0, 99), &[]), ["older"]);
        assert_eq!(excess(keep(0, 79), &[]), ["older", "old"]);
        assert_eq!(excess(keep(0, 79), &["older"]), ["old"]);
        assert_eq!(excess(keep(0, 1), &["new"]), ["older", "old"]);
        assert_eq!(
            Retention::new(-1, 0).expect_err("refused").code,
            Code::IllegalParam
        );
    }

    #[test]
    fn only_what_the_pattern_wrote_is_removed_and_its_empty_directories() {
        let root = std::env::temp_dir().join(format!("kms-retention-{}", std::process::id()));
        let file = |name: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            std::fs::write(&path, [0; 100]).expect("written");
        };
        let ours = [
            "cam/2024-01-01/10-00-00.mp4",
            "cam/2024-01-01/11-00-00-2.mp4",
            "cam/2024-01-02/10-00-00.mp4",
        ];
        let others = [
            "cam/2024-01-02/notes.txt",
            "cam/2024-01-02/10-00-00.mp4.bak",
            "cam/2024-01-x/10-00-00.mp4",
            "other/2024-01-01/10-00-00.mp4",
            "cam/10-00-00.mp4",
        ];
        ours.iter().chain(&others).for_each(|name| file(name));
        let linked = root.join("cam/2024-01-03");
        std::os::unix::fs::symlink(root.join("other/2024-01-01"), &linked).expect("a link");
        let text = format!(
            "{}/{{name}}/{{YYYY}}-{{MM}}-{{DD}}/{{hh}}-{{mm}}-{{ss}}.mp4",
            root.display()
        );
        let pattern = Pattern::parse(&text, |t| Some(t.to_owned())).expect("a pattern");
        let retention = Retention::new(0, 1).expect("bounds");
        assert_eq!(retention.sweep(&pattern, "cam", &HashSet::new()), 3);
        for name in others {
            assert!(root.join(name).exists(), "{name}");
        }
        assert!(!root.join("cam/2024-01-01").exists(), "it is empty");
        assert!(root.join("cam/2024-01-02").exists() && linked.exists());
        std::fs::remove_dir_all(root).expect("removed");
    }
}
