//! How packets, messages and requests get from peer to peer, and who is woken when.

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{TICK, Worker, guarded};
use crate::webrtc::api::Kind;
use crate::webrtc::engine::channels::Message;
use crate::webrtc::engine::feed::{FedPacket, is_feed};
use crate::webrtc::engine::peer::{Outcome, slot};

/// Timers fire at multiples of this, those of all peers together: being woken costs more than what most of them do.
const TIMER_GRID: Duration = Duration::from_millis(4);

impl Worker {
    /// Drains a peer that has received, unless its turn comes anyway because it is to send as well.
    pub(super) fn finish(&mut self, id: u64, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id).filter(|p| p.inbox.is_empty()) else {
            return;
        };
        let mut outcome = Outcome::default();
        guarded(peer, |p| p.drain(&mut outcome, now));
        self.route(id, outcome, now);
    }

    /// Drains peers and passes on what they received, until nothing is left to do.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        while !self.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            dirty.sort_unstable();
            dirty.dedup();
            for id in dirty {
                self.settle_peer(id, now);
            }
        }
    }

    pub(super) fn settle_peer(&mut self, id: u64, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let mut outcome = Outcome::default();
        guarded(peer, |p| {
            if !p.inbox.is_empty() {
                p.write_inbox(now);
            }
            p.timeout(now);
            p.drain(&mut outcome, now);
        });
        self.route(id, outcome, now);
    }

    /// Passes on what came of a peer's turn to the peers it feeds, and to the one that feeds it.
    pub(super) fn route(&mut self, id: u64, outcome: Outcome, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(at) = outcome.wake {
            let at = on_grid(self.started, at.max(now));
            peer.due = Some(at);
            if peer.timer.is_none_or(|timer| at < timer) {
                peer.timer = Some(at);
                self.timers.push(Reverse((at, id)));
            }
        }
        if outcome.wants_keyframe
            && let (Some(source), layer) = (peer.sources[slot(Kind::Video)], peer.wanted_layer())
        {
            self.request_keyframe_of(source, id, layer, now);
        }
        if outcome.packets.is_empty() && outcome.messages.is_empty() {
            return;
        }
        // Taken out and put back: the peers it feeds may be any of the same map, itself included.
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let sinks = std::mem::take(&mut peer.sinks);
        for packet in outcome.packets {
            let packet = Rc::new(packet);
            for sink in &sinks[slot(packet.kind)] {
                if let Some(p) = self.peers.get_mut(sink) {
                    if p.inbox.is_empty() {
                        self.dirty.push(*sink);
                    }
                    p.inbox.push((id, packet.clone()));
                }
            }
        }
        for message in outcome.messages {
            self.pass_on(&sinks[slot(Kind::Data)], &message);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.sinks = sinks;
        }
    }

    pub(super) fn pass_on(&mut self, sinks: &[u64], message: &Message) {
        for sink in sinks {
            self.with(*sink, |p| p.send_message(message));
        }
    }

    pub(super) fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(peer) = self.peers.get_mut(&id).filter(|p| p.timer == Some(at)) else {
                continue;
            };
            // Most peers have had a turn since, and want to be woken later: timers are put off when they fire, not with
            // every packet.
            peer.timer = peer.due.filter(|due| *due > now);
            match peer.timer {
                Some(later) => self.timers.push(Reverse((later, id))),
                None if peer.due.take().is_some() => self.dirty.push(id),
                None => {}
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            if let Some(listener) = &mut self.listener {
                listener.tick(now);
            }
            let ids: Vec<u64> = self.peers.keys().copied().collect();
            for id in ids {
                self.with(id, |p| p.tick(now));
                self.choose_layer(id, now);
                // The request or the keyframe may have been lost, and senders ignore requests that come too soon.
                self.ask_for_keyframe(id, now);
            }
        }
    }

    pub(super) fn choose_layer(&mut self, sink: u64, now: Instant) {
        let Some(source) = self.peers.get(&sink).and_then(|p| p.sources[slot(Kind::Video)]) else {
            return;
        };
        let Some(bitrates) = self.peers.get(&source).map(|s| s.inbound.layer_bitrates()) else {
            return;
        };
        if bitrates.len() < 2 {
            return;
        }
        let wanted = self
            .peers
            .get_mut(&sink)
            .and_then(|p| p.choose_layer(&bitrates, now));
        if let Some(layer) = wanted {
            self.with(source, |s| s.request_keyframe(layer, now));
        }
    }

    /// Asks the source of a peer's video for a keyframe, if the peer can do nothing without.
    pub(super) fn ask_for_keyframe(&mut self, sink: u64, now: Instant) {
        let Some(p) = self.peers.get(&sink).filter(|p| p.lacks_keyframe()) else {
            return;
        };
        let (source, layer) = (p.sources[slot(Kind::Video)], p.wanted_layer());
        if let Some(source) = source {
            self.request_keyframe_of(source, sink, layer, now);
        }
    }

    /// Asks a source for a keyframe that a peer wants: another peer's remote, or who makes the media of a feed.
    fn request_keyframe_of(&mut self, source: u64, sink: u64, layer: u8, now: Instant) {
        if !is_feed(source) {
            self.with(source, |s| s.request_keyframe(layer, now));
        } else if let Some(peer) = self.peers.get_mut(&sink) {
            peer.request_fed_keyframe(now);
        }
    }

    /// Takes a packet of a feed for the peer it feeds.
    pub(super) fn take_fed(&mut self, sink: u64, source: u64, packet: FedPacket) {
        let Some(peer) = self.peers.get_mut(&sink) else {
            return;
        };
        // What was on its way when the peer was given another source.
        if peer.sources[slot(packet.kind)] != Some(source) {
            return;
        }
        if let Some(packet) = peer.fed(packet) {
            if peer.inbox.is_empty() {
                self.dirty.push(sink);
            }
            peer.inbox.push((source, Rc::new(packet)));
        }
    }
}

/// The next multiple of the grid after a moment.
fn on_grid(zero: Instant, at: Instant) -> Instant {
    let grid = TIMER_GRID.as_nanos() as u64;
    let passed = at.saturating_duration_since(zero).as_nanos() as u64;
    zero + Duration::from_nanos((passed / grid + 1) * grid)
}
