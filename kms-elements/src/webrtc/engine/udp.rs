//! UDP sockets: batches in, the local address of every packet known, one file descriptor for all interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
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
            let class = u32::from(traffic_class(dscp));
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

    /// Sends a packet. What the kernel has no room for is lost, as on a network.
    ///
    /// `from`: the local address it is to leave from; `None`: the one that [`usual_source`] tells. `dscp`: its code point
    /// where the socket has none of its own. The kernel takes longer over a packet that says either.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        contents: &[u8],
        from: Option<IpAddr>,
        dscp: Option<u8>,
    ) -> io::Result<()> {
        let destination = if self.dual_stack { mapped(to) } else { to };
        if from.is_none() && dscp.is_none() {
            return self.socket.send_to(contents, destination).map(drop);
        }
        // A packet of IPv4 takes the messages of IPv4, on a socket of both families too.
        let (info4, info6) = match from {
            Some(IpAddr::V4(ip)) => (Some(packet_info4(ip)), None),
            Some(IpAddr::V6(ip)) => (None, Some(packet_info6(ip))),
            None => (None, None),
        };
        let class = dscp.map(traffic_class);
        let class6 = class.map(i32::from);
        let mark = if to.is_ipv4() {
            class.as_ref().map(ControlMessage::Ipv4Tos)
        } else {
            class6.as_ref().map(ControlMessage::Ipv6TClass)
        };
        let info4 = info4.as_ref().map(ControlMessage::Ipv4PacketInfo);
        let info6 = info6.as_ref().map(ControlMessage::Ipv6PacketInfo);
        let control: Vec<ControlMessage<'_>> = [info4, info6, mark].into_iter().flatten().collect();
        let parts = [io::IoSlice::new(contents)];
        let destination = SockaddrStorage::from(destination);
        let flags = MsgFlags::empty();
        sendmsg(
            self.socket.as_raw_fd(),
            &parts,
            &control,
            flags,
            Some(&destination),
        )?;
        Ok(())
    }
}

/// The local address that the kernel sends from by itself when a packet to `remote` says nothing else.
pub(super) fn usual_source(remote: SocketAddr) -> Option<IpAddr> {
    let probe = std::net::UdpSocket::bind((unspecified(remote), 0)).ok()?;
    probe.connect(remote).ok()?; // sends nothing
    Some(probe.local_addr().ok()?.ip())
}

/// The byte of the IP header that holds the code point in its upper six bits (RFC 2474).
fn traffic_class(dscp: u8) -> u8 {
    dscp << 2
}

fn packet_info4(source: Ipv4Addr) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: in_addr {
            s_addr: u32::from_ne_bytes(source.octets()),
        },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

fn packet_info6(source: Ipv6Addr) -> in6_pktinfo {
    in6_pktinfo {
        ipi6_addr: in6_addr {
            s6_addr: source.octets(),
        },
        ipi6_ifindex: 0,
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

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

/// No address in particular, of the family of `like`: the system chooses the one to send from.
pub(super) fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Plain;

    use nix::sys::socket::{ControlMessageOwned, recvmsg, setsockopt, sockopt};

    use super::*;

    /// Sends one packet over loopback; answers what the receiver sees: source address and traffic class.
    fn sent(udp: &Udp, to: IpAddr, from: Option<IpAddr>, dscp: Option<u8>) -> (IpAddr, u8) {
        let receiver = Plain::bind((to, 0)).unwrap();
        if to.is_ipv4() {
            setsockopt(&receiver, sockopt::IpRecvTos, &true).unwrap();
        } else {
            setsockopt(&receiver, sockopt::Ipv6RecvTClass, &true).unwrap();
        }
        udp.send(receiver.local_addr().unwrap(), b"packet", from, dscp)
            .unwrap();
        let mut data = [0; 16];
        let mut parts = [io::IoSliceMut::new(&mut data)];
        let mut space = nix::cmsg_space!(i32);
        let flags = MsgFlags::empty();
        let message =
            recvmsg::<SockaddrStorage>(receiver.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        let class = message.cmsgs().unwrap().find_map(|c| match c {
            ControlMessageOwned::Ipv4Tos(class) => Some(class),
            ControlMessageOwned::Ipv6TClass(class) => Some(class as u8),
            _ => None,
        });
        let address = message.address.unwrap();
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        let source = v4
            .or_else(|| address.as_sockaddr_in6().map(|a| a.ip().into()))
            .unwrap();
        assert_eq!(message.bytes, 6);
        (source, class.unwrap_or_default())
    }

    #[test]
    fn a_packet_leaves_from_the_address_it_is_given() {
        let udp = Udp::bind(0, 0, false, None).unwrap();
        let (here, other) = (Ipv4Addr::LOCALHOST.into(), IpAddr::from([127, 0, 0, 7]));
        assert_eq!(sent(&udp, here, None, None), (here, 0));
        assert_eq!(usual_source(SocketAddr::new(here, 9)), Some(here));
        assert_eq!(sent(&udp, here, Some(other), None), (other, 0));
    }

    #[test]
    fn a_packet_bears_the_code_point_of_its_socket_or_its_own() {
        let (v4, v6) = (
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        );
        let (own, shared) = (
            Udp::bind(0, 0, false, Some(46)).unwrap(),
            Udp::bind(0, 0, true, None).unwrap(),
        );
        let families = [v4, v6].into_iter().filter(|ip| Plain::bind((*ip, 0)).is_ok());
        for ip in families {
            assert_eq!(sent(&own, ip, None, None), (ip, 46 << 2));
            assert_eq!(sent(&own, ip, Some(ip), None), (ip, 46 << 2));
            assert_eq!(sent(&shared, ip, None, Some(34)), (ip, 34 << 2));
            assert_eq!(sent(&shared, ip, Some(ip), Some(34)), (ip, 34 << 2));
        }
    }
}
