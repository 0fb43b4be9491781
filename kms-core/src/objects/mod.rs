//! The classes of module `core`, one a file. Abstract ones are functions generic over the class that inherits them.

pub mod hub;
mod hub_port;
pub mod media_element;
pub mod media_object;
pub mod media_pipeline;
mod pass_through;
mod server_manager;

use crate::registry::Registry;
use crate::types::{ElementStats, EndpointStats};

pub use hub_port::HubPort;
pub use media_pipeline::MediaPipeline;
pub use pass_through::{InPipeline, PassThrough};
pub use server_manager::ServerManager;

/// Markers for references.
pub mod names {
    protocol::class_names! {
        /// Any object.
        MediaObject,
        /// Any element.
        MediaElement,
        /// A pipeline.
        MediaPipeline,
        /// Any hub.
        Hub,
        /// A port of a hub.
        HubPort,
    }
}

/// Registers the classes of module `core`.
pub(crate) fn register(registry: &mut Registry) {
    registry.class(server_manager::class());
    registry.class(media_pipeline::class());
    registry.class(pass_through::class());
    registry.class(hub_port::class());
    registry
        .describe_type::<ElementStats>("core")
        .describe_type::<EndpointStats>("core");
}
