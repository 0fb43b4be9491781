//! `PassThrough`: what enters it leaves it.

use std::any::Any;
use std::sync::Arc;

use protocol::{Error, Ref, params};

use super::{MediaPipeline, media_element, names};
use crate::class::Class;
use crate::element::{Element, ElementCore};
use crate::graph::Way;
use crate::object::{Object, ObjectCore};
use crate::types::MediaType;

params! {
    /// What an element needs to be made that has no settings.
    pub struct InPipeline {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
    }
}

/// A pass-through element. It costs nothing: routes go through it to the endpoint behind.
pub struct PassThrough {
    element: ElementCore,
}

impl Object for PassThrough {
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
    }
}

impl Element for PassThrough {
    fn element(&self) -> &ElementCore {
        &self.element
    }
    fn way(&self, _media: MediaType) -> Way {
        Way::Through
    }
}

/// The class.
pub(super) fn class() -> Class<PassThrough> {
    Class::<PassThrough>::new(
        "PassThrough",
        "core",
        "Passes on what it gets. Useful as a fixed point while its surroundings change.",
    )
    .extends(media_element::class())
    .constructor(|call, p: InPipeline| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.PassThrough")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = Arc::new(PassThrough { element });
        pipeline.join(this.clone());
        Ok(this)
    })
}
