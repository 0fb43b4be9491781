//! `Dispatcher`: connects its ports, one by one.

use std::sync::Arc;

use kms_core::graph::Way;
use kms_core::objects::{InPipeline, hub, names};
use kms_core::types::MediaType;
use kms_core::{Class, Hub, HubCore};
use protocol::{Ref, params};

use super::{KINDS, hub_object, new_hub, port, routed, wire};

params! {
    /// Parameters of `connect`.
    pub struct Connect {
        /// What enters this port...
        source "source": Ref<names::HubPort>,
        /// ...leaves this one.
        sink "sink": Ref<names::HubPort>,
    }
}

/// The hub.
pub(super) struct Dispatcher {
    hub: HubCore,
}

hub_object!(Dispatcher);

impl Hub for Dispatcher {
    fn hub(&self) -> &HubCore {
        &self.hub
    }
    fn way(&self, media: MediaType) -> Way {
        routed(media)
    }
}

/// The class.
pub(super) fn class() -> Class<Dispatcher> {
    Class::<Dispatcher>::new(
        "Dispatcher",
        "elements",
        "A hub that passes on audio and video between its ports, as it is told. A port sends to any number of others, and gets from one.",
    )
    .extends(hub::class())
    .constructor(|call, p: InPipeline| {
        let hub = new_hub(call, &p.media_pipeline, "kurento.Dispatcher")?;
        Ok(Arc::new(Dispatcher { hub }))
    })
    .method(
        "connect",
        "Passes on what enters port `source` to port `sink`, instead of what it got before. Error 40107 for a port of another hub.",
        |this, call, p: Connect| {
            let (source, sink) = (port(&**this, call, &p.source)?, port(&**this, call, &p.sink)?);
            wire(&**this, &sink, Some(&source), &KINDS);
            Ok(())
        },
    )
}
