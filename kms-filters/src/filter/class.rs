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

/// What of a filter's class is the same for all: it has a field `filter`. More of [`Element`] may follow the name.
macro_rules! filter_object {
    ($name:ident $($more:tt)*) => {
        impl crate::filter::HasFilter for $name {
            fn filter(&self) -> &std::sync::Arc<crate::filter::Filter> {
                &self.filter
            }
        }

        impl kms_core::Object for $name {
            fn core(&self) -> &kms_core::ObjectCore {
                &self.filter.element().object
            }
            fn into_any(self: std::sync::Arc<Self>) -> std::sync::Arc<dyn std::any::Any + Send + Sync> {
                self
            }
            fn into_element(self: std::sync::Arc<Self>) -> Option<std::sync::Arc<dyn kms_core::Element>> {
                Some(self)
            }
            fn released(&self) {
                self.filter.released();
            }
        }

        impl kms_core::Element for $name {
            fn element(&self) -> &kms_core::ElementCore {
                self.filter.element()
            }
            fn way(&self, media: kms_core::types::MediaType) -> kms_core::graph::Way {
                self.filter.way(media)
            }
            fn source(&self, media: kms_core::types::MediaType) -> Option<std::sync::Arc<kms_core::media::Source>> {
                self.filter.source(media)
            }
            fn fed_by(
                &self,
                media: kms_core::types::MediaType,
                source: Option<&std::sync::Arc<dyn kms_core::Element>>,
            ) {
                self.filter.fed_by(media, source);
            }
            $($more)*
        }
    };
}
pub(crate) use filter_object;
