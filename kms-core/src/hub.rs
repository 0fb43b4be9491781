//! Hubs: what media of several ports goes through.

use std::sync::{Arc, Mutex, Weak};

use crate::element::Element;
use crate::graph::Way;
use crate::media::Source;
use crate::object::{Object, ObjectCore, lock};
use crate::objects::{HubPort, MediaPipeline};
use crate::server::Server;
use crate::types::MediaType;

/// A hub: an object that decides what leaves its ports.
pub trait Hub: Object {
    /// The part that all hubs share.
    fn hub(&self) -> &HubCore;

    /// What becomes of a kind of media that enters a port. Never changes.
    fn way(&self, media: MediaType) -> Way;

    /// There is another port; what is told last has to be forgotten by [`Hub::left`].
    fn joined(&self, _port: &Arc<HubPort>) {}

    /// A port was released.
    fn left(&self, _port: &HubPort) {}

    /// What leaves a port, if the hub makes it.
    fn source(&self, _port: &HubPort, _media: MediaType) -> Option<Arc<Source>> {
        None
    }

    /// What enters a port, if it ends there. As [`Element::fed_by`], with the same care.
    fn fed_by(&self, _port: &HubPort, _media: MediaType, _source: Option<&Arc<dyn Element>>) {}
}

/// The part that all hubs share.
pub struct HubCore {
    /// What all objects share.
    pub object: ObjectCore,
    /// Oldest first. Changed when ports are created and released.
    ports: Mutex<Vec<Weak<HubPort>>>,
}

impl HubCore {
    /// Of a new hub in this pipeline.
    pub fn new(server: &Server, pipeline: &Arc<MediaPipeline>, qualified_type: &str) -> HubCore {
        let object = ObjectCore::new(
            server,
            qualified_type,
            Some(crate::object::Object::core(&**pipeline)),
        );
        HubCore {
            object: object.in_pipeline(Arc::downgrade(pipeline)),
            ports: Mutex::default(),
        }
    }

    /// Its ports, oldest first.
    pub fn ports(&self) -> Vec<Arc<HubPort>> {
        lock(&self.ports).iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether a port is one of these.
    pub fn owns(&self, port: &HubPort) -> bool {
        port.core().parent() == Some(self.object.id())
    }

    pub(crate) fn add(&self, port: &Arc<HubPort>) {
        lock(&self.ports).push(Arc::downgrade(port));
    }

    pub(crate) fn remove(&self, port: &HubPort) {
        lock(&self.ports).retain(|other| !std::ptr::eq(other.as_ptr(), port));
    }
}
