//! `Mixer`: routes video between its ports, and mixes audio of any of them for any of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use kms_core::graph::Way;
use kms_core::media::{Source, Timeline};
use kms_core::objects::{HubPort, InPipeline, hub, names};
use kms_core::types::MediaType;
use kms_core::{Class, Element, Hub, HubCore, Object};
use protocol::{Code, Error, Ref, params};

use super::mixing::audio::{AudioMixer, Heard};
use super::{hub_object, new_hub, port, wire};

params! {
    /// Parameters of `connect` and `disconnect`.
    pub struct Connect {
        /// AUDIO or VIDEO.
        media "media": MediaType,
        /// What enters this port...
        source "source": Ref<names::HubPort>,
        /// ...leaves this one: video alone, audio with that of other ports.
        sink "sink": Ref<names::HubPort>,
    }
}

/// The hub.
pub(super) struct Mixer {
    hub: HubCore,
    timeline: Timeline,
    audio: Arc<AudioMixer>,
}

hub_object!(Mixer);

impl Hub for Mixer {
    fn hub(&self) -> &HubCore {
        &self.hub
    }
    fn way(&self, media: MediaType) -> Way {
        if media == MediaType::Video {
            Way::Wired
        } else {
            Way::Ends
        }
    }
    fn joined(&self, port: &Arc<HubPort>) {
        let source = port
            .element()
            .new_source(&self.timeline, "mixer", MediaType::Audio);
        self.audio
            .add(port.core().id(), source, Heard::Ports(BTreeSet::new()));
        port.element().set_producing(MediaType::Audio, true);
    }
    fn left(&self, port: &HubPort) {
        self.audio.remove(port.core().id());
    }
    fn source(&self, port: &HubPort, media: MediaType) -> Option<Arc<Source>> {
        let port = self
            .audio
            .port(port.core().id())
            .filter(|_| media == MediaType::Audio);
        port.map(|port| port.source().clone())
    }
    fn fed_by(&self, port: &HubPort, media: MediaType, source: Option<&Arc<dyn Element>>) {
        if media == MediaType::Audio
            && let Some(port) = self.audio.port(port.core().id())
        {
            port.inlet.set_source(source.and_then(|s| s.source(media)));
        }
    }
}

impl Mixer {
    fn hear(&self, sink: &HubPort, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        if let Some(port) = self.audio.port(sink.core().id()) {
            port.hear(|heard| {
                if let Heard::Ports(ids) = heard {
                    let _was_otherwise = change(ids);
                }
            });
        }
    }
}

fn only_audio_and_video() -> Error {
    Error::new(Code::IllegalParam, "media should be AUDIO or VIDEO")
}

/// The class.
pub(super) fn class(timeline: &Timeline) -> Class<Mixer> {
    let timeline = timeline.clone();
    Class::<Mixer>::new(
        "Mixer",
        "elements",
        "A hub that passes on video between its ports, and gives each port the sound of those that it is told, mixed.",
    )
    .extends(hub::class())
    .constructor(move |call, p: InPipeline| {
        let hub = new_hub(call, &p.media_pipeline, "kurento.Mixer")?;
        Ok(Arc::new(Mixer {
            hub,
            timeline: timeline.clone(),
            audio: AudioMixer::new(&timeline),
        }))
    })
    .method(
        "connect",
        "Passes on what enters port `source` to port `sink`: video instead of what it got before, audio mixed with what it gets from \
         others. Error 40107 for a port of another hub.",
        |this, call, p: Connect| {
            let (source, sink) = (port(&**this, call, &p.source)?, port(&**this, call, &p.sink)?);
            match p.media {
                MediaType::Video => wire(&**this, &sink, Some(&source), &[MediaType::Video]),
                MediaType::Audio => this.hear(&sink, |ids| ids.insert(source.core().id().to_owned())),
                MediaType::Data => return Err(only_audio_and_video()),
            }
            Ok(())
        },
    )
    .method(
        "disconnect",
        "Passes it on no more. Nothing happens if it was not. Error 40107 for a port of another hub.",
        |this, call, p: Connect| {
            let (source, sink) = (port(&**this, call, &p.source)?, port(&**this, call, &p.sink)?);
            match p.media {
                MediaType::Video => super::unwire(&**this, &sink, &source, MediaType::Video),
                MediaType::Audio => this.hear(&sink, |ids| ids.remove(source.core().id())),
                MediaType::Data => return Err(only_audio_and_video()),
            }
            Ok(())
        },
    )
}
