//! The abstract class `Hub`, generic over the hub that inherits it.

use super::media_element::pipeline_of;
use super::media_object;
use super::media_pipeline::Dot;
use crate::class::Class;
use crate::hub::Hub;

/// The class, for a hub of type `T`.
pub fn class<T: Hub>() -> Class<T> {
    Class::<T>::new(
        "Hub",
        "core",
        "What media of several elements goes through. Each is connected to a HubPort of its own: what enters the port goes into the hub, \
         and what the hub has for it leaves the port.",
    )
    .extends(media_object::class())
    .method(
        "getGstreamerDot",
        "The graph of the hub's pipeline in DOT format (Graphviz).",
        |this, _, p: Dot| Ok(pipeline_of(this.core())?.dot(None, p.details)),
    )
    .method(
        "dumpGstreamerDot",
        "Writes the graph of the hub's pipeline into the server's log.",
        |this, _, p: Dot| {
            let dot = pipeline_of(this.core())?.dot(None, p.details);
            tracing::info!(hub = this.core().id(), dot, "graph");
            Ok(())
        },
    )
}
