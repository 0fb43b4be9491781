//! Packets of a packetiser, on their way to the remote.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use kms_core::element::Latency;
use kms_core::media::{Codec, MediaError, Timeline, guarded};
use kms_core::object::lock;

use super::pads::{begin, link};
use crate::packets::{Outlet, Take, rtp_caps};
use crate::rtp::counters::Counters;

/// Where packets of one m-line enter rtpbin. Its stream has one SSRC, and sequence numbers and times of one kind, whatever codecs
/// and sources follow one another.
pub(in crate::rtp) struct SendPad {
    pad: gst::Pad,
    ssrc: u32,
    sequence: AtomicU16,
    counters: Arc<Counters>,
    /// Packets that end a picture (the marker bit).
    frames: AtomicU64,
    /// The codec of what was sent last.
    codec: Mutex<Option<Codec>>,
    /// Times begin anywhere (RFC 3550, section 5.1).
    offset: u32,
    /// Last, see [`pads`](super::pads).
    _pipeline: gst::Pipeline,
}

impl SendPad {
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        to: &gst::Pad,
        ssrc: u32,
        counters: &Arc<Counters>,
        keyframe_wanted: impl Fn() + Send + Sync + 'static,
    ) -> Result<SendPad, MediaError> {
        let counted = counters.clone();
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name("packets")
            .event_function(move |_, _, event| {
                if gst_video::ForceKeyUnitEvent::is(&event) {
                    counted.received.keyframe_request();
                    guarded(None, &keyframe_wanted);
                }
                true
            })
            .build();
        link(&pad, to)?;
        begin(&pad, "packets", &gst::Caps::new_empty_simple("application/x-rtp"))?;
        let random = uuid::Uuid::new_v4().as_u128();
        Ok(SendPad {
            pad,
            ssrc,
            codec: Mutex::default(),
            sequence: AtomicU16::new(random as u16),
            counters: counters.clone(),
            frames: AtomicU64::new(0),
            offset: (random >> 64) as u32,
            _pipeline: pipeline.clone(),
        })
    }

    /// The codec of what is sent.
    pub(in crate::rtp) fn codec(&self) -> Option<Codec> {
        *lock(&self.codec)
    }

    /// Pictures that were sent.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Sends a packet of a payloader with these numbers instead of its own.
    fn send(&self, sample: &gst::Sample, payload_type: u8) -> Option<()> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let mut buffer = sample.buffer_owned()?;
        let at = segment.to_running_time(buffer.pts()?)?;
        let packet = buffer.make_mut();
        packet.set_pts(at);
        packet.set_dts(at);
        {
            let mut map = packet.map_writable().ok()?;
            let header = map.get_mut(..12)?;
            let time = u32::from_be_bytes(header[4..8].try_into().ok()?).wrapping_add(self.offset);
            self.frames
                .fetch_add(u64::from(header[1] >> 7), Ordering::Relaxed);
            header[1] = (header[1] & 0x80) | payload_type;
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            header[2..4].copy_from_slice(&sequence.to_be_bytes());
            header[4..8].copy_from_slice(&time.to_be_bytes());
            header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        }
        self.counters.sent.packet(buffer.size());
        // Refused when it stops.
        self.pad.push(buffer).ok().map(drop)
    }
}

/// Takes packets of a packetiser.
pub(in crate::rtp) struct RtpOutlet {
    pub(in crate::rtp) sender: Arc<SendPad>,
    /// The payload types that the remote knows codecs by, preferred first.
    pub(in crate::rtp) types: Vec<(Codec, u8)>,
    pub(in crate::rtp) mtu: u32,
    pub(in crate::rtp) timeline: Timeline,
    pub(in crate::rtp) latency: Arc<Latency>,
}

impl Outlet for RtpOutlet {
    fn mtu(&self) -> u32 {
        self.mtu
    }

    fn open(&self, codec: Codec) -> Take {
        let found = self.types.iter().find(|(c, _)| *c == codec);
        let Some((_, payload_type)) = found.copied() else {
            return Box::new(|_| {}); // not negotiated, which a packetiser does not choose
        };
        let sender = self.sender.clone();
        *lock(&sender.codec) = Some(codec);
        let caps = gst::Caps::clone(&rtp_caps(codec, payload_type));
        sender.pad.push_event(gst::event::Caps::new(&caps));
        let (timeline, latency) = (self.timeline.clone(), self.latency.clone());
        Box::new(move |packet| {
            if let Some(age) = packet.age(&timeline) {
                latency.note(codec.kind(), age);
            }
            sender.send(&packet.sample, payload_type);
        })
    }
}
