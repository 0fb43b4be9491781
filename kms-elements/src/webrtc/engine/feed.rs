//! Media that does not come from a remote: packets made in this process, for one sink each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Peer;
use super::command::Command;
use crate::webrtc::api::Kind;

/// Numbers of feeds have this bit, those of peers do not.
const FEED: u64 = 1 << 63;

/// Whether the source with this number is a feed.
pub(super) fn is_feed(source: u64) -> bool {
    source & FEED != 0
}

/// An RTP packet of a feed.
#[derive(Debug, Clone)]
pub struct FedPacket {
    /// Audio or video.
    pub kind: Kind,
    /// Name of the codec, such as "VP8".
    pub codec: &'static str,
    /// Counts up by one.
    pub sequence: u64,
    /// RTP time.
    pub time: u32,
    /// The marker bit.
    pub marker: bool,
    /// When it was captured, on this machine's clock: audio and video are held together by it.
    pub captured: Instant,
    /// The payload, as RTP has it for this codec.
    pub payload: Arc<[u8]>,
}

/// Feeds a peer with packets of one kind, until the peer is given another source.
pub struct Feed {
    sink: Peer,
    number: u64,
}

impl Feed {
    /// Makes this the source of a peer. What the peer was fed by before is left at once; video begins with the next keyframe, for
    /// which `KeyframeWanted` asks.
    pub fn start(sink: &Peer, kind: Kind) -> Feed {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = FEED | NEXT.fetch_add(1, Ordering::Relaxed);
        sink.send(Command::SetSource {
            sink: sink.handle.id,
            kind,
            source: Some(number),
        });
        Feed {
            sink: sink.clone(),
            number,
        }
    }

    /// Sends a packet. False: the worker is too busy to take it, and it is lost, as on a network.
    pub fn send(&self, packet: FedPacket) -> bool {
        self.sink.try_send(Command::Media {
            sink: self.sink.handle.id,
            source: self.number,
            packet,
        })
    }
}
