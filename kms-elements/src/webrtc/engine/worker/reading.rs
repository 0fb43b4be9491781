//! What a worker reads: its peers' sockets, the one they share, and TCP connections.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mio::Token;

use super::{CONNECTION, LISTENER, RELAY, SHARED, Worker, guarded};
use crate::webrtc::engine::listener::Accepted;
use crate::webrtc::engine::peer::Outcome;
use crate::webrtc::engine::transport::Datagram;

/// Batches taken from one socket before others get their turn.
const BATCHES_A_TURN: usize = 4;

impl Worker {
    /// Reads what has arrived, a few batches a socket, so that none starves the others.
    pub(super) fn read_sockets(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            let more = match token {
                SHARED => self.read_shared(),
                LISTENER => self.accept(),
                Token(t) if t & RELAY != 0 => self.read_relay((t & !RELAY) as u64),
                Token(t) if t & CONNECTION != 0 => self.read_connection(token),
                Token(peer) => self.read_peer(peer as u64),
            };
            if more {
                self.ready.push_back(token);
            }
        }
    }

    pub(super) fn read_peer(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let Some(socket) = peer.transport.socket.clone() else {
            return false;
        };
        let now = Instant::now();
        let mut outcome = Outcome::default();
        let (mut packets, mut bytes_in, mut more) = (0, 0, true);
        for _ in 0..BATCHES_A_TURN {
            let received = socket.receive(&mut self.buffers, |remote, local, bytes| {
                packets += 1;
                bytes_in += bytes.len() as u64;
                guarded(peer, |p| p.receive((remote, local, bytes), &mut outcome, now));
            });
            more = match received {
                Ok(more) => more,
                Err(error) => {
                    peer.fail(&format!("The socket failed: {error}"));
                    false
                }
            };
            if !more {
                break;
            }
        }
        self.counters.packets_in.fetch_add(packets, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.route(id, outcome, now);
        self.finish(id, now);
        more
    }

    pub(super) fn read_shared(&mut self) -> bool {
        let Some(socket) = self.socket.clone() else {
            return false;
        };
        let (shared, peers, now) = (&mut self.shared, &mut self.peers, Instant::now());
        let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
        let (mut packets, mut bytes_in) = (0, 0);
        let received = socket.receive(&mut self.buffers, |remote, local, bytes| {
            packets += 1;
            bytes_in += bytes.len() as u64;
            let Some(id) = shared.peer_of(remote, bytes) else {
                return;
            };
            let Some(peer) = peers.get_mut(&id) else { return };
            let outcome = outcomes.entry(id).or_default();
            guarded(peer, |p| p.receive((remote, local, bytes), outcome, now));
        });
        self.counters.packets_in.fetch_add(packets, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        for (id, outcome) in outcomes {
            self.route(id, outcome, now);
            self.finish(id, now);
        }
        received.unwrap_or_else(|error| {
            tracing::error!(%error, "the shared port failed");
            false
        })
    }

    pub(super) fn accept(&mut self) -> bool {
        if let Some(listener) = &mut self.listener {
            listener.accept(self.poll.registry(), Instant::now());
        }
        false
    }

    /// Reads a connection of ICE over TCP: its first packet tells whose it is.
    pub(super) fn read_connection(&mut self, token: Token) -> bool {
        let Some(listener) = self.listener.as_mut() else {
            return false;
        };
        let shared = &self.shared;
        let (id, first) = match listener.read(token, |packet| shared.peer_checked(packet)) {
            Accepted::Unknown => return false,
            Accepted::Of(peer) => (peer, None),
            Accepted::Now(peer, connection) => (peer, Some(*connection)),
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let mut packets = Vec::new();
        if let Some((connection, packet)) = first {
            let (remote, local) = (connection.remote, connection.local);
            packets.push(Datagram::tcp(remote, local, packet));
            peer.transport.adopt(token, connection);
        }
        let (more_packets, more) = peer.transport.read_connection(token);
        packets.extend(more_packets);
        self.take_in(id, packets);
        more
    }

    pub(super) fn read_relay(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let (packets, more) = peer.transport.read_relay(Instant::now());
        self.take_in(id, packets);
        more
    }

    pub(super) fn take_in(&mut self, id: u64, packets: Vec<Datagram>) {
        let (now, mut outcome) = (Instant::now(), Outcome::default());
        if let Some(peer) = self.peers.get_mut(&id) {
            guarded(peer, |p| p.take_in_all(packets, &mut outcome, now));
            self.route(id, outcome, now);
        }
    }
}
