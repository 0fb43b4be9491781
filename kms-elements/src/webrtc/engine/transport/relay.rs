//! An allocation on a TURN server (RFC 8656), over UDP on the peer's own socket or over a TCP connection.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use turn_client_proto::api::{
    SendError, Transmit, TurnClientApi, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet,
};
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{AddressFamily, TransportType, TurnCredentials};
use turn_client_proto::udp::TurnClientUdp;

use super::clock::Clock;
use crate::webrtc::api::{TurnServer, TurnTransport};

turn_client_proto::impl_client!(pub(super) Client, (Udp, TurnClientUdp), (Tcp, TurnClientTcp));

/// Packets that wait for a permission; a round trip later it is there. When there are more, the oldest is dropped:
/// they are checks, which are repeated.
const MOST_WAITING: usize = 64;
/// A server that has not allocated by then would only delay the end of gathering.
const ALLOCATE_WITHIN: Duration = Duration::from_secs(5);

/// An allocation, being made or in use.
pub(super) struct Relay {
    client: Client,
    clock: Clock,
    deadline: Instant,
    relayed: Option<SocketAddr>,
    failed: bool,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Relay {
    /// Begins to allocate. `local`: the address this side sends from.
    pub(super) fn new(server: &TurnServer, local: SocketAddr, now: Instant) -> Relay {
        let mut config = TurnConfig::new(TurnCredentials::new(&server.username, &server.password));
        if server.address.is_ipv6() {
            config.add_address_family(AddressFamily::IPV6);
        }
        let client = match server.transport {
            TurnTransport::Udp => Client::Udp(TurnClientUdp::allocate(local, server.address, config)),
            TurnTransport::Tcp => Client::Tcp(TurnClientTcp::allocate(local, server.address, config)),
        };
        Relay {
            client,
            clock: Clock::new(now),
            deadline: now + ALLOCATE_WITHIN,
            relayed: None,
            failed: false,
            waiting: VecDeque::new(),
        }
    }

    /// The server.
    pub(super) fn server(&self) -> SocketAddr {
        self.client.remote_addr()
    }

    /// The relayed address, once it is allocated.
    pub(super) fn relayed(&self) -> Option<SocketAddr> {
        self.relayed
    }

    /// Where packets to the server leave from.
    pub(super) fn local(&self) -> SocketAddr {
        self.client.local_addr()
    }

    /// Whether gathering need not wait for it any longer.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.relayed.is_some() || self.failed || now >= self.deadline
    }

    /// The connection to the server is lost.
    pub(super) fn lost(&mut self) {
        self.failed = true;
        self.client.protocol_error();
    }

    /// Sends through the server. What needs a permission first waits for it.
    pub(super) fn send(&mut self, to: SocketAddr, data: &[u8], now: Instant, out: &mut dyn FnMut(&[u8])) {
        let at = self.clock.of(now);
        match self.client.send_to(TransportType::Udp, to, data, at) {
            Ok(Some(transmit)) => out(&transmit.build().data),
            Ok(None) => {}
            Err(SendError::NoPermission) => {
                let asked = self.waiting.iter().any(|(waiting, _)| waiting.ip() == to.ip());
                if self.waiting.len() >= MOST_WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back((to, data.to_vec()));
                if !asked && let Err(error) = self.client.create_permission(TransportType::Udp, to.ip(), at) {
                    tracing::debug!(%error, "no permission on the TURN server");
                }
                self.poll(now, out);
            }
            Err(error) => tracing::debug!(%error, "nothing goes through the TURN server"),
        }
    }

    /// A pair with this remote is in use: over UDP, a channel makes its packets 32 bytes shorter (RFC 8656, section 12).
    /// Over TCP, channel messages must be padded to four bytes, which turn-client-proto 0.7.3 does not do: coturn lost count
    /// of the stream after the first of another length. There, packets stay indications.
    pub(super) fn selected(&mut self, remote: SocketAddr, now: Instant) {
        if self.client.transport() == TransportType::Udp {
            // If it can't be bound, packets go on as indications.
            let _ = self
                .client
                .bind_channel(TransportType::Udp, remote, self.clock.of(now));
        }
    }

    /// Takes what came from the server and delivers what it relays. False: it was not for the client.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
        deliver: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> bool {
        let (transport, server, local) = (self.client.transport(), self.server(), self.local());
        let at = self.clock.of(now);
        let handled = match self
            .client
            .recv(Transmit::new(bytes, transport, server, local), at)
        {
            TurnRecvRet::PeerData(data) => {
                deliver(data.peer, data.data());
                true
            }
            TurnRecvRet::Ignored(_) => false,
            TurnRecvRet::Handled | TurnRecvRet::PeerIcmp { .. } => true,
        };
        while let Some(data) = self.client.poll_recv(at) {
            deliver(data.peer, data.data());
        }
        handled
    }

    /// Sends what is due, and answers when to be called again.
    pub(super) fn poll(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) -> Option<Instant> {
        let at = self.clock.of(now);
        let next = loop {
            match self.client.poll(at) {
                TurnPollRet::WaitUntil(until) => break Some(self.clock.instant(until)),
                TurnPollRet::Closed => {
                    self.failed = true;
                    break None;
                }
                // Only UDP is relayed.
                TurnPollRet::AllocateTcpSocket { .. } => {}
                TurnPollRet::TcpClose { .. } => break None,
            }
        };
        while let Some(event) = self.client.poll_event() {
            match event {
                TurnEvent::AllocationCreated(TransportType::Udp, address) => {
                    self.relayed.get_or_insert(address);
                }
                TurnEvent::AllocationCreateFailed(_) => self.failed = self.relayed.is_none(),
                TurnEvent::PermissionCreated(_, ip) => self.send_waiting(ip, now, out),
                TurnEvent::PermissionCreateFailed(_, ip) => self.waiting.retain(|(to, _)| to.ip() != ip),
                _ => {}
            }
        }
        while let Some(transmit) = self.client.poll_transmit(at) {
            out(&transmit.data);
        }
        let waits_for_allocation = self.relayed.is_none() && !self.failed && now < self.deadline;
        match (next, waits_for_allocation.then_some(self.deadline)) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        }
    }

    fn send_waiting(&mut self, ip: IpAddr, now: Instant, out: &mut dyn FnMut(&[u8])) {
        let (ready, waiting): (VecDeque<_>, VecDeque<_>) =
            self.waiting.drain(..).partition(|(to, _)| to.ip() == ip);
        self.waiting = waiting;
        for (to, data) in ready {
            self.send(to, &data, now, out);
        }
    }

    /// Gives the allocation back to the server.
    pub(super) fn close(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) {
        let at = self.clock.of(now);
        if self.client.delete(at).is_ok() {
            while let Some(transmit) = self.client.poll_transmit(at) {
                out(&transmit.data);
            }
        }
    }
}
