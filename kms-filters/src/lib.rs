//! Filters: elements that change media on its way.

mod beside;
mod chroma;
mod faces;
mod filter;
mod gstreamer;
mod image;
mod mosaic;
mod named;
mod net;
mod onnx;
mod overlay;
mod painter;
mod zbar;

use std::sync::Arc;

pub use faces::{ModelPaths, Models};
use kms_core::Registry;
use kms_core::media::{Images, Timeline};

/// OpenCV would take all processors for each picture: here each stream has its threads. Only once, for it is not safe to be done while others
/// use OpenCV.
fn one_thread() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if let Err(error) = opencv::core::set_num_threads(1) {
            tracing::warn!(%error, "OpenCV takes as many threads as it likes");
        }
    });
}

/// What fetches images for other modules.
pub fn images() -> Arc<dyn Images> {
    Arc::new(image::Fetcher)
}

/// Registers module `filters`, which official clients refuse to be without, and module `chroma`. `elements_for_tenants`: names of elements
/// that tenants may put into a `GStreamerFilter`.
pub fn register(
    registry: &mut Registry,
    timeline: &Timeline,
    models: &Models,
    elements_for_tenants: &[String],
) {
    one_thread();
    named::register(timeline, models);
    registry.module("filters", "Filters that change media on its way.");
    registry.class(faces::overlay(timeline, models));
    registry.class(gstreamer::class(timeline, elements_for_tenants));
    registry.class(mosaic::class(timeline, models));
    registry.class(onnx::class(timeline));
    registry.class(overlay::class(timeline));
    registry.class(zbar::class(timeline));
    registry.module("chroma", "A filter that replaces a colour.");
    registry.class(chroma::class(timeline));
}
