//! Where connections of ICE over TCP come in (RFC 6544, passive side): one port for all peers of a worker.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::transport::tcp::Framed;

/// Connections that have not said whose they are. When there are more, the oldest is closed.
const MOST_UNKNOWN: usize = 256;
/// They have this long to say it.
const NAME_WITHIN: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Whose connection it is that has something to read.
pub(super) enum Accepted {
    /// Nobody's so far.
    Unknown,
    /// That of a peer that has it already.
    Of(u64),
    /// A peer's from now on; with the packet that told.
    Now(u64, Box<(Framed, Vec<u8>)>),
}

/// A listener and the connections it has accepted.
pub(super) struct Listener {
    listener: TcpListener,
    port: u16,
    first_token: usize,
    accepted: usize,
    unknown: HashMap<Token, (Framed, Instant)>,
    /// Connections that peers have taken over.
    of_peers: HashMap<Token, u64>,
}

impl Listener {
    /// Listens on a port of all addresses; 0: any port that is free.
    pub(super) fn bind(
        port: u16,
        registry: &Registry,
        token: Token,
        first_token: usize,
    ) -> io::Result<Listener> {
        let socket = match bind(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(socket) => socket,
            // A host without IPv6.
            Err(_) => bind(Domain::IPV4, ([0, 0, 0, 0], port).into())?,
        };
        let mut listener = TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        let port = listener.local_addr()?.port();
        Ok(Listener {
            listener,
            port,
            first_token,
            accepted: 0,
            unknown: HashMap::new(),
            of_peers: HashMap::new(),
        })
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Accepts what waits.
    pub(super) fn accept(&mut self, registry: &Registry, now: Instant) {
        while let Ok((mut stream, remote)) = self.listener.accept() {
            let Ok(local) = stream.local_addr() else { continue };
            let token = Token(self.first_token | self.accepted);
            // The number stays below the bit that marks connections for longer than any process runs.
            self.accepted += 1;
            if registry
                .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
                .is_err()
            {
                continue;
            }
            if self.unknown.len() >= MOST_UNKNOWN {
                let oldest = self
                    .unknown
                    .iter()
                    .min_by_key(|(_, (_, since))| *since)
                    .map(|(token, _)| *token);
                oldest.map(|token| self.unknown.remove(&token));
            }
            self.unknown
                .insert(token, (Framed::new(stream, plain(remote), plain(local)), now));
        }
    }

    /// A connection has something to read: whose is it? `peer_of` knows by a packet.
    pub(super) fn read(&mut self, token: Token, peer_of: impl Fn(&[u8]) -> Option<u64>) -> Accepted {
        if let Some(peer) = self.of_peers.get(&token) {
            return Accepted::Of(*peer);
        }
        let Some((mut connection, since)) = self.unknown.remove(&token) else {
            return Accepted::Unknown;
        };
        let open = connection.fill().is_ok();
        let Some(packet) = connection.next_packet() else {
            if open {
                self.unknown.insert(token, (connection, since));
            }
            return Accepted::Unknown;
        };
        // Whoever begins with anything but a check of ours is not a peer, and is closed.
        let Some(peer) = peer_of(&packet) else {
            return Accepted::Unknown;
        };
        self.of_peers.insert(token, peer);
        Accepted::Now(peer, Box::new((connection, packet)))
    }

    /// A peer is gone, and its connections with it.
    pub(super) fn forget(&mut self, peer: u64) {
        self.of_peers.retain(|_, p| *p != peer);
    }

    /// Closes connections that have not said whose they are.
    pub(super) fn tick(&mut self, now: Instant) {
        self.unknown.retain(|_, (_, since)| now < *since + NAME_WITHIN);
    }
}

fn bind(domain: Domain, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// An IPv4 address as such, though the socket has it mapped into IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    SocketAddr::new(ip, address.port())
}
