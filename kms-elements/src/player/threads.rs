//! Threads that read all cameras.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

/// How often cameras are looked at. What has come since is read at once: a thread that woke for each packet of each camera would cost
/// more than all it does then.
const PACE: Duration = Duration::from_millis(10);
/// How often what is ready is looked for each time, with up to 128 packets of each camera.
const TURNS: usize = 4;

/// A thread that reads cameras.
#[derive(Clone)]
pub(super) struct ReadingThread {
    runtime: tokio::runtime::Handle,
    thread: std::thread::Thread,
}

impl ReadingThread {
    fn start(number: usize) -> std::io::Result<ReadingThread> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let work = move || {
            loop {
                runtime.block_on(async {
                    for _ in 0..TURNS {
                        tokio::task::yield_now().await;
                    }
                });
                match runtime.metrics().num_alive_tasks() {
                    0 => std::thread::park(),
                    _ => std::thread::park_timeout(PACE),
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("cameras-{number}"));
        Ok(ReadingThread {
            runtime: handle,
            thread: thread.spawn(work)?.thread().clone(),
        })
    }

    /// Runs a task on it.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        let task = self.runtime.spawn(task).abort_handle();
        self.thread.unpark();
        task
    }
}

/// The one with the fewest cameras. `None`: none could be started.
pub(super) fn least_busy() -> Option<ReadingThread> {
    let threads = threads().iter();
    threads
        .min_by_key(|t| t.runtime.metrics().num_alive_tasks())
        .cloned()
}

/// One for each core.
fn threads() -> &'static [ReadingThread] {
    static THREADS: LazyLock<Vec<ReadingThread>> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores).map(ReadingThread::start);
        let failed = |error: &std::io::Error| tracing::warn!(%error, "a thread for cameras can't be had");
        threads
            .filter_map(|thread| thread.inspect_err(failed).ok())
            .collect()
    });
    &THREADS
}
