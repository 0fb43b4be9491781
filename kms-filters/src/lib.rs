//! Filters: elements that change media on its way.

mod filter;
mod gstreamer;
mod zbar;

use kms_core::Registry;
use kms_core::media::Timeline;

/// Registers module `filters`. Official clients refuse a server that does not have it.
pub fn register(registry: &mut Registry, timeline: &Timeline) {
    registry.module("filters", "Filters that change media on its way.");
    registry.class(gstreamer::class(timeline));
    registry.class(zbar::class(timeline));
}
