//! The sources of an endpoint that reads media: one of audio, one of video.

use std::sync::Arc;

use kms_core::ElementCore;
use kms_core::media::{Branch, Source, Timeline};
use kms_core::types::MediaType;

/// Both sources.
pub(crate) struct Sources {
    audio: Arc<Source>,
    video: Arc<Source>,
}

const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];

impl Sources {
    /// Sources that give nothing yet. The name is for logs.
    pub(crate) fn new(element: &ElementCore, timeline: &Timeline, name: &str) -> Sources {
        let [audio, video] = KINDS.map(|kind| element.new_source(timeline, name, kind));
        Sources { audio, video }
    }

    /// The one of a kind.
    pub(crate) fn of(&self, kind: MediaType) -> Option<&Arc<Source>> {
        match kind {
            MediaType::Audio => Some(&self.audio),
            MediaType::Video => Some(&self.video),
            MediaType::Data => None,
        }
    }

    /// Media of a kind was found.
    pub(crate) fn give(&self, kind: MediaType, branch: Arc<Branch>) {
        if let Some(source) = self.of(kind) {
            source.set_native(Some(branch));
        }
    }

    /// It was seen that pictures come in another order than that in which they are shown.
    pub(crate) fn changed(&self, kind: MediaType) {
        if let Some(source) = self.of(kind) {
            source.changed();
        }
    }

    /// There is no media any more. The pipeline and the consumers are told.
    pub(crate) fn stop(&self, element: &ElementCore) {
        for kind in KINDS {
            element.set_producing(kind, false);
            if let Some(source) = self.of(kind) {
                source.set_native(None);
            }
        }
    }

    /// The media has reached its end: first nothing flows any more, then clients are told, and then consumers know.
    pub(crate) fn ended(&self, element: &ElementCore, tell: impl FnOnce()) {
        for kind in KINDS {
            element.set_producing(kind, false);
        }
        tell();
        for kind in KINDS {
            if let Some(source) = self.of(kind) {
                source.ended();
            }
        }
    }
}
