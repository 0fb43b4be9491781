//! Whether the machine has room for more: memory, open files, CPU.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Code, Error};
use rustix::process::{Resource, getrlimit};

/// How often memory and CPU are looked at. CPU is the mean of the last two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Open files are counted no more often than this: each count reads a directory.
const COUNT: Duration = Duration::from_millis(100);

/// What must be left for new objects to be made. 0 of anything: that isn't looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    pub(crate) files: usize,
    pub(crate) memory_mib: usize,
    pub(crate) cpu_percent: usize,
}

/// What there is.
pub(crate) struct Headroom {
    needs: Needs,
    memory_mib: AtomicU64,
    cpu_percent: AtomicU64,
    files: Mutex<Option<(Instant, usize)>>,
}

impl Headroom {
    pub(crate) fn new(needs: Needs) -> Arc<Headroom> {
        Arc::new(Headroom {
            needs,
            memory_mib: AtomicU64::new(available_memory_mib().unwrap_or(u64::MAX)),
            cpu_percent: AtomicU64::new(0),
            files: Mutex::new(None),
        })
    }

    /// Looks again and again.
    pub(crate) async fn watch(self: Arc<Headroom>) {
        let mut look = tokio::time::interval(LOOK);
        let mut before = (Instant::now(), cpu_time());
        let mut shares = [0.0; 2];
        loop {
            look.tick().await;
            let memory = available_memory_mib().unwrap_or(u64::MAX);
            self.memory_mib.store(memory, Ordering::Relaxed);
            let now = (Instant::now(), cpu_time());
            let (wall, used) = (now.0 - before.0, now.1.saturating_sub(before.1));
            if wall < LOOK / 2 {
                continue;
            }
            let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
            shares = [shares[1], used.as_secs_f64() / wall.as_secs_f64() / cpus as f64];
            let percent = 50.0 * (shares[0] + shares[1]);
            self.cpu_percent.store(percent as u64, Ordering::Relaxed);
            before = now;
        }
    }

    /// Whether another object may be made. Error 40009 says what is short.
    pub(crate) fn ask(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(Code::NotEnoughResources, text));
        let Needs {
            files,
            memory_mib,
            cpu_percent,
        } = self.needs;
        let memory = self.memory_mib.load(Ordering::Relaxed);
        if memory < memory_mib as u64 {
            return refuse(format!(
                "{memory} MiB of memory are available, and limits.min_free_memory_mib wants {memory_mib}"
            ));
        }
        let cpu = self.cpu_percent.load(Ordering::Relaxed);
        if (1..100).contains(&cpu_percent) && cpu >= cpu_percent as u64 {
            return refuse(format!(
                "The server uses {cpu}% of the CPU, and limits.max_cpu_percent is {cpu_percent}"
            ));
        }
        if files > 0 {
            let free = self.free_files();
            if free < files {
                return refuse(format!(
                    "{free} more files can be opened, and limits.min_free_files wants {files}: raise the limit of open files (LimitNOFILE, ulimit -n)"
                ));
            }
        }
        Ok(())
    }

    fn free_files(&self) -> usize {
        let mut counted = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match *counted {
            Some((at, free)) if at.elapsed() < COUNT => free,
            _ => {
                let free = free_files();
                *counted = Some((Instant::now(), free));
                free
            }
        }
    }
}

/// How many files may still be opened.
fn free_files() -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count);
    usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(open)
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Memory that could be taken without swapping: of the machine (proc(5)), or of the container if that has less.
fn available_memory_mib() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = machine
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine: u64 = machine.trim().trim_end_matches(" kB").trim().parse().ok()?;
    let container = container_memory(Path::new("/sys/fs/cgroup"));
    Some(container.map_or(machine / 1024, |bytes| (machine / 1024).min(bytes >> 20)))
}

/// Bytes that a container may still take, if it is bounded (cgroup v2). Files that were read are given back when there is need.
fn container_memory(group: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let most: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let statistics = read("memory.stat")?;
    let files = statistics
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let files: u64 = files
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or_default();
    Some(most.saturating_sub(used.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(needs: Needs) -> Result<(), String> {
        Headroom::new(needs).ask().map_err(|error| error.message)
    }

    const NOTHING: Needs = Needs {
        files: 0,
        memory_mib: 0,
        cpu_percent: 0,
    };

    #[test]
    fn what_is_short_is_named() {
        assert_eq!(asking(NOTHING), Ok(()));
        let memory = Needs {
            memory_mib: 1 << 30,
            ..NOTHING
        };
        assert!(asking(memory).unwrap_err().contains("min_free_memory_mib"));
        let files = Needs {
            files: usize::MAX,
            ..NOTHING
        };
        assert!(asking(files).unwrap_err().contains("min_free_files"));
        let busy = Headroom::new(Needs {
            cpu_percent: 80,
            ..NOTHING
        });
        assert!(busy.ask().is_ok());
        busy.cpu_percent.store(80, Ordering::Relaxed);
        assert!(busy.ask().unwrap_err().message.contains("max_cpu_percent"));
    }

    #[test]
    fn a_container_has_what_it_was_given() {
        let group = std::env::temp_dir().join(format!("kms-cgroup-{}", std::process::id()));
        std::fs::create_dir_all(&group).unwrap();
        let write = |name: &str, text: &str| std::fs::write(group.join(name), text).unwrap();
        write("memory.max", "max\n");
        write("memory.current", "300000000\n");
        write("memory.stat", "anon 100000000\ninactive_file 150000000\n");
        assert_eq!(container_memory(&group), None, "not bounded");
        write("memory.max", "400000000\n");
        assert_eq!(container_memory(&group), Some(250_000_000));
        std::fs::remove_dir_all(&group).unwrap();
        assert_eq!(container_memory(&group), None);
    }
}
