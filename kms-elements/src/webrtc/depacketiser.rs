//! Media of a remote for the rest of the server: RTP packets made into a source in GStreamer.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use kms_core::media::{Branch, Codec, Format, MediaError, Report, Segment, Source, Timeline, normalise};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::engine::{Tap, TapPacket};
use super::reorder::Reorder;

/// Media that may wait for the segment; then the oldest is dropped.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// What the depacketiser wants of its endpoint. Called on a worker's or on GStreamer's threads: it must not wait.
pub(super) trait Wishes: Send + Sync {
    /// Packets of this codec come: [`Depacketiser::prepare`] is to be called, on a thread that may wait.
    fn codec(&self, kind: MediaType, codec: &'static str);
    /// A keyframe is needed.
    fn keyframe(&self);
}

/// Makes a source of what a tap gives.
pub(super) struct Depacketiser {
    kind: MediaType,
    timeline: Timeline,
    source: Arc<Source>,
    wishes: Arc<dyn Wishes>,
    /// Used by the worker with each packet, changed when the codec changes.
    state: Mutex<State>,
    this: Weak<Depacketiser>,
}

#[derive(Default)]
struct State {
    /// The codec that was asked to be prepared for.
    asked: Option<&'static str>,
    running: Option<Running>,
}

struct Running {
    codec: &'static str,
    appsrc: AppSrc,
    reorder: Reorder<TapPacket>,
    _segment: Segment,
}

impl Depacketiser {
    /// The source gives something once packets come.
    pub(super) fn new(
        timeline: &Timeline,
        source: Arc<Source>,
        wishes: Arc<dyn Wishes>,
    ) -> Arc<Depacketiser> {
        Arc::new_cyclic(|this| Depacketiser {
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
        let codec = codec_named(self.kind, name);
        let depayloader = codec.and_then(depayloader);
        let (Some(codec), Some(depayloader)) = (codec, depayloader) else {
            tracing::warn!(
                codec = name,
                "packets of this codec can be passed on to browsers only"
            );
            return;
        };
        match self.build(codec, name, depayloader) {
            Ok((running, branch)) => {
                let before = lock(&self.state).running.replace(running);
                drop(before);
                self.source.set_native(Some(branch));
                self.wishes.keyframe();
            }
            Err(error) => tracing::error!(codec = name, detail = %error.detail, "{error}"),
        }
    }

    fn build(
        &self,
        codec: Codec,
        name: &'static str,
        depayloader: &str,
    ) -> Result<(Running, Arc<Branch>), MediaError> {
        let this = self.this.clone();
        let segment = Segment::new(&self.timeline, &format!("depacketiser-{name}"), move |report| {
            if let (Report::Failed { error, detail, .. }, Some(this)) = (report, this.upgrade()) {
                tracing::warn!(codec = name, %error, detail, "received packets can't be made into media; begun anew");
                let mut state = lock(&this.state);
                state.asked = None;
                state.running = None;
            }
        });
        let failed = |e: &dyn std::fmt::Display| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        };
        let appsrc = AppSrc::builder()
            .caps(&rtp_caps(codec))
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        appsrc.set_max_time(LONGEST_QUEUE);
        appsrc.set_leaky_type(gst_app::AppLeakyType::Downstream);
        let bin = segment.add(&format!(
            "{depayloader} ! {}",
            normalise(self.kind, Format::Encoded(codec))
        ))?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        segment
            .pipeline()
            .add_many([appsrc.upcast_ref::<gst::Element>(), sink.upcast_ref()])
            .map_err(|e| failed(&e))?;
        gst::Element::link_many([
            appsrc.upcast_ref(),
            bin.upcast_ref::<gst::Element>(),
            sink.upcast_ref(),
        ])
        .map_err(|e| failed(&e))?;
        if let Some(pad) = appsrc.static_pad("src") {
            let wishes = self.wishes.clone();
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                if info.event().is_some_and(|e| gst_video::ForceKeyUnitEvent::is(e)) {
                    wishes.keyframe();
                }
                gst::PadProbeReturn::Ok
            });
        }
        let branch = Branch::native(Format::Encoded(codec), &sink);
        segment.play()?;
        let running = Running {
            codec: name,
            appsrc,
            reorder: Reorder::default(),
            _segment: segment,
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

impl Tap for Depacketiser {
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
                    // An appsrc that takes no more is one that ends.
                    let _ = running.appsrc.push_buffer(self.buffer(&packet, gap));
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

/// The payload type that packets bear between worker and depayloader; any of the dynamic ones.
const PAYLOAD_TYPE: u8 = 96;

fn rtp_caps(codec: Codec) -> gst::Caps {
    let (media, clock_rate) = match codec {
        Codec::Opus => ("audio", 48_000),
        codec if codec.kind() == MediaType::Audio => ("audio", 8_000),
        _ => ("video", 90_000),
    };
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", media)
        .field("clock-rate", clock_rate)
        .field("payload", i32::from(PAYLOAD_TYPE))
        .field("encoding-name", codec.name());
    match codec {
        Codec::Opus => caps.field("encoding-params", "2").build(),
        _ => caps.build(),
    }
}

fn codec_named(kind: MediaType, name: &str) -> Option<Codec> {
    Codec::all(kind).find(|c| c.name() == name)
}

/// Whether media can be made of packets of this codec, by its name in session descriptions.
pub(super) fn can_depacketise(kind: MediaType, name: &str) -> bool {
    codec_named(kind, name).and_then(depayloader).is_some()
}

/// What takes packets apart, by codec.
fn depayloader(codec: Codec) -> Option<&'static str> {
    Some(match codec {
        Codec::Vp8 => "rtpvp8depay wait-for-keyframe=true",
        Codec::Vp9 => "rtpvp9depay wait-for-keyframe=true",
        Codec::H264 => "rtph264depay wait-for-keyframe=true",
        Codec::Opus => "rtpopusdepay",
        Codec::Pcmu => "rtppcmudepay",
        Codec::Pcma => "rtppcmadepay",
        _ => return None,
    })
}
