//! `HubPort`: where an element meets a hub.

use std::any::Any;
use std::sync::{Arc, Weak};

use protocol::{Error, Ref, params};

use super::{media_element, names};
use crate::class::Class;
use crate::element::{Element, ElementCore};
use crate::graph::Way;
use crate::hub::Hub;
use crate::media::{Format, Source};
use crate::object::{Object, ObjectCore};
use crate::types::MediaType;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The hub it belongs to.
        hub "hub": Ref<names::Hub>,
    }
}

/// A port of a hub.
pub struct HubPort {
    element: ElementCore,
    hub: Weak<dyn Hub>,
}

impl Object for HubPort {
    fn core(&self) -> &ObjectCore {
        &self.element.object
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn into_element(self: Arc<Self>) -> Option<Arc<dyn Element>> {
        Some(self)
    }
    fn released(&self) {
        self.element.leave();
        if let Some(hub) = self.hub.upgrade() {
            hub.hub().remove(self);
            hub.left(self);
        }
    }
}

impl Element for HubPort {
    fn element(&self) -> &ElementCore {
        &self.element
    }
    fn way(&self, media: MediaType) -> Way {
        self.hub.upgrade().map_or(Way::Ends, |hub| hub.way(media))
    }
    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        self.hub.upgrade()?.source(self, media)
    }
    fn taking(&self, media: MediaType) -> Option<Format> {
        let mixed = self.way(media) == Way::Ends && media != MediaType::Data;
        mixed.then_some(Format::Raw)
    }
    fn flowing(&self) -> Vec<Arc<Source>> {
        let kinds = [MediaType::Audio, MediaType::Video].into_iter();
        kinds.filter_map(|kind| self.source(kind)).collect()
    }
    fn fed_by(&self, media: MediaType, source: Option<&Arc<dyn Element>>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.fed_by(self, media, source);
        }
    }
}

/// The class.
pub(super) fn class() -> Class<HubPort> {
    Class::<HubPort>::new(
        "HubPort",
        "core",
        "Where an element meets a hub: what it sends to the port goes into the hub, what the hub has for it leaves the port.",
    )
    .extends(media_element::class())
    .constructor(|call, p: Create| {
        let hub = call.constructor_hub(&p.hub)?;
        let pipeline = hub.core().pipeline().ok_or_else(|| Error::object_not_found(&p.hub.id))?;
        let element = ElementCore::new(&pipeline, hub.core(), "kurento.HubPort")
            .ok_or_else(|| Error::object_not_found(&p.hub.id))?;
        let port = Arc::new(HubPort {
            element,
            hub: Arc::downgrade(&hub),
        });
        pipeline.join(port.clone());
        hub.hub().add(&port);
        hub.joined(&port);
        Ok(port)
    })
}
