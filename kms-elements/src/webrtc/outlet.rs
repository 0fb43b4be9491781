//! Packets that are made in this process for the remote of a WebRTC endpoint.

use std::sync::Arc;
use std::time::Instant;

use kms_core::element::Latency;
use kms_core::media::{Codec, Timeline};

use super::api::Kind;
use super::engine::{FedPacket, Feed, Peer};
use crate::packets::{Outlet, Take};

/// Gives packets to a worker, which sends them.
pub(super) struct FeedOutlet {
    pub(super) peer: Peer,
    pub(super) kind: Kind,
    pub(super) timeline: Timeline,
    pub(super) latency: Arc<Latency>,
}

impl Outlet for FeedOutlet {
    fn mtu(&self) -> u32 {
        1200 // leaves room for what is around it, as in browsers
    }

    fn open(&self, codec: Codec) -> Take {
        let feed = Feed::start(&self.peer, self.kind);
        let (timeline, kind, latency) = (self.timeline.clone(), self.kind, self.latency.clone());
        let mut sequence = 0;
        Box::new(move |packet| {
            let Some(age) = packet.age(&timeline) else { return };
            latency.note(codec.kind(), age);
            if let (Some(parts), Some(captured)) = (packet.parts(), Instant::now().checked_sub(age)) {
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
