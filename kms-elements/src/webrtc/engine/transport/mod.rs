//! The ways to a peer's remote: its UDP socket, TCP connections of ICE, and a relay; and the candidates that tell of them.

mod clock;
mod relay;
mod stun;
pub(super) mod tcp;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use str0m::Candidate;
use str0m::net::{Protocol, TcpType, Transmit};

use self::relay::Relay;
use self::stun::StunQuery;
use self::tcp::{Framed, Pipe};
use super::udp::{Udp, usual_source};
use crate::webrtc::api::{GatherSettings, TurnServer, TurnTransport};
use crate::webrtc::ice::host_candidates;

/// TCP connections a remote may have to one peer; ICE uses one, and one more while it changes.
const MOST_CONNECTIONS: usize = 4;

/// A candidate of this side.
#[derive(Debug, Clone)]
pub(super) struct Local {
    /// What the remote is told: "candidate:...".
    pub(super) line: String,
    /// What the transport is told.
    pub(super) candidate: Candidate,
}

/// What gathering has brought.
#[derive(Debug)]
pub(super) enum Gathered {
    /// A candidate.
    Candidate(Box<Local>),
    /// All of them were reported.
    Done,
}

/// Where the worker's listener for ICE over TCP is, and how connections are registered.
pub(super) struct Surroundings<'a> {
    pub(super) registry: &'a Registry,
    /// Token of a connection to the TURN server.
    pub(super) relay_token: Token,
    pub(super) ice_tcp_port: Option<u16>,
}

/// A packet that took another way than the socket.
pub(super) struct Datagram {
    pub(super) proto: Protocol,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Datagram {
    /// A packet of ICE over TCP.
    pub(super) fn tcp(remote: SocketAddr, local: SocketAddr, bytes: Vec<u8>) -> Datagram {
        Datagram {
            proto: Protocol::Tcp,
            remote,
            local,
            bytes,
        }
    }
}

/// What a datagram of the socket is.
pub(super) enum Sorted {
    /// The remote's own.
    Direct,
    /// A server's: these packets came with it, if any.
    Relayed(Vec<Datagram>),
}

/// The connection to a TURN server over TCP or the peer's own socket.
struct RelayPath {
    relay: Relay,
    pipe: Option<Pipe>,
    told: bool,
}

/// A peer's ways to its remote.
#[derive(Default)]
pub(super) struct Transport {
    /// Shared only with the worker while it reads from it, or with all peers of a worker.
    pub(super) socket: Option<Rc<Udp>>,
    /// What packets are marked with where the socket does not do it, being shared.
    pub(super) dscp: Option<u8>,
    /// The pair in use, as long as the kernel by itself sends from its local address.
    usual: Option<(SocketAddr, SocketAddr)>,
    /// TCP connections the remote has opened, with their tokens.
    connections: Vec<(Token, Framed)>,
    relay: Option<Box<RelayPath>>,
    stun: Option<Box<StunQuery>>,
    locals: Vec<Local>,
    gathering: bool,
    gathered: Vec<Gathered>,
}

impl Transport {
    /// The candidates found so far.
    pub(super) fn locals(&self) -> &[Local] {
        &self.locals
    }

    /// What gathering has brought since the last call.
    pub(super) fn take_gathered(&mut self) -> Vec<Gathered> {
        std::mem::take(&mut self.gathered)
    }

    /// Gathers candidates: of the host at once, from servers as they answer.
    pub(super) fn gather(&mut self, settings: &GatherSettings, around: &Surroundings<'_>, now: Instant) {
        let Some(port) = self.socket.as_ref().map(|s| s.port()) else {
            return;
        };
        for host in host_candidates(settings, port) {
            if let Ok(candidate) = Candidate::host(host.base, "udp") {
                self.add(host.line, candidate);
            }
        }
        if let Some(port) = around.ice_tcp_port.filter(|_| settings.ice_tcp) {
            self.add_tcp_candidates(settings, port);
        }
        self.gathering = true;
        if let Some(server) = settings.stun_server.filter(|_| self.stun.is_none()) {
            self.stun = Some(Box::new(StunQuery::new(server, now)));
        }
        if let Some(server) = settings.turn_server.as_ref().filter(|_| self.relay.is_none()) {
            match self.reach(server, around, now) {
                Ok(path) => self.relay = Some(Box::new(path)),
                Err(error) => {
                    tracing::warn!(server = %server.address, %error, "the TURN server can't be reached")
                }
            }
        }
        self.poll(now);
    }

