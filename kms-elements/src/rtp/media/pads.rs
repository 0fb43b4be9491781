//! Pads of our own, which join the pipeline to sockets.
//!
//! Who holds such a pad holds the pipeline too, and drops it after the pad: a pad that goes unlinks itself, which GStreamer tells
//! the pipeline about, without holding it. On another thread that may be just about to free it.

use gst::prelude::*;
use kms_core::media::{MediaError, Timeline, guarded, probe};

use super::srtp::Decrypter;
use super::{Setup, missing};
use crate::rtp::transport::Receiver;

/// Links pads of which one is in no element.
pub(super) fn link(from: &gst::Pad, to: &gst::Pad) -> Result<(), MediaError> {
    let linked = from.link_full(to, gst::PadLinkCheck::empty());
    linked.map(drop).map_err(missing)
}

/// A pad that gives what comes to a function.
pub(super) fn sink_pad(
    name: &str,
    take: impl Fn(&[u8]) + Send + Sync + 'static,
) -> Result<gst::Pad, MediaError> {
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .name(name)
        .chain_function(move |_, _, buffer| {
            if let Ok(map) = buffer.map_readable() {
                guarded(None, || take(&map)); // one packet less
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(|_, _, _| true)
        .build();
    pad.set_active(true).map_err(missing)?;
    Ok(pad)
}

/// Begins a stream on a pad of ours. Time on it is running time.
pub(super) fn begin(pad: &gst::Pad, name: &str, caps: &gst::Caps) -> Result<(), MediaError> {
    pad.set_active(true).map_err(missing)?;
    pad.push_event(gst::event::StreamStart::new(name));
    pad.push_event(gst::event::Caps::new(caps));
    pad.push_event(gst::event::Segment::new(
        &gst::FormattedSegment::<gst::ClockTime>::new(),
    ));
    Ok(())
}

/// Where packets of the sockets of an m-line enter.
pub(super) struct Inlet {
    timeline: Timeline,
    rtp: gst::Pad,
    rtcp: gst::Pad,
    decrypter: Option<Decrypter>,
    _pipeline: gst::Pipeline,
}

impl Inlet {
    pub(super) fn new(
        timeline: &Timeline,
        pipeline: &gst::Pipeline,
        rtp_to: &gst::Pad,
        rtcp_to: &gst::Pad,
        decrypter: Option<Decrypter>,
    ) -> Result<Inlet, MediaError> {
        let source = |name: &str, to: &gst::Pad, caps: &str| {
            let pad = gst::Pad::builder(gst::PadDirection::Src).name(name).build();
            link(&pad, to)?;
            begin(&pad, name, &gst::Caps::new_empty_simple(caps))?;
            Ok(pad)
        };
        let (rtp, rtcp) = match &decrypter {
            Some(d) => (
                source("rtp-in", &d.rtp, "application/x-srtp")?,
                source("rtcp-in", &d.rtcp, "application/x-srtcp")?,
            ),
            None => (
                source("rtp-in", rtp_to, "application/x-rtp")?,
                source("rtcp-in", rtcp_to, "application/x-rtcp")?,
            ),
        };
        Ok(Inlet {
            timeline: timeline.clone(),
            rtp,
            rtcp,
            decrypter,
            _pipeline: pipeline.clone(),
        })
    }

    fn push(&self, pad: &gst::Pad, packet: &[u8]) {
        let mut buffer = gst::Buffer::from_mut_slice(packet.to_vec());
        if let Some(buffer) = buffer.get_mut() {
            let now = self.timeline.now();
            buffer.set_pts(now);
            buffer.set_dts(now);
        }
        // Refused when it stops, and what is no valid packet.
        let _ = pad.push(buffer);
        if let Some(decrypter) = &self.decrypter {
            decrypter.tidy();
        }
    }
}

impl Receiver for Inlet {
    fn rtp(&mut self, packet: &[u8]) {
        self.push(&self.rtp, packet);
    }

    fn rtcp(&mut self, packet: &[u8]) {
        self.push(&self.rtcp, packet);
    }
}

/// Lets in what the line's gate admits. It stands behind decryption: what comes here is authentic if that can be known.
pub(super) fn guard(rtp: &gst::Pad, rtcp: &gst::Pad, setup: &Setup) {
    let (line, receives) = (setup.line.clone(), setup.receives);
    let known: Vec<u8> = setup.formats.iter().map(|f| f.payload_type).collect();
    probe(rtp, gst::PadProbeType::BUFFER, move |_, info| {
        let header = info.buffer().and_then(|buffer| {
            let map = buffer.map_readable().ok()?;
            let ssrc = u32::from_be_bytes(map.get(8..12)?.try_into().ok()?);
            Some((ssrc, map.get(1)? & 0x7f))
        });
        // One of an unknown type tells where the sender is all the same (RFC 6263, section 4.6).
        let admitted = header.is_some_and(|(ssrc, payload_type)| {
            let media = receives && known.contains(&payload_type);
            line.admit(ssrc, media) && media
        });
        match admitted {
            true => gst::PadProbeReturn::Ok,
            false => gst::PadProbeReturn::Drop,
        }
    });
    let line = setup.line.clone();
    probe(rtcp, gst::PadProbeType::BUFFER, move |_, _| {
        line.admit_rtcp();
        gst::PadProbeReturn::Ok
    });
}
