//! Packets that are made in this process for the remote of a WebRTC endpoint.

use std::time::{Duration, Instant};

use kms_core::media::{Codec, Timeline};

use super::api::Kind;
use super::engine::{FedPacket, Feed, Peer};
use crate::packets::{Outlet, Take};

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

    fn open(&self, codec: Codec) -> Take {
        let feed = Feed::start(&self.peer, self.kind);
        let (timeline, kind) = (self.timeline.clone(), self.kind);
        let mut sequence = 0;
        Box::new(move |packet| {
            if let (Some(parts), Some(captured)) = (packet.parts(), captured(&packet.sample, &timeline)) {
                feed.send(FedPacket {
                    kind,
                    codec: codec.name(),
                    sequence,
                    time: parts.time,
                    marker: parts.marker,
                    captured,
                    payload: parts.payload.clone(),
                });
                sequence += 1;
            }
        })
    }
}

/// When it was captured, on this machine's clock.
fn captured(sample: &gst::Sample, timeline: &Timeline) -> Option<Instant> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_running_time(sample.buffer()?.pts()?)?;
    let age = timeline.now().saturating_sub(at);
    Instant::now().checked_sub(Duration::from_nanos(age.nseconds()))
}
