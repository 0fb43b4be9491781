//! Media of a source in GStreamer for the remote of one endpoint: converted if need be, and made into RTP packets.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use kms_core::media::{
    Codec, Consumer, Format, Input, MediaError, Quality, Report, Segment, Source, Timeline, Wanted,
};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::api::Kind;
use super::engine::{FedPacket, Feed, Peer};

/// Media that may wait for the packetiser, which does next to nothing.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// What is told about it.
pub(super) type Failed = Box<dyn Fn(&MediaError) + Send + Sync>;

/// Makes packets of what a source gives.
pub(super) struct Packetiser {
    source: Arc<Source>,
    kind: Kind,
    timeline: Timeline,
    failed: Failed,
    /// Changed when the remote has negotiated, by the source, and when it ends.
    state: Mutex<State>,
    this: Weak<Packetiser>,
}

#[derive(Default)]
struct State {
    /// Where packets go, and the codecs that are taken there, preferred first; none before it was negotiated.
    sink: Option<(Peer, Vec<String>)>,
    quality: Option<Quality>,
    running: Option<Running>,
    ended: bool,
}

/// The segment that makes packets of one codec.
struct Running {
    codec: Codec,
    input: Input,
    sink: AppSink,
    _segment: Segment,
}

impl Packetiser {
    /// Waits for the source to give media, and for [`Packetiser::set_sink`].
    pub(super) fn start(
        source: &Arc<Source>,
        kind: Kind,
        timeline: &Timeline,
        failed: Failed,
    ) -> Arc<Packetiser> {
        let packetiser = Arc::new_cyclic(|this| Packetiser {
            source: source.clone(),
            kind,
            timeline: timeline.clone(),
            failed,
            state: Mutex::default(),
            this: this.clone(),
        });
        source.attach(packetiser.this.clone() as Weak<dyn Consumer>);
        packetiser
    }

    /// The remote takes these codecs from now on, preferred first.
    pub(super) fn set_sink(&self, peer: &Peer, codecs: Vec<String>, quality: Quality) {
        {
            let mut state = lock(&self.state);
            state.sink = Some((peer.clone(), codecs));
            state.quality = Some(quality);
        }
        self.update();
    }

    /// The remote needs a keyframe.
    pub(super) fn request_keyframe(&self) {
        let sink = lock(&self.state).running.as_ref().map(|r| r.sink.clone());
        if let Some(pad) = sink.and_then(|s| s.static_pad("sink")) {
            pad.push_event(
                gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build(),
            );
        }
    }

    /// Sends no more.
    pub(super) fn end(&self) {
        self.source.detach(&(self.this.clone() as Weak<dyn Consumer>));
        let running = {
            let mut state = lock(&self.state);
            state.ended = true;
            state.running.take()
        };
        drop(running);
    }

    /// Brings what runs in line with what the source gives and the remote takes.
    fn update(&self) {
        if let Err(error) = self.try_update() {
            (self.failed)(&error);
        }
    }

    fn try_update(&self) -> Result<(), MediaError> {
        let mut state = lock(&self.state);
        let (Some((peer, codecs)), Some(quality), false) = (state.sink.clone(), state.quality, state.ended)
        else {
            return Ok(());
        };
        if codecs.is_empty() {
            return Ok(()); // the remote wants nothing of this kind
        }
        let branch = self.source.obtain(|native| {
            let format = choose(native, media_type(self.kind), &codecs)?;
            Some(Wanted { format, quality })
        })?;
        let codec = match branch.as_ref().map(|b| b.format()) {
            Some(Format::Encoded(codec)) => codec,
            // Nothing now; what there was before stays, for it may come again.
            _ => {
                if let Some(running) = &state.running {
                    running.input.connect(None);
                }
                return if self.source.native().is_some() {
                    Err(MediaError::new(format!(
                        "The connected source's {} can't be converted to what the remote takes: {}",
                        media_type(self.kind).lower(),
                        codecs.join(", ")
                    )))
                } else {
                    Ok(())
                };
            }
        };
        if state.running.as_ref().is_none_or(|r| r.codec != codec) {
            let running = self.build(codec, &peer)?;
            state.running = Some(running);
        }
        if let Some(running) = &state.running {
            running.input.connect(branch);
        }
        Ok(())
    }

