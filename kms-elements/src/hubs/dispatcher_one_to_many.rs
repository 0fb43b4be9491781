//! `DispatcherOneToMany`: one port's media for all.

use std::sync::{Arc, Mutex, Weak};

use kms_core::graph::Way;
use kms_core::object::lock;
use kms_core::objects::{HubPort, InPipeline, hub, names};
use kms_core::types::MediaType;
use kms_core::{Class, Hub, HubCore};
use protocol::{NoParams, Ref, params};

use super::{KINDS, hub_object, new_hub, port, routed, wire};

params! {
    /// Parameters of `setSource`.
    pub struct SetSource {
        /// The port whose media all get.
        source "source": Ref<names::HubPort>,
    }
}

/// The hub.
pub(super) struct DispatcherOneToMany {
    hub: HubCore,
    /// Held while ports are wired, so that all have the same source in the end.
    chosen: Mutex<Option<Weak<HubPort>>>,
}

hub_object!(DispatcherOneToMany);

impl Hub for DispatcherOneToMany {
    fn hub(&self) -> &HubCore {
        &self.hub
    }
    fn way(&self, media: MediaType) -> Way {
        routed(media)
    }
    fn joined(&self, port: &Arc<HubPort>) {
        let chosen = lock(&self.chosen);
        if let Some(source) = chosen.as_ref().and_then(Weak::upgrade) {
            wire(self, port, Some(&source), &KINDS);
        }
    }
    fn left(&self, port: &HubPort) {
        lock(&self.chosen).take_if(|chosen| std::ptr::eq(chosen.as_ptr(), port));
    }
}

impl DispatcherOneToMany {
    fn choose(&self, source: Option<&Arc<HubPort>>) {
        let mut chosen = lock(&self.chosen);
        *chosen = source.map(Arc::downgrade);
        for port in self.hub.ports() {
            wire(self, &port, source.map(|source| &**source), &KINDS);
        }
    }
}

/// The class.
pub(super) fn class() -> Class<DispatcherOneToMany> {
    Class::<DispatcherOneToMany>::new(
        "DispatcherOneToMany",
        "elements",
        "A hub that passes on audio and video of one port to all its ports, that one among them.",
    )
    .extends(hub::class())
    .constructor(|call, p: InPipeline| {
        let hub = new_hub(call, &p.media_pipeline, "kurento.DispatcherOneToMany")?;
        Ok(Arc::new(DispatcherOneToMany {
            hub,
            chosen: Mutex::default(),
        }))
    })
    .method(
        "setSource",
        "Chooses the port whose media all ports get, also those that are created later. Error 40107 for a port of another hub.",
        |this, call, p: SetSource| {
            let source = port(&**this, call, &p.source)?;
            this.choose(Some(&source));
            Ok(())
        },
    )
    .method("removeSource", "No port gets anything any more.", |this, _, _: NoParams| {
        this.choose(None);
        Ok(())
    })
}
