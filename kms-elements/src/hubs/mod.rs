//! Hubs. Those that only route are wires in the pipeline's graph: media goes through them as through nothing. Those that mix are
//! where media ends, and where other media begins ([`mixing`]).

mod alpha_blending;
mod composite;
mod dispatcher;
mod dispatcher_one_to_many;
mod mixer;
mod mixing;
mod ports;

use std::sync::Arc;

use kms_core::graph::Way;
use kms_core::media::{Images, Timeline};
use kms_core::objects::{HubPort, MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Call, Element, Hub, HubCore, Registry};
use protocol::{Code, Error, Ref};

/// Kinds of media that go through hubs.
const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];

/// Registers the classes.
pub(crate) fn register(registry: &mut Registry, timeline: &Timeline, images: &Arc<dyn Images>) {
    registry.class(dispatcher::class());
    registry.class(dispatcher_one_to_many::class());
    registry.class(mixer::class(timeline));
    registry.class(composite::class(timeline, images));
    registry.class(alpha_blending::class(timeline));
}

/// The inside of a hub that is created.
fn new_hub(
    call: &Call,
    pipeline: &Ref<names::MediaPipeline>,
    qualified_type: &str,
) -> Result<HubCore, Error> {
    let pipeline: Arc<MediaPipeline> = call.constructor_object(pipeline)?;
    Ok(HubCore::new(&call.server, &pipeline, qualified_type))
}

/// The port of this hub that a parameter refers to. Error 40107 if it is another hub's.
fn port(hub: &dyn Hub, call: &Call, reference: &Ref<names::HubPort>) -> Result<Arc<HubPort>, Error> {
    let port: Arc<HubPort> = call.object(reference)?;
    if hub.hub().owns(&port) {
        return Ok(port);
    }
    let message = format!("'{}' is a port of another hub", reference.id);
    Err(Error::new(Code::IllegalParam, message))
}

/// For [`Hub::way`] of hubs that route.
fn routed(media: MediaType) -> Way {
    if KINDS.contains(&media) {
        Way::Wired
    } else {
        Way::Ends
    }
}

/// What enters `source` leaves `sink` from now on, or nothing does.
fn wire(hub: &dyn Hub, sink: &HubPort, source: Option<&HubPort>, kinds: &[MediaType]) {
    if let Some(pipeline) = hub.core().pipeline() {
        for kind in kinds {
            pipeline.wire(sink.element(), *kind, source.map(|port| port.element()));
        }
    }
}

/// What enters `source` leaves `sink` no more.
fn unwire(hub: &dyn Hub, sink: &HubPort, source: &HubPort, kind: MediaType) {
    if let Some(pipeline) = hub.core().pipeline() {
        pipeline.unwire(sink.element(), kind, source.element());
    }
}

/// What of a hub's class is the same for all.
macro_rules! hub_object {
    ($name:ident) => {
        impl kms_core::Object for $name {
            fn core(&self) -> &kms_core::ObjectCore {
                &self.hub.object
            }
            fn into_any(self: std::sync::Arc<Self>) -> std::sync::Arc<dyn std::any::Any + Send + Sync> {
                self
            }
            fn into_hub(self: std::sync::Arc<Self>) -> Option<std::sync::Arc<dyn kms_core::Hub>> {
                Some(self)
            }
        }
    };
}
use hub_object;
