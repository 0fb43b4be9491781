//! What all recorders share: threads they work on, and which files are open.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use kms_core::object::lock;

use super::naming::InUse;
use super::upload::{Storage, Uploads};

/// Jobs that may wait. More would need recorders by the ten thousand, all changing at once; what comes then is dropped with an
/// error in the log.
const MOST_JOBS: usize = 65_536;

/// Chores that may wait. What comes when there are more is left out, and done at the next occasion.
const MOST_CHORES: usize = 4_096;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Open {
    count: Mutex<usize>,
    closed: Condvar,
}

/// What all recorders of a server share. Clones are the same.
///
/// Recorders do on one thread, in order, what takes time or locks: opening files, choosing formats, telling clients. The graph
/// and GStreamer's threads, where it is asked for, must not wait. On another, what can wait: looking through directories, and
/// removing old files.
#[derive(Clone)]
pub struct Recordings {
    open: Arc<Open>,
    jobs: SyncSender<Job>,
    chores: SyncSender<Job>,
    in_use: InUse,
    uploads: Uploads,
    counters: Arc<Counters>,
}

/// What recorders have done since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Recordings {
    /// Starts the threads, and goes on storing what waits for it since before. They end with the last clone. Fails if the system
    /// gives none.
    pub fn start(storage: Storage) -> std::io::Result<Recordings> {
        let (jobs, queue) = sync_channel::<Job>(MOST_JOBS);
        let (chores, later) = sync_channel::<Job>(MOST_CHORES);
        work("recorders", queue)?;
        work("recorder-chores", later)?;
        Ok(Recordings {
            open: Arc::default(),
            jobs,
            chores,
            in_use: InUse::default(),
            uploads: Uploads::start(storage)?,
            counters: Arc::default(),
        })
    }

    /// Files that were completed since the start, their bytes, and recordings that failed.
    pub fn done(&self) -> [u64; 3] {
        let Counters {
            files,
            bytes,
            failures,
        } = &*self.counters;
        [files, bytes, failures].map(|count| count.load(Ordering::Relaxed))
    }

    /// Files that are being written.
    pub fn open(&self) -> usize {
        *lock(&self.open.count)
    }

    /// What recorders count.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until all files are closed, at most so long; answers how many are open still. Blocks: for the server's end, on a
    /// thread that may.
    pub fn wait_until_closed(&self, longest: Duration) -> usize {
        let count = lock(&self.open.count);
        let waited = self
            .open
            .closed
            .wait_timeout_while(count, longest, |open| *open > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count
    }

    /// Does this soon, in order, on the recorders' thread.
    pub(super) fn soon(&self, job: impl FnOnce() + Send + 'static) {
        if self.jobs.try_send(Box::new(job)).is_err() {
            tracing::error!("too much waits to be done for recorders; a job is dropped");
        }
    }

    /// Does this when there is time, beside all media.
    pub(super) fn when_there_is_time(&self, chore: impl FnOnce() + Send + 'static) {
        if self.chores.try_send(Box::new(chore)).is_err() {
            tracing::warn!("too much is to be tidied up for recorders; something is left for later");
        }
    }

    /// Files that are being written.
    pub(super) fn in_use(&self) -> &InUse {
        &self.in_use
    }

    /// What carries files to servers.
    pub(super) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// A file is open as long as this lives.
    pub(super) fn opened(&self) -> OpenFile {
        *lock(&self.open.count) += 1;
        OpenFile(self.open.clone())
    }
}

/// A thread that does jobs until nobody can give it more.
fn work(name: &str, queue: Receiver<Job>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    let work = move || {
        for job in queue {
            // One recorder's panic, which is reported already, must not stop the others.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    };
    thread.spawn(work).map(drop)
}

/// A file that is open.
pub(super) struct OpenFile(Arc<Open>);

impl Drop for OpenFile {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.closed.notify_all();
    }
}
