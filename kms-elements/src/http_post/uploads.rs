//! Which URL belongs to which endpoint.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kms_core::object::lock;

use super::endpoint::HttpPostEndpoint;
use super::upload::{Upload, UploadError};

/// All endpoints that can be uploaded to, by the id in their URLs. Cheap to clone.
#[derive(Clone)]
pub struct Uploads(Arc<Shared>);

struct Shared {
    /// What URLs begin with; known once the server listens.
    base: OnceLock<String>,
    most_unindexed: u64,
    /// As many as there are endpoints: each leaves when it is released.
    endpoints: Mutex<HashMap<String, Weak<HttpPostEndpoint>>>,
}

impl Uploads {
    /// None yet. `most_unindexed`: bytes of media that an MP4 file may hold before its index, without which it can't be played.
    pub fn new(most_unindexed: u64) -> Uploads {
        Uploads(Arc::new(Shared {
            base: OnceLock::new(),
            most_unindexed,
            endpoints: Mutex::default(),
        }))
    }

    /// What URLs begin with, such as `http://198.51.100.7:8888/upload/`. The first call counts.
    pub fn serve_at(&self, base: String) {
        let _ = self.0.base.set(base);
    }

    /// Begins an upload.
    pub fn begin(&self, id: &str) -> Result<Upload, UploadError> {
        let endpoint = lock(&self.0.endpoints).get(id).and_then(Weak::upgrade);
        endpoint.ok_or(UploadError::Unknown)?.begin()
    }

    pub(super) fn url(&self, id: &str) -> Option<String> {
        self.0.base.get().map(|base| format!("{base}{id}"))
    }

    pub(super) fn most_unindexed(&self) -> u64 {
        self.0.most_unindexed
    }

    pub(super) fn join(&self, id: &str, endpoint: Weak<HttpPostEndpoint>) {
        lock(&self.0.endpoints).insert(id.to_owned(), endpoint);
    }

    pub(super) fn leave(&self, id: &str) {
        lock(&self.0.endpoints).remove(id);
    }
}
