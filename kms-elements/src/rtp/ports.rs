//! The UDP ports of an m-line: RTP on an even one, RTCP on the next (RFC 3550, section 11), or both on one.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

/// Ports that may be used, first and last. (0, 0): any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Tries at pairs that the system chooses: of each the second port may be taken already.
const MOST_TRIES: u32 = 64;
/// Bytes that wait in the kernel: video comes in bursts of a keyframe.
const KERNEL_BUFFER: usize = 1024 * 1024;

/// The sockets of an m-line.
#[derive(Debug)]
pub(super) struct Ports {
    /// For RTP, and with rtcp-mux for RTCP too.
    pub(super) rtp: UdpSocket,
    /// For RTCP. None with rtcp-mux.
    pub(super) rtcp: Option<UdpSocket>,
    /// The port of RTP.
    pub(super) port: u16,
}

impl Ports {
    /// Takes ports that are free.
    pub(super) fn bind(range: PortRange, ipv6: bool, mux: bool) -> io::Result<Ports> {
        let taken = || io::Error::from(io::ErrorKind::AddrInUse);
        if range.last == 0 {
            for _ in 0..MOST_TRIES {
                let rtp = socket(ipv6, 0)?;
                let port = rtp.local_addr()?.port();
                if mux || port.is_multiple_of(2) {
                    match Ports::with(rtp, port, ipv6, mux) {
                        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                        done => return done,
                    }
                }
            }
            return Err(taken());
        }
        let first = u32::from(range.first).next_multiple_of(2);
        let pairs = (u32::from(range.last) + 1).saturating_sub(first) / 2;
        // Begin anywhere in the range: the lowest ports are taken already when many endpoints exist.
        let start = uuid::Uuid::new_v4().as_u128() as u32 % pairs.max(1);
        for i in 0..pairs {
            let port = (first + 2 * ((start + i) % pairs)) as u16;
            match socket(ipv6, port).and_then(|rtp| Ports::with(rtp, port, ipv6, mux)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                done => return done,
            }
        }
        Err(taken())
    }

    fn with(rtp: UdpSocket, port: u16, ipv6: bool, mux: bool) -> io::Result<Ports> {
        let next = port.checked_add(1).ok_or(io::ErrorKind::AddrInUse)?;
        let rtcp = if mux { None } else { Some(socket(ipv6, next)?) };
        Ok(Ports { rtp, rtcp, port })
    }

    /// The port of RTCP.
    pub(super) fn rtcp_port(&self) -> u16 {
        match self.rtcp {
            Some(_) => self.port.saturating_add(1),
            None => self.port,
        }
    }
}

fn socket(ipv6: bool, port: u16) -> io::Result<UdpSocket> {
    let (domain, address): (_, SocketAddr) = match ipv6 {
        true => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()),
        false => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if ipv6 {
        socket.set_only_v6(true)?;
    }
    // The kernel gives what net.core.rmem_max allows.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_even_and_odd_and_in_its_range() {
        for ipv6 in [false, true] {
            let ports = Ports::bind(PortRange { first: 0, last: 0 }, ipv6, false).expect("ports");
            assert!(ports.port.is_multiple_of(2));
            let rtcp = ports.rtcp.as_ref().expect("a port of its own");
            assert_eq!(rtcp.local_addr().expect("an address").port(), ports.port + 1);
            assert_eq!(ports.rtcp_port(), ports.port + 1);
        }
        // A range around ports that are known to be free.
        let free = Ports::bind(PortRange { first: 0, last: 0 }, false, false)
            .expect("ports")
            .port;
        let range = PortRange {
            first: free - 1,
            last: free + 1,
        };
        let ports = Ports::bind(range, false, false).expect("the one pair in it");
        assert_eq!(ports.port, free);
        let refused = Ports::bind(range, false, true).expect_err("it is taken");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let none = PortRange {
            first: free + 1,
            last: free + 1,
        };
        assert!(Ports::bind(none, false, false).is_err());
    }

    #[test]
    fn with_mux_there_is_one_port() {
        let ports = Ports::bind(PortRange { first: 0, last: 0 }, false, true).expect("a port");
        assert!(ports.rtcp.is_none());
        assert_eq!(ports.rtcp_port(), ports.port);
    }
}