    fn add_tcp_candidates(&mut self, settings: &GatherSettings, port: u16) {
        for (index, host) in host_candidates(settings, port).into_iter().enumerate() {
            let candidate = Candidate::builder()
                .tcp()
                .host(host.base)
                .tcptype(TcpType::Passive)
                .build();
            let Some(announced) = host.line.split_whitespace().nth(4) else {
                continue;
            };
            // RFC 6544, section 4.2: below all candidates of UDP; the direction preference of passive ones is 4.
            let priority = (90_u32 << 24) + (((4 << 13) + 8191 - index as u32) << 8) + 255;
            let foundation = 100 + index;
            let line = format!(
                "candidate:{foundation} 1 TCP {priority} {announced} {port} typ host tcptype passive"
            );
            if let Ok(candidate) = candidate {
                self.add(line, candidate);
            }
        }
    }

    fn add(&mut self, line: String, candidate: Candidate) {
        let same =
            |l: &Local| l.candidate.addr() == candidate.addr() && l.candidate.proto() == candidate.proto();
        if !self.locals.iter().any(same) {
            let local = Local { line, candidate };
            self.locals.push(local.clone());
            self.gathered.push(Gathered::Candidate(Box::new(local)));
        }
    }

    /// The host address that packets to this server leave from, as far as candidates tell.
    fn base_towards(&self, server: SocketAddr) -> Option<SocketAddr> {
        let of_family = |l: &&Local| {
            l.candidate.proto() == Protocol::Udp && l.candidate.addr().is_ipv4() == server.is_ipv4()
        };
        self.locals.iter().find(of_family).map(|l| l.candidate.addr())
    }

