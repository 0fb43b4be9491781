//! What Linux tells of a process: CPU time, memory, threads, descriptors (proc(5)).

use std::io;
use std::time::Duration;

/// A process at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all its threads since it started, user and system. The kernel gives it in ticks of 10 ms.
    pub(crate) cpu: Duration,
    /// Memory that is in RAM, in bytes.
    pub(crate) rss: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open file descriptors.
    pub(crate) fds: u64,
}

/// Looks at a process.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let unknown = |file: &str| io::Error::other(format!("/proc/{pid}/{file} has another form than expected"));
    let ticks = cpu_ticks(&read("stat")?).ok_or_else(|| unknown("stat"))?;
    let status = read("status")?;
    let field = |name: &str| status_field(&status, name).ok_or_else(|| unknown("status"));
    Ok(Usage {
        cpu: in_time(ticks),
        rss: field("VmRSS")? * 1024,
        threads: field("Threads")?,
        fds: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
    })
}

/// Memory of a process that is no part of a file, in bytes.
pub(crate) fn anonymous(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status_field(&status, "RssAnon").ok_or_else(|| io::Error::other("no RssAnon in its status"))?;
    Ok(kib * 1024)
}

/// CPU time of the process's threads of this name; if it ends with a colon, of those whose names begin so: GStreamer calls a thread after its
/// element and pad.
pub(crate) fn threads(pid: u32, name: &str) -> io::Result<Duration> {
    let mut ticks = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended meanwhile used what it used.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        let is = stat
            .split_once('(')
            .and_then(|(_, rest)| Some(rest.rsplit_once(')')?.0));
        if is.is_some_and(|is| is == name || (name.ends_with(':') && is.starts_with(name))) {
            ticks += cpu_ticks(&stat).unwrap_or_default();
        }
    }
    Ok(in_time(ticks))
}

/// User and system time of a line of `/proc/PID/stat`, in ticks. The second field, the command's name in parentheses, may
/// hold anything, blanks and parentheses too.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    // Fields are counted from 1 in proc(5), and these begin with the third: utime is 14, stime 15.
    let mut times = fields.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

/// The number of a field of `/proc/PID/status`; memory is in kB there, which means 1,024 bytes.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// CPU time that all processes of the machine have used since it started.
pub(crate) fn machine_cpu() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks =
        busy_ticks(&stat).ok_or_else(|| io::Error::other("/proc/stat has another form than expected"))?;
    Ok(in_time(ticks))
}

/// Ticks of all processors that were spent on processes: user, nice and system.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace();
    (0..3).try_fold(0, |sum, _| Some(sum + fields.next()?.parse::<u64>().ok()?))
}

fn in_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// Name of the processor, and how many of it there are.
pub(crate) fn machine() -> (String, usize) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    (
        model.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned()),
        std::thread::available_parallelism().map_or(1, usize::from),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4242 (a (very) odd name) S 1 4242 4242 0 -1 4194560 9000 0 0 0 137 63 8 9 20 0 7 0 123456 \
                        1000000 2500 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0";

    #[test]
    fn cpu_time_is_user_and_system_without_children() {
        assert_eq!(cpu_ticks(STAT), Some(137 + 63));
        assert_eq!(cpu_ticks("4242 (short) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn time_of_the_machine_leaves_out_idle_and_waiting() {
        let stat = "cpu  100 20 3 4000 500 60 7 8 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(busy_ticks(stat), Some(123));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
    }

    #[test]
    fn fields_of_status() {
        let status = "Name:\tkms\nVmRSS:\t   10240 kB\nRssAnon:\t 1 kB\nThreads:\t7\n";
        assert_eq!(status_field(status, "VmRSS"), Some(10_240));
        assert_eq!(status_field(status, "Threads"), Some(7));
        assert_eq!(status_field(status, "Vm"), None, "only the whole name counts");
    }

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let usage = usage(std::process::id()).expect("proc is mounted");
        assert!(
            usage.rss > 100_000 && usage.threads >= 1 && usage.fds >= 3,
            "{usage:?}"
        );
    }
}
