//! Streams that rtpbin found, on their way to the endpoint's source.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use gst::prelude::*;
use kms_core::media::{Codec, MediaError, Report, Segment, Source, Timeline, guarded};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::{missing, pads};
use crate::packets::{Depacketiser, rtp_caps};
use crate::rtp::counters::{Counters, missing_between};
use crate::rtp::remote::Format;

/// Requests for keyframes within this time are one: it takes the sender a while to make it.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// A depacketiser that failed is made anew after this time.
const REPAIR: Duration = Duration::from_secs(1);
/// Parameters of codecs that depayloaders read.
const READ: [&str; 4] = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"];

/// The media of one m-line.
pub(super) struct Receiving {
    timeline: Timeline,
    segment: Weak<Segment>,
    formats: Vec<Format>,
    source: Arc<Source>,
    /// Used by the stream's thread with each packet, changed when another stream begins.
    current: Mutex<Option<Current>>,
    counters: Arc<Counters>,
    /// Packets that end a picture (the marker bit).
    frames: AtomicU64,
    /// When a keyframe was asked for last.
    asked: Mutex<Option<Instant>>,
    this: Weak<Receiving>,
}

/// The stream that is listened to.
struct Current {
    /// The end of it.
    pad: gst::Pad,
    codec: Codec,
    caps: gst::Caps,
    /// Number of the last packet.
    sequence: Option<u16>,
    /// None: it failed.
    depacketiser: Option<Arc<Depacketiser>>,
    failed: Option<Instant>,
}

impl Receiving {
    pub(super) fn new(
        timeline: &Timeline,
        segment: &Arc<Segment>,
        formats: Vec<Format>,
        source: Arc<Source>,
        counters: &Arc<Counters>,
    ) -> Arc<Receiving> {
        Arc::new_cyclic(|this| Receiving {
            timeline: timeline.clone(),
            segment: Arc::downgrade(segment),
            formats,
            source,
            counters: counters.clone(),
            frames: AtomicU64::new(0),
            current: Mutex::default(),
            asked: Mutex::default(),
            this: this.clone(),
        })
    }

    /// The caps of a payload type.
    pub(super) fn caps(&self, payload_type: u32) -> Option<gst::Caps> {
        let format = self.format(payload_type)?;
        let mut caps = rtp_caps(format.codec, format.payload_type);
        if let Some(structure) = caps.make_mut().structure_mut(0) {
            for (name, value) in format
                .parameters
                .iter()
                .filter(|(n, _)| READ.contains(&n.as_str()))
            {
                structure.set(name.as_str(), value.as_str());
            }
            // By these fields, whatever their values, rtpbin knows how it may ask for keyframes.
            let ways = [("rtcp-fb-nack-pli", format.pli), ("rtcp-fb-ccm-fir", format.fir)];
            for (name, _) in ways.iter().filter(|(_, given)| *given) {
                structure.set(*name, true);
            }
        }
        Some(caps)
    }

    fn format(&self, payload_type: u32) -> Option<&Format> {
        self.formats
            .iter()
            .find(|f| u32::from(f.payload_type) == payload_type)
    }

    /// A stream was found: from now on its media is the source's.
    pub(super) fn stream_found(&self, pad: &gst::Pad, payload_type: u32) {
        let (Some(format), Some(caps)) = (self.format(payload_type), self.caps(payload_type)) else {
            return;
        };
        if let Err(error) = self.listen(pad, format.codec, caps) {
            tracing::error!(codec = %format.codec, detail = %error.detail, "{error}");
        }
    }