    fn reach(&self, server: &TurnServer, around: &Surroundings<'_>, now: Instant) -> io::Result<RelayPath> {
        let (local, pipe) = match server.transport {
            TurnTransport::Udp => {
                let base = self.base_towards(server.address);
                (
                    base.ok_or_else(|| io::Error::other("this host has no address of its family"))?,
                    None,
                )
            }
            TurnTransport::Tcp => {
                let mut pipe = Pipe::new(TcpStream::connect(server.address)?);
                around.registry.register(
                    pipe.source(),
                    around.relay_token,
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                let unknown = SocketAddr::new(super::udp::unspecified(server.address), 0);
                (pipe.source().local_addr().unwrap_or(unknown), Some(pipe))
            }
        };
        let relay = Relay::new(server, local, now);
        Ok(RelayPath {
            relay,
            pipe,
            told: false,
        })
    }

    /// Sends a packet. An error: it is lost, as on a network, and repaired as such.
    pub(super) fn send(&mut self, transmit: &Transmit, now: Instant) -> io::Result<()> {
        let lost = || io::Error::from(io::ErrorKind::NotConnected);
        if transmit.proto == Protocol::Tcp {
            let connection = self
                .connections
                .iter_mut()
                .find(|(_, c)| c.remote == transmit.destination);
            let (_, connection) = connection.ok_or_else(lost)?;
            return if connection.send(&transmit.contents) {
                Ok(())
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let socket = self.socket.clone();
        if let Some(path) = self
            .relay
            .as_mut()
            .filter(|p| p.relay.relayed() == Some(transmit.source))
        {
            path.with(socket, |relay, out| {
                relay.send(transmit.destination, &transmit.contents, now, out)
            });
            return Ok(());
        }
        let from =
            (self.usual != Some((transmit.source, transmit.destination))).then(|| transmit.source.ip());
        socket
            .ok_or_else(lost)?
            .send(transmit.destination, &transmit.contents, from, self.dscp)
    }

    /// Looks whether the kernel's own choice of a source address is that of the pair in use: then packets need not name
    /// one, which saves some of the kernel's time. Called every now and then, for routes change.
    pub(super) fn check_route(&mut self, (source, remote): (SocketAddr, SocketAddr)) {
        self.usual = (usual_source(remote) == Some(source.ip())).then_some((source, remote));
    }

    /// A pair is in use from now on.
    pub(super) fn selected(&mut self, source: SocketAddr, remote: SocketAddr, now: Instant) {
        self.check_route((source, remote));
        if let Some(path) = self.relay.as_mut().filter(|p| p.relay.relayed() == Some(source)) {
            path.relay.selected(remote, now);
        }
    }

    /// Looks at a datagram that arrived on the socket.
    pub(super) fn sort(
        &mut self,
        remote: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Sorted {
        if self.relay.is_none() && self.stun.is_none() {
            return Sorted::Direct;
        }
        let from_relay = self
            .relay
            .as_ref()
            .is_some_and(|p| p.pipe.is_none() && p.relay.server() == remote);
        if from_relay && let Some(packets) = self.relayed(bytes, now) {
            return Sorted::Relayed(packets);
        }
        if let Some(query) = self.stun.as_mut().filter(|q| q.server() == remote)
            && let Some(mapped) = query.receive(bytes, now)
        {
            self.reflexive(mapped, local, remote);
            self.poll(now);
            return Sorted::Relayed(Vec::new());
        }
        Sorted::Direct
    }

    /// What the TURN server sent, unwrapped. `None`: it was not for its client.
    fn relayed(&mut self, bytes: &[u8], now: Instant) -> Option<Vec<Datagram>> {
        let path = self.relay.as_mut()?;
        let mut packets = Vec::new();
        let handled = path.relay.receive(bytes, now, &mut |remote, data| {
            packets.push((remote, data.to_vec()))
        });
        let relayed = path.relay.relayed();
        self.poll(now);
        let datagram = |(remote, bytes)| {
            Some(Datagram {
                proto: Protocol::Udp,
                remote,
                local: relayed?,
                bytes,
            })
        };
        handled.then(|| packets.into_iter().filter_map(datagram).collect())
    }

    /// Reads the connection to the TURN server. True: there may be more.
    pub(super) fn read_relay(&mut self, now: Instant) -> (Vec<Datagram>, bool) {
        let Some(pipe) = self.relay.as_mut().and_then(|p| p.pipe.as_mut()) else {
            return (Vec::new(), false);
        };
        let mut chunks = Vec::new();
        let more = pipe
            .flush()
            .and_then(|()| pipe.read(&mut |bytes| chunks.push(bytes.to_vec())));
        let packets = chunks
            .iter()
            .filter_map(|c| self.relayed(c, now))
            .flatten()
            .collect();
        let more = more.unwrap_or_else(|error| {
            tracing::debug!(%error, "the connection to the TURN server has ended");
            if let Some(path) = &mut self.relay {
                path.relay.lost();
            }
            false
        });
        self.poll(now);
        (packets, more)
    }

    /// Takes over a connection whose first packet named this peer.
    pub(super) fn adopt(&mut self, token: Token, connection: Framed) {
        if self.connections.len() >= MOST_CONNECTIONS {
            self.connections.remove(0);
        }
        self.connections.push((token, connection));
    }

    /// Reads a connection. True: there may be more.
    pub(super) fn read_connection(&mut self, token: Token) -> (Vec<Datagram>, bool) {
        let Some((_, connection)) = self.connections.iter_mut().find(|(t, _)| *t == token) else {
            return (Vec::new(), false);
        };
        let (more, remote, local) = (connection.fill(), connection.remote, connection.local);
        let packets = std::iter::from_fn(|| connection.next_packet());
        let packets = packets.map(|bytes| Datagram::tcp(remote, local, bytes)).collect();
        let more = more.unwrap_or_else(|_| {
            self.connections.retain(|(t, _)| *t != token);
            false
        });
        (packets, more)
    }

    fn reflexive(&mut self, mapped: SocketAddr, local: SocketAddr, server: SocketAddr) {
        let known = self.locals.iter().any(|l| l.candidate.addr() == local);
        let Some(base) = Some(local)
            .filter(|_| known)
            .or_else(|| self.base_towards(server))
        else {
            return;
        };
        if let Ok(candidate) = Candidate::server_reflexive(mapped, base, "udp") {
            // RFC 8445, section 5.1.2.1: the type preference of server-reflexive candidates is 100.
            self.add(line(200, 100, mapped, "srflx", base), candidate);
        }
    }

    /// Sends what is due to STUN and TURN servers, and answers when to be called again.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Instant> {
        if !self.gathering && self.stun.is_none() && self.relay.is_none() {
            return None;
        }
        let socket = self.socket.clone();
        let mut next = None;
        if let Some(query) = self.stun.as_mut() {
            let server = query.server();
            next = query.poll(now, &mut |bytes| {
                send_from_anywhere(socket.as_deref(), server, bytes)
            });
            if query.is_over() {
                self.stun = None;
            }
        }
        let mut relayed = None;
        if let Some(path) = self.relay.as_mut() {
            let due = path.with(socket, |relay, out| relay.poll(now, out));
            next = due.map_or(next, |due| Some(next.map_or(due, |n: Instant| n.min(due))));
            if !path.told {
                relayed = path.relay.relayed().map(|address| (address, path.relay.local()));
                path.told = relayed.is_some();
            }
        }
        if let Some((address, local)) = relayed {
            let base = self.base_towards(local).unwrap_or(local);
            if let Ok(candidate) = Candidate::relayed(address, base, "udp") {
                self.add(line(300, 0, address, "relay", base), candidate);
            }
        }
        let waits = self.stun.is_some() || self.relay.as_ref().is_some_and(|p| !p.relay.is_settled(now));
        if self.gathering && !waits {
            self.gathering = false;
            self.gathered.push(Gathered::Done);
        }
        next
    }

    /// Gives back what servers hold for this peer.
    pub(super) fn close(&mut self, now: Instant) {
        let socket = self.socket.clone();
        if let Some(path) = self.relay.as_mut() {
            path.with(socket, |relay, out| relay.close(now, out));
        }
    }
}

impl RelayPath {
    /// Lets the relay's client act, with a way to its server.
    fn with<T>(
        &mut self,
        socket: Option<Rc<Udp>>,
        act: impl FnOnce(&mut Relay, &mut dyn FnMut(&[u8])) -> T,
    ) -> T {
        let RelayPath { relay, pipe, .. } = self;
        let server = relay.server();
        match pipe {
            Some(pipe) => act(relay, &mut |bytes| {
                // No room: lost, as on a network.
                let _ = pipe.write(&[bytes]);
            }),
            None => act(relay, &mut |bytes| {
                send_from_anywhere(socket.as_deref(), server, bytes)
            }),
        }
    }
}

fn send_from_anywhere(socket: Option<&Udp>, to: SocketAddr, bytes: &[u8]) {
    // What is lost is sent again.
    let _ = socket.map(|s| s.send(to, bytes, None, None));
}

/// A candidate line of a server-reflexive or relayed address (RFC 8839, section 5.1).
fn line(foundation: u32, type_preference: u32, address: SocketAddr, kind: &str, base: SocketAddr) -> String {
    let priority = (type_preference << 24) + (65_535 << 8) + 255;
    format!(
        "candidate:{foundation} 1 UDP {priority} {} {} typ {kind} raddr {} rport {}",
        address.ip(),
        address.port(),
        base.ip(),
        base.port()
    )
}
