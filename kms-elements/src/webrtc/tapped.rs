//! Media of a remote for the rest of the server: RTP packets made into a source in GStreamer.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use kms_core::media::{Branch, Codec, MediaError, Report, Source, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::engine::{Tap, TapPacket};
use super::reorder::Reorder;
use crate::packets::{Depacketiser, depayloader, rtp_caps};

/// What a tapped endpoint's media wants of its endpoint. Called on a worker's or on GStreamer's threads: it must not wait.
pub(super) trait Wishes: Send + Sync {
    /// Packets of this codec come: [`Tapped::prepare`] is to be called, on a thread that may wait.
    fn codec(&self, kind: MediaType, codec: &'static str);
    /// A keyframe is needed.
    fn keyframe(&self);
}

/// Makes a source of what a tap gives.
pub(super) struct Tapped {
    kind: MediaType,
    timeline: Timeline,
    source: Arc<Source>,
    wishes: Arc<dyn Wishes>,
    /// Used by the worker with each packet, changed when the codec changes.
    state: Mutex<State>,
    this: Weak<Tapped>,
}

#[derive(Default)]
struct State {
    /// The codec that was asked to be prepared for.
    asked: Option<&'static str>,
    running: Option<Running>,
}

struct Running {
    codec: &'static str,
    reorder: Reorder<TapPacket>,
    depacketiser: Depacketiser,
}

impl Tapped {
    /// The source gives something once packets come.
    pub(super) fn new(timeline: &Timeline, source: Arc<Source>, wishes: Arc<dyn Wishes>) -> Arc<Tapped> {
        Arc::new_cyclic(|this| Tapped {
            kind: source.kind(),
            timeline: timeline.clone(),
            source,
            wishes,
            state: Mutex::default(),
            this: this.clone(),
        })
    }

    /// The source.
    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Sets up the segment for a codec, by its name in session descriptions.
    pub(super) fn prepare(&self, name: &'static str) {
        let Some(codec) = known(self.kind, name) else {
            tracing::warn!(
                codec = name,
                "packets of this codec can be passed on to browsers only"
            );
            return;
        };
        match self.build(codec, name) {
            Ok((running, branch)) => {
                let before = lock(&self.state).running.replace(running);
                drop(before);
                self.source.set_native(Some(branch));
                self.wishes.keyframe();
            }
            Err(error) => tracing::error!(codec = name, detail = %error.detail, "{error}"),
        }
    }

    fn build(&self, codec: Codec, name: &'static str) -> Result<(Running, Arc<Branch>), MediaError> {
        let (this, wishes) = (self.this.clone(), self.wishes.clone());
        let report = move |report| {
            if let (Report::Failed { error, detail, .. }, Some(this)) = (report, this.upgrade()) {
                tracing::warn!(codec = name, %error, detail, "received packets can't be made into media; begun anew");
                let mut state = lock(&this.state);
                state.asked = None;
                state.running = None;
            }
        };
        let caps = rtp_caps(codec, PAYLOAD_TYPE);
        let (depacketiser, branch) =
            Depacketiser::new(&self.timeline, codec, &caps, move || wishes.keyframe(), report)?;
        let running = Running {
            codec: name,
            reorder: Reorder::default(),
            depacketiser,
        };
        Ok((running, branch))
    }

    /// A packet as RTP has it (RFC 3550, section 5.1), at its time.
    fn buffer(&self, packet: &TapPacket, gap: bool) -> gst::Buffer {
        let mut bytes = Vec::with_capacity(12 + packet.payload.len());
        bytes.extend([0x80, PAYLOAD_TYPE | if packet.marker { 0x80 } else { 0 }]);
        bytes.extend((packet.sequence as u16).to_be_bytes());
        bytes.extend(packet.time.to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend(&packet.payload[..]);
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let now = Instant::now();
        let age = now.saturating_duration_since(packet.captured);
        let ahead = packet.captured.saturating_duration_since(now);
        let nanos = |d: std::time::Duration| gst::ClockTime::from_nseconds(d.as_nanos() as u64);
        let at = (self.timeline.now() + nanos(ahead)).saturating_sub(nanos(age));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at);
            if gap {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        buffer
    }
}

impl Tap for Tapped {
    fn packet(&self, packet: TapPacket) {
        let mut state = lock(&self.state);
        let (codec, sequence) = (packet.codec, packet.sequence);
        let State { asked, running } = &mut *state;
        match running {
            Some(running) if running.codec == codec => {
                for (packet, gap) in running.reorder.push(sequence, packet, Instant::now()) {
                    if gap {
                        self.wishes.keyframe();
                    }
                    running.depacketiser.push(self.buffer(&packet, gap));
                }
            }
            _ if *asked != Some(codec) => {
                *asked = Some(codec);
                drop(state);
                self.wishes.codec(self.kind, codec);
            }
            _ => {} // on its way
        }
    }
}

fn known(kind: MediaType, name: &str) -> Option<Codec> {
    Codec::all(kind).find(|c| c.name() == name && depayloader(*c).is_some())
}

/// Whether media can be made of packets of this codec, by its name in session descriptions.
pub(super) fn can_depacketise(kind: MediaType, name: &str) -> bool {
    known(kind, name).is_some()
}

/// The payload type that packets bear between worker and depayloader; any of the dynamic ones.
const PAYLOAD_TYPE: u8 = 96;