    fn listen(&self, from: &gst::Pad, codec: Codec, caps: gst::Caps) -> Result<(), MediaError> {
        let (this, began) = (self.this.clone(), AtomicBool::new(false));
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .name("stream")
            .chain_function(move |pad, _, buffer| {
                let gap =
                    buffer.flags().contains(gst::BufferFlags::DISCONT) && began.swap(true, Ordering::Relaxed);
                if let Some(this) = this.upgrade() {
                    guarded(None, || this.packet(pad, buffer, gap)); // or it is lost
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(|_, _, _| true)
            .build();
        pad.set_active(true).map_err(missing)?;
        *lock(&self.current) = Some(Current {
            pad: pad.clone(),
            codec,
            caps: caps.clone(),
            sequence: None,
            depacketiser: None,
            failed: None,
        });
        self.depacketise(&pad, codec, &caps)?;
        pads::link(from, &pad)
    }

    /// Makes what takes the packets of the current stream apart.
    fn depacketise(&self, pad: &gst::Pad, codec: Codec, caps: &gst::Caps) -> Result<(), MediaError> {
        let (wishing, failing, stream) = (self.this.clone(), self.this.clone(), pad.clone());
        let keyframe = move || {
            if let Some(this) = wishing.upgrade() {
                this.request_keyframe();
            }
        };
        let report = move |report| {
            if let (Report::Failed { error, detail, .. }, Some(this)) = (report, failing.upgrade()) {
                tracing::warn!(%codec, %error, detail, "received packets can't be made into media; begun anew");
                this.failed(&stream);
            }
        };
        let (depacketiser, branch) = Depacketiser::new(&self.timeline, codec, caps, keyframe, report)?;
        if let Some(current) = lock(&self.current).as_mut().filter(|c| c.pad == *pad) {
            current.depacketiser = Some(Arc::new(depacketiser));
            current.failed = None;
        }
        // Those who are told make conversions, which takes its time: packets need not wait for it.
        let source = self.source.clone();
        if let Some(segment) = self.segment.upgrade() {
            segment.later(move |_| source.set_native(Some(branch)));
        }
        Ok(())
    }

    fn packet(&self, pad: &gst::Pad, packet: gst::Buffer, gap: bool) {
        let repair = {
            let mut current = lock(&self.current);
            let Some(current) = current.as_mut().filter(|c| c.pad == *pad) else {
                return; // of a stream that another one followed
            };
            self.count(&packet, &mut current.sequence);
            match (&current.depacketiser, current.failed) {
                (Some(depacketiser), _) => {
                    depacketiser.push(packet);
                    None
                }
                (None, Some(at)) if at.elapsed() >= REPAIR => Some((current.codec, current.caps.clone())),
                (None, _) => None,
            }
        };
        if let Some((codec, caps)) = repair
            && let Err(error) = self.depacketise(pad, codec, &caps)
        {
            tracing::error!(%codec, detail = %error.detail, "{error}");
            self.failed(pad);
        }
        if gap {
            self.request_keyframe();
        }
    }

    fn count(&self, packet: &gst::Buffer, last: &mut Option<u16>) {
        let received = &self.counters.received;
        received.packet(packet.size());
        let mut head = [0; 4];
        if packet.copy_to_slice(0, &mut head).is_err() {
            return;
        }
        // RFC 3550, section 5.1.
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        if let Some(last) = last.replace(sequence) {
            received.loses(missing_between(last, sequence));
        }
        self.frames.fetch_add(u64::from(head[1] >> 7), Ordering::Relaxed);
    }

    /// Pictures that came.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn failed(&self, pad: &gst::Pad) {
        let mut current = lock(&self.current);
        let failed = current.as_mut().filter(|c| c.pad == *pad).and_then(|current| {
            current.failed = Some(Instant::now());
            current.depacketiser.take()
        });
        drop(current);
        drop(failed);
    }

    /// Asks the sender for a keyframe.
    pub(super) fn request_keyframe(&self) {
        if self.source.kind() != MediaType::Video {
            return;
        }
        let now = Instant::now();
        {
            let mut asked = lock(&self.asked);
            if asked.is_some_and(|at| now < at + KEYFRAME_INTERVAL) {
                return;
            }
            *asked = Some(now);
        }
        let pad = lock(&self.current).as_ref().map(|c| c.pad.clone());
        if let Some(pad) = pad {
            // Asked for with all headers, rtpbin sends FIR, without them PLI: what senders know best, if they know it.
            let pli = self.formats.iter().any(|f| f.pli);
            if pli || self.formats.iter().any(|f| f.fir) {
                self.counters.sent.keyframe_request();
            }
            let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(!pli);
            pad.push_event(request.build());
        }
    }

    /// What GStreamer does with the stream, as a drawing.
    pub(super) fn dot(&self) -> String {
        let depacketiser = lock(&self.current).as_ref().and_then(|c| c.depacketiser.clone());
        depacketiser.map_or(String::new(), |d| {
            d.pipeline()
                .debug_to_dot_data(gst::DebugGraphDetails::all())
                .to_string()
        })
    }
}
