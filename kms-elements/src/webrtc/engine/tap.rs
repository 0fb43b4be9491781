//! What a peer receives, for somebody in this process: recorders and converters.

use std::sync::Arc;
use std::time::Instant;

use super::inbound::Packet;
use super::out_track::{Feed, OutTrack};
use super::rtc::codec_name;
use crate::webrtc::api::Kind;

/// A received packet. Of a simulcast source it is the best layer that there was a keyframe of.
#[derive(Debug)]
pub struct TapPacket {
    /// Name of the codec, such as "VP8".
    pub codec: &'static str,
    /// Ticks of RTP time a second.
    pub clock_rate: u32,
    /// Counts up by one a packet sent; what was lost is left out, what was repaired comes late.
    pub sequence: u64,
    /// RTP time, which goes on when layers change.
    pub time: u32,
    /// The marker bit.
    pub marker: bool,
    /// When it was captured, as far as the sender's reports tell, on this machine's clock.
    pub captured: Instant,
    /// The payload.
    pub payload: Arc<[u8]>,
}

/// Takes packets. Called on the worker's thread, which carries media for many: it must not wait.
pub trait Tap: Send + Sync {
    /// A packet was received.
    fn packet(&self, packet: TapPacket);
}

/// A tap, and how its stream is kept in one piece.
pub(super) struct Tapped {
    tap: Arc<dyn Tap>,
    track: OutTrack,
}

impl Tapped {
    /// Nothing was taken yet.
    pub(super) fn new(tap: Arc<dyn Tap>) -> Tapped {
        Tapped {
            tap,
            track: OutTrack::new(90_000, 0),
        }
    }

    /// Hands on a packet, if it is of the layer that is taken.
    pub(super) fn take(&mut self, peer: u64, packet: &Packet, now: Instant) {
        let feed = Feed {
            peer,
            layer: packet.layer,
        };
        let goes_on = match self.track.feed() {
            Some(current) => current == feed || (packet.keyframe && packet.layer > current.layer),
            None => packet.kind == Kind::Audio || packet.keyframe,
        };
        if !goes_on {
            return;
        }
        let clock_rate = packet.params.spec().clock_rate.get();
        if self.track.feed() != Some(feed) {
            self.track.set_clock_rate(clock_rate);
        }
        if let Some(position) = self.track.place(feed, packet.sequence, packet.time, now) {
            self.tap.packet(TapPacket {
                codec: codec_name(packet.params.spec().codec),
                clock_rate,
                sequence: position.sequence,
                time: position.time,
                marker: packet.marker,
                captured: packet.captured,
                payload: packet.payload.clone(),
            });
        }
    }

    /// Whether it still waits for a keyframe to begin with.
    pub(super) fn lacks_keyframe(&self) -> bool {
        self.track.feed().is_none()
    }
}
