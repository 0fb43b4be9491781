//! Recordings on their way to a server: first into a local spool, from there over HTTP or to S3.
//!
//! | file | what |
//! |---|---|
//! | `spool.rs` | what waits to be stored, on disk, so that neither an outage nor the end of the server loses it |
//! | `carry.rs` | one file on its way, from its first bytes to its place |
//! | `store.rs` | the places: HTTP and S3 |

mod carry;
mod spool;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, watch};

use kms_core::object::lock;
use spool::{Entry, Spool};
pub(super) use store::Place;

/// Parts and files that are sent at once; others wait.
const MOST_AT_ONCE: usize = 4;

/// Where recordings that go to a server wait, and how S3 is reached.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// The directory of the spool.
    pub spool: PathBuf,
    /// S3, where it is not told by `AWS_*` variables.
    pub s3: S3,
    /// What HTTP goes through.
    pub proxies: Proxies,
}

/// URLs of proxies of HTTP; none: servers are connected to directly.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// On behalf of the operator.
    pub operators: Option<String>,
    /// On behalf of tenants.
    pub tenants: Option<String>,
}

/// How S3 is reached. What is not set is taken from the environment: `AWS_ENDPOINT_URL`, `AWS_REGION` and so on.
#[derive(Clone, Default)]
pub struct S3 {
    /// URL of the service; none: Amazon's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Name of the key.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<String>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the keys.
        write!(f, "S3({:?}, {:?})", self.endpoint, self.region)
    }
}

/// What became of a file that was to be stored.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It is at its place, so many bytes.
    Stored(u64),
    /// It could not be stored for now, and is tried again. Told once a file.
    Delayed(String),
}

/// Who wants to know.
pub(super) type Tell = Arc<dyn Fn(&Place, Outcome) + Send + Sync>;

struct Shared {
    storage: Storage,
    /// What sends runs here, on a thread of its own.
    runtime: Handle,
    turns: Arc<Semaphore>,
    clients: store::Clients,
    spool: OnceLock<Arc<Spool>>,
    opening: std::sync::Mutex<()>,
    /// Dropped with the last clone: the thread ends.
    _end: watch::Sender<()>,
}

/// Carries recordings to servers. Clones are the same.
#[derive(Clone)]
pub(super) struct Uploads(Arc<Shared>);

impl Uploads {
    /// Starts the thread, and goes on with what is left in the spool from before.
    pub(super) fn start(storage: Storage) -> io::Result<Uploads> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, mut ended) = watch::channel(());
        let handle = runtime.handle().clone();
        let clients = store::Clients::new(&storage.proxies).map_err(io::Error::other)?;
        std::thread::Builder::new()
            .name("recorder-uploads".into())
            .spawn(move || {
                runtime.block_on(async { while ended.changed().await.is_ok() {} });
                runtime.shutdown_background();
            })?;
        let uploads = Uploads(Arc::new(Shared {
            storage,
            runtime: handle,
            turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            clients,
            spool: OnceLock::new(),
            opening: std::sync::Mutex::new(()),
            _end: end,
        }));
        if uploads.0.storage.spool.is_dir()
            && let Err(error) = uploads.spool()
        {
            tracing::warn!(spool = %uploads.0.storage.spool.display(), %error, "what waits to be stored can't be read");
        }
        Ok(uploads)
    }

    /// The spool; opened when it is needed first.
    fn spool(&self) -> io::Result<Arc<Spool>> {
        let _one = lock(&self.0.opening);
        if let Some(spool) = self.0.spool.get() {
            return Ok(spool.clone());
        }
        let spool = Arc::new(Spool::open(&self.0.storage.spool)?);
        let _ = self.0.spool.set(spool.clone());
        for entry in spool.left() {
            tracing::info!(place = %entry.place, "a recording of before waits to be stored");
            let (_, ended) = watch::channel(());
            self.carry(entry, ended, Arc::new(|_, _| {}));
        }
        Ok(spool)
    }

    /// Finds out whether something can be spooled.
    pub(super) fn check(&self) -> io::Result<()> {
        self.spool()?.check()
    }

    /// A new file in the spool that goes to that place. What is written into it is sent, in part already while it grows; it is
    /// complete when the sender is dropped.
    pub(super) fn begin(&self, place: Place, tell: Tell) -> io::Result<(PathBuf, watch::Sender<()>)> {
        let entry = self.spool()?.begin(place)?;
        let path = entry.media.clone();
        let (growing, ended) = watch::channel(());
        self.carry(entry, ended, tell);
        Ok((path, growing))
    }

    fn carry(&self, entry: Entry, ended: watch::Receiver<()>, tell: Tell) {
        let store = store::Store::new(
            &entry.place,
            &self.0.clients,
            self.0.storage.proxies.operators.as_ref(),
            &self.0.storage.s3,
        );
        let turns = self.0.turns.clone();
        self.0
            .runtime
            .spawn(carry::carry(entry, store, ended, turns, tell));
    }
}
