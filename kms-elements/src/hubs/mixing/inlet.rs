//! Where media that is mixed enters: raw, while the mixer works.

use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use kms_core::media::{
    Consumer, DirectInput, Format, Handover, MediaError, Quality, Segment, Source, Timeline, Wanted,
};
use kms_core::object::lock;
use kms_core::types::MediaType;

/// What failed so often since it was connected is left alone.
const MOST_FAILURES: u32 = 3;

/// What an inlet tells. Called on the thread that makes the media, which it holds up.
pub(in crate::hubs) trait Receiver: Send + Sync {
    /// Raw media of these caps.
    fn came(&self, caps: &gst::Caps, buffer: gst::Buffer);
    /// It comes from nowhere any more.
    fn gone(&self);
}

/// One kind of media that enters a port.
pub(in crate::hubs) struct Inlet {
    timeline: Timeline,
    kind: MediaType,
    receiver: Arc<dyn Receiver>,
    /// Changed by the graph, by the source, and by the mixer's thread.
    state: Mutex<State>,
    /// Held while the source is asked, so that what is told last holds in the end.
    asking: Mutex<Option<Listening>>,
    this: Weak<Inlet>,
}

#[derive(Default)]
struct State {
    source: Option<Arc<Source>>,
    wanted: bool,
    failures: u32,
}

/// A segment that hands over what is given to it. Dropped in this order.
struct Listening {
    input: DirectInput,
    _handover: Handover,
    _segment: Segment,
}

impl Inlet {
    pub(in crate::hubs) fn new(
        timeline: &Timeline,
        kind: MediaType,
        receiver: Arc<dyn Receiver>,
    ) -> Arc<Inlet> {
        Arc::new_cyclic(|this| Inlet {
            timeline: timeline.clone(),
            kind,
            receiver,
            state: Mutex::default(),
            asking: Mutex::default(),
            this: this.clone(),
        })
    }

    /// Media comes from there from now on, or from nowhere.
    pub(in crate::hubs) fn set_source(&self, source: Option<Arc<Source>>) {
        let me: Weak<dyn Consumer> = self.this.clone();
        let before = {
            let mut state = lock(&self.state);
            state.failures = 0;
            std::mem::replace(&mut state.source, source.clone())
        };
        if let Some(before) = before {
            before.detach(&me);
        }
        if let Some(source) = source {
            source.attach(me);
        }
        self.ask();
    }

    /// Whether the mixer works.
    pub(in crate::hubs) fn set_wanted(&self, wanted: bool) {
        let news = std::mem::replace(&mut lock(&self.state).wanted, wanted) != wanted;
        if news {
            self.ask();
        }
    }

    /// Takes what the source has now.
    fn ask(&self) {
        let mut listening = lock(&self.asking);
        let source = {
            let state = lock(&self.state);
            let works = state.wanted && state.failures < MOST_FAILURES;
            state.source.clone().filter(|_| works)
        };
        let raw = Wanted {
            format: Format::Raw,
            quality: Quality::ANY,
            in_order: true,
        };
        let branch = source.map(|source| source.obtain(|_| Some(raw)));
        let branch = branch.transpose().unwrap_or_else(|error| {
            tracing::warn!(kind = ?self.kind, detail = %error.detail, "what enters a hub can't be mixed: {error}");
            None
        });
        let Some(branch) = branch.flatten() else {
            drop(listening.take());
            self.receiver.gone();
            return;
        };
        if listening.is_none() {
            match self.listen() {
                Ok(new) => *listening = Some(new),
                Err(error) => {
                    tracing::warn!(detail = %error.detail, "what enters a hub can't be mixed: {error}")
                }
            }
        }
        if let Some(listening) = &*listening {
            listening.input.connect(Some(branch));
        }
    }

    fn listen(&self) -> Result<Listening, MediaError> {
        let segment = Segment::new(&self.timeline, "hub-inlet", |_| {});
        let normal = segment.add(match self.kind {
            MediaType::Audio => super::audio::NORMALISE,
            _ => "identity",
        })?;
        let receiver = self.receiver.clone();
        let handover = Handover::new(&normal, move |pad, buffer| {
            if let Some(caps) = pad.current_caps() {
                receiver.came(&caps, buffer);
            }
        })?;
        let input = DirectInput::new(&segment, &normal)?;
        segment.play()?;
        Ok(Listening {
            input,
            _handover: handover,
            _segment: segment,
        })
    }
}

impl Consumer for Inlet {
    fn source_changed(&self, _kind: MediaType) {
        self.ask();
    }

    fn source_failed(&self, _kind: MediaType, error: &MediaError) {
        tracing::debug!(kind = ?self.kind, %error, "what enters a hub has failed");
        lock(&self.state).failures += 1;
        self.ask();
    }
}
