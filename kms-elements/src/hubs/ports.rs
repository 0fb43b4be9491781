//! The ports of a hub that mixes both kinds.

use std::sync::Arc;

use kms_core::media::{Source, Timeline};
use kms_core::objects::HubPort;
use kms_core::types::MediaType;
use kms_core::{Element, Object};

use super::KINDS;
use super::mixing::audio::{AudioMixer, Heard};
use super::mixing::video::{Arrangement, VideoMixer};

/// Pictures of all ports in one, and for each port the sound of the others.
pub(super) struct MixedPorts {
    timeline: Timeline,
    pub(super) audio: Arc<AudioMixer>,
    video: Arc<VideoMixer>,
}

impl MixedPorts {
    /// Of a hub that has none yet. The name is for logs.
    pub(super) fn new(
        timeline: &Timeline,
        name: &str,
        audio: Arc<AudioMixer>,
        arrangement: Arc<dyn Arrangement>,
    ) -> MixedPorts {
        // One source for all ports: so its picture is encoded once for all who take it in the same format.
        let source = Source::new(timeline, name, MediaType::Video);
        MixedPorts {
            timeline: timeline.clone(),
            audio,
            video: VideoMixer::new(timeline, source, arrangement),
        }
    }

    /// For [`kms_core::Hub::joined`].
    pub(super) fn joined(&self, port: &Arc<HubPort>) {
        let (id, element) = (port.core().id(), port.element());
        let source = element.new_source(&self.timeline, "mixer", MediaType::Audio);
        self.audio.add(id, source, Heard::Others);
        self.video.add(id);
        KINDS
            .into_iter()
            .for_each(|kind| element.set_producing(kind, true));
    }

    /// For [`kms_core::Hub::left`].
    pub(super) fn left(&self, port: &HubPort) {
        let id = port.core().id();
        self.audio.remove(id);
        self.video.remove(id);
    }

    /// For [`kms_core::Hub::source`].
    pub(super) fn source(&self, port: &HubPort, media: MediaType) -> Option<Arc<Source>> {
        match media {
            MediaType::Audio => Some(self.audio.port(port.core().id())?.source().clone()),
            MediaType::Video => Some(self.video.source().clone()),
            MediaType::Data => None,
        }
    }

    /// For [`kms_core::Hub::fed_by`].
    pub(super) fn fed_by(&self, port: &HubPort, media: MediaType, source: Option<&Arc<dyn Element>>) {
        let (id, source) = (port.core().id(), source.and_then(|s| s.source(media)));
        match media {
            MediaType::Audio => {
                if let Some(port) = self.audio.port(id) {
                    port.inlet.set_source(source);
                }
            }
            MediaType::Video => {
                if let Some(port) = self.video.port(id) {
                    port.inlet.set_source(source);
                }
            }
            MediaType::Data => {}
        }
    }
}

/// What of [`kms_core::Hub`] is the same for hubs with such ports.
macro_rules! mixing_hub {
    ($name:ident) => {
        impl kms_core::Hub for $name {
            fn hub(&self) -> &kms_core::HubCore {
                &self.hub
            }
            fn way(&self, _media: kms_core::types::MediaType) -> kms_core::graph::Way {
                kms_core::graph::Way::Ends
            }
            fn joined(&self, port: &std::sync::Arc<kms_core::objects::HubPort>) {
                self.ports.joined(port);
            }
            fn left(&self, port: &kms_core::objects::HubPort) {
                self.ports.left(port);
                self.forget(port);
            }
            fn source(
                &self,
                port: &kms_core::objects::HubPort,
                media: kms_core::types::MediaType,
            ) -> Option<std::sync::Arc<kms_core::media::Source>> {
                self.ports.source(port, media)
            }
            fn fed_by(
                &self,
                port: &kms_core::objects::HubPort,
                media: kms_core::types::MediaType,
                source: Option<&std::sync::Arc<dyn kms_core::Element>>,
            ) {
                self.ports.fed_by(port, media, source);
            }
        }
    };
}
pub(super) use mixing_hub;
