//! Packets that are made in this process for the remote of a WebRTC endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kms_core::media::{Codec, Timeline};

use super::api::Kind;
use super::engine::{FedPacket, Feed, Peer};
use crate::packets::Outlet;

/// Gives packets to a worker, which sends them.
pub(super) struct FeedOutlet {
    pub(super) peer: Peer,
    pub(super) kind: Kind,
    pub(super) timeline: Timeline,
}

impl Outlet for FeedOutlet {
    fn mtu(&self) -> u32 {
        1200 // leaves room for what is around it, as in browsers
    }

    fn open(&self, codec: Codec) -> Box<dyn FnMut(&gst::Sample) + Send> {
        let (feed, timeline, kind) = (
            Feed::start(&self.peer, self.kind),
            self.timeline.clone(),
            self.kind,
        );
        let mut sequence = 0;
        Box::new(move |sample| {
            if let Some(packet) = packet(sample, &timeline, kind, codec, sequence) {
                sequence += 1;
                feed.send(packet);
            }
        })
    }
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