    fn build(&self, codec: Codec, peer: &Peer) -> Result<Running, MediaError> {
        let this = self.this.clone();
        let segment = Segment::new(&self.timeline, &format!("packetiser-{codec}"), move |report| {
            if let (Report::Failed { error, detail, .. }, Some(this)) = (report, this.upgrade()) {
                tracing::error!(%codec, %error, detail, "media can't be made into packets");
                (this.failed)(&MediaError::new("Media can't be made into packets"));
            }
        });
        let input = Input::new(&segment, LONGEST_QUEUE)?;
        let bin = segment.add(payloader(codec))?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        let linked = segment.pipeline().add(&sink).is_ok()
            && gst::Element::link_many([
                input.appsrc().upcast_ref(),
                bin.upcast_ref::<gst::Element>(),
                sink.upcast_ref(),
            ])
            .is_ok();
        if !linked {
            return Err(MediaError::new("Media can't be set up"));
        }
        let (feed, timeline, kind) = (Feed::start(peer, self.kind), self.timeline.clone(), self.kind);
        let mut sequence = 0;
        let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(packet) = packet(&sample, &timeline, kind, codec, sequence) {
                sequence += 1;
                feed.send(packet);
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        segment.play()?;
        Ok(Running {
            codec,
            input,
            sink,
            _segment: segment,
        })
    }
}

impl Consumer for Packetiser {
    fn source_changed(&self, _: MediaType) {
        self.update();
    }

    fn source_failed(&self, _: MediaType, error: &MediaError) {
        (self.failed)(error);
    }
}

impl Drop for Packetiser {
    fn drop(&mut self) {
        self.end();
    }
}

fn media_type(kind: Kind) -> MediaType {
    match kind {
        Kind::Audio => MediaType::Audio,
        Kind::Video => MediaType::Video,
        Kind::Data => MediaType::Data,
    }
}

/// The format for a remote that takes these codecs: as it is, if it takes that, else the one it prefers.
fn choose(native: Format, kind: MediaType, codecs: &[String]) -> Option<Format> {
    let takes = |codec: Codec| codecs.iter().any(|c| c == codec.name());
    if let Format::Encoded(codec) = native
        && takes(codec)
        && payloaders().iter().any(|(c, _)| *c == codec)
    {
        return Some(native);
    }
    let wanted = codecs.iter().find_map(|name| {
        let mut known = payloaders().iter().map(|(codec, _)| *codec);
        known.find(|codec| codec.kind() == kind && codec.name() == name && is_cheap(*codec))
    });
    wanted.map(Format::Encoded)
}

/// Whether a codec is encoded in real time by any machine; others are only passed on.
fn is_cheap(codec: Codec) -> bool {
    !matches!(codec, Codec::Vp9 | Codec::Av1 | Codec::H265)
}

/// How each codec is made into packets: of 1200 bytes, which leave room for what is around them, as browsers do.
fn payloaders() -> &'static [(Codec, &'static str)] {
    &[
        (Codec::Vp8, "rtpvp8pay mtu=1200 picture-id-mode=15-bit"),
        (Codec::Vp9, "rtpvp9pay mtu=1200 picture-id-mode=15-bit"),
        (
            Codec::H264,
            "rtph264pay mtu=1200 config-interval=-1 aggregate-mode=zero-latency",
        ),
        (Codec::Opus, "rtpopuspay"),
        (Codec::Pcmu, "rtppcmupay min-ptime=20000000 max-ptime=20000000"),
        (Codec::Pcma, "rtppcmapay min-ptime=20000000 max-ptime=20000000"),
    ]
}

fn payloader(codec: Codec) -> &'static str {
    let found = payloaders().iter().find(|(c, _)| *c == codec);
    found.map_or("fakesink", |(_, element)| element)
}

/// A packet of the payloader, without its header: the engine makes one of its own (RFC 3550, section 5.1).
fn packet(
    sample: &gst::Sample,
    timeline: &Timeline,
    kind: Kind,
    codec: Codec,
    sequence: u64,
) -> Option<FedPacket> {
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_running_time(buffer.pts()?)?;
    let age = timeline.now().saturating_sub(at);
    let captured = Instant::now().checked_sub(Duration::from_nanos(age.nseconds()))?;
    let map = buffer.map_readable().ok()?;
    let bytes = map.as_slice();
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let mut header = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes(bytes.get(header + 2..header + 4)?.try_into().ok()?);
        header += 4 + 4 * usize::from(words);
    }
    Some(FedPacket {
        kind,
        codec: codec.name(),
        sequence,
        time: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
        marker: second & 0x80 != 0,
        captured,
        payload: Arc::from(bytes.get(header..)?),
    })
}
