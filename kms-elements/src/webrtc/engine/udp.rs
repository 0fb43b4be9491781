//! UDP sockets: batches in, the local address of every packet known, one file descriptor for all interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// Room for one buffer of received packets: the kernel may join several of one sender (GRO).
const BUFFER: usize = 65_536;
/// Kernel buffers. A keyframe of a few hundred packets arrives at once; a shared socket serves many.
const OWN_BUFFER: usize = 1 << 20;
const SHARED_BUFFER: usize = 8 << 20;

/// Packets taken at once. Each slot costs something even when it stays empty, and a peer's own socket rarely has many.
const OWN_BATCH: usize = 8;
const SHARED_BATCH: usize = BATCH_SIZE;

/// Buffers to receive into; one set a worker.
pub(super) struct Buffers {
    data: Vec<Vec<u8>>,
    meta: Vec<RecvMeta>,
}

impl Buffers {
    /// Buffers for one batch.
    pub(super) fn new() -> Buffers {
        Buffers {
            data: vec![vec![0; BUFFER]; BATCH_SIZE],
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }
}

/// A non-blocking UDP socket on all local addresses.
pub(super) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    port: u16,
    dual_stack: bool,
    batch: usize,
}

impl Udp {
    /// Binds a free port of the range (0 to 0: any), or exactly `min` if both are the same.
    pub(super) fn bind(min: u16, max: u16, shared: bool, dscp: Option<u8>) -> io::Result<Udp> {
        if min == 0 || max == 0 {
            return Udp::bind_port(0, shared, dscp);
        }
        // Begin anywhere in the range: the lowest ports are taken already when many endpoints exist.
        let count = u32::from(max - min) + 1;
        let start = uuid::Uuid::new_v4().as_u128() as u32 % count;
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for i in 0..count {
            let port = min + ((start + i) % count) as u16;
            match Udp::bind_port(port, shared, dscp) {
                Ok(udp) => return Ok(udp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_port(port: u16, shared: bool, dscp: Option<u8>) -> io::Result<Udp> {
        let (socket, dual_stack) = match Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)) {
            Ok(socket) if socket.set_only_v6(false).is_ok() => {
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
                (socket, true)
            }
            _ => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
                socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
                (socket, false)
            }
        };
        socket.set_nonblocking(true)?;
        let size = if shared { SHARED_BUFFER } else { OWN_BUFFER };
        // The kernel gives what net.core.rmem_max allows.
        let _ = socket.set_recv_buffer_size(size);
        let _ = socket.set_send_buffer_size(size);
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if let Some(dscp) = dscp {
            // The upper six bits of the traffic class (RFC 2474).
            let class = u32::from(dscp) << 2;
            let socket = socket2::SockRef::from(&socket);
            socket.set_tos_v4(class)?;
            if dual_stack {
                socket.set_tclass_v6(class)?;
            }
        }
        let port = socket.local_addr()?.port();
        Ok(Udp {
            socket: UdpSocket::from_std(socket),
            state,
            port,
            dual_stack,
            batch: if shared { SHARED_BATCH } else { OWN_BATCH },
        })
    }

    /// The local port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The socket, to be registered for events.
    pub(super) fn source(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Receives a batch and hands over each packet: (remote, local, bytes). False: there is no more for now.
    pub(super) fn receive(
        &self,
        buffers: &mut Buffers,
        mut packet: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> io::Result<bool> {
        let mut slices: Vec<io::IoSliceMut<'_>> = buffers
            .data
            .iter_mut()
            .take(self.batch)
            .map(|b| io::IoSliceMut::new(b))
            .collect();
        let count = match self.socket.try_io(|| {
            self.state
                .recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.meta)
        }) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // What an ICMP error told about an earlier packet; ICE finds out by itself.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, data) in buffers.meta.iter().zip(&buffers.data).take(count) {
            let remote = plain(meta.addr);
            let local = SocketAddr::new(
                meta.dst_ip.map_or(Ipv4Addr::UNSPECIFIED.into(), plain_ip),
                self.port,
            );
            for bytes in data[..meta.len].chunks(meta.stride.max(1)) {
                packet(remote, local, bytes);
            }
        }
        // Fewer than there was room for: the kernel has no more, and tells when it has.
        Ok(count == self.batch)
    }

    /// Sends a packet from a local address. What the kernel has no room for is lost, as on a network.
    pub(super) fn send(&self, from: IpAddr, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let (destination, source) = if self.dual_stack {
            (mapped(to), mapped_ip(from))
        } else {
            (to, from)
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: (!from.is_unspecified()).then_some(source),
        };
        self.socket
            .try_io(|| self.state.try_send(UdpSockRef::from(&self.socket), &transmit))
    }
}

fn plain_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(plain_ip(address.ip()), address.port())
}

fn mapped_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 => v6,
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(mapped_ip(address.ip()), address.port())
}

/// No address in particular, of the family of `like`: the system chooses the one to send from.
pub(super) fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
