//! The abstract class `Filter`, generic over the filter that inherits it.

use std::sync::Arc;

use kms_core::objects::media_element;
use kms_core::{Class, Element};

use super::Filter;

/// An element of which a filter is the inside.
pub(crate) trait HasFilter: Element {
    /// The filter.
    fn filter(&self) -> &Arc<Filter>;
}

/// `Filter`, for a filter of type `T`.
pub(crate) fn filter<T: HasFilter>() -> Class<T> {
    Class::<T>::new(
        "Filter",
        "core",
        "Changes media on its way: audio or video. The other passes as it is. A filter whose media nobody takes does nothing.",
    )
    .extends(media_element::class())
    .property(
        "elementGstreamerDot",
        "What GStreamer does, as a drawing (DOT); empty while nobody takes the media. Not in Kurento.",
        |this| this.filter().dot(),
    )
}
