//! Asks a STUN server how this socket looks from outside (RFC 8489): the server-reflexive address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use turn_client_proto::stun::agent::{StunAgent, StunAgentPollRet};
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::attribute::XorMappedAddress;
use turn_client_proto::stun::types::message::{BINDING, Message, MessageWriteVec};
use turn_client_proto::stun::types::prelude::*;

use super::clock::Clock;

/// A request is repeated after this time (RFC 8489, section 6.2.1), then at growing distances...
const FIRST_RETRANSMIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// ...this many times in all. A server that has not answered after some 3 s would only delay the end of gathering.
const TRANSMISSIONS: u32 = 3;

/// One question to one server.
pub(super) struct StunQuery {
    agent: StunAgent,
    server: SocketAddr,
    clock: Clock,
    started: bool,
    over: bool,
}

impl StunQuery {
    /// A question that is sent with the first [`StunQuery::poll`].
    pub(super) fn new(server: SocketAddr, now: Instant) -> StunQuery {
        // Which local address it leaves from is the system's choice; the agent only notes it.
        let local: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let agent = StunAgent::builder(TransportType::Udp, local)
            .request_retransmits(FIRST_RETRANSMIT, LONGEST_WAIT, TRANSMISSIONS, LONGEST_WAIT)
            .build();
        StunQuery {
            agent,
            server,
            clock: Clock::new(now),
            started: false,
            over: false,
        }
    }

    /// The server.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether it was answered or given up.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Sends what is due and answers when to be called again.
    pub(super) fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) -> Option<Instant> {
        if self.over {
            return None;
        }
        let at = self.clock.of(now);
        if !std::mem::replace(&mut self.started, true) {
            let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
            if let Ok(transmit) = self.agent.send_request(request, self.server, at) {
                send(&transmit.data);
            }
        }
        while let Some(transmit) = self.agent.poll_transmit(at) {
            send(transmit.data);
        }
        match self.agent.poll(at) {
            StunAgentPollRet::WaitUntil(until) => Some(self.clock.instant(until)),
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => {
                self.over = true;
                None
            }
        }
    }

    /// Takes what came from the server; answers the address it sees, if this was its answer.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) -> Option<SocketAddr> {
        let message = Message::from_bytes(bytes).ok()?;
        let (agent, at) = (&mut self.agent, self.clock.of(now));
        if self.over
            || !message.is_response()
            || !agent.handle_stun_message_with_time(&message, self.server, at)
        {
            return None;
        }
        self.over = true;
        let mapped = message.attribute::<XorMappedAddress>().ok()?;
        Some(mapped.addr(message.transaction_id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "192.0.2.1:3478";

    fn answer(request: &[u8], mapped: SocketAddr) -> Vec<u8> {
        let request = Message::from_bytes(request).unwrap();
        let mut response = Message::builder_success(&request, MessageWriteVec::new());
        response
            .add_attribute(&XorMappedAddress::new(mapped, request.transaction_id()))
            .unwrap();
        response.finish()
    }

    #[test]
    fn the_servers_answer_gives_the_address() {
        let t0 = Instant::now();
        let mut query = StunQuery::new(SERVER.parse().unwrap(), t0);
        let mut sent = Vec::new();
        assert!(query.poll(t0, &mut |b| sent.push(b.to_vec())).is_some());
        assert_eq!(sent.len(), 1);
        let mapped: SocketAddr = "203.0.113.9:40000".parse().unwrap();
        assert_eq!(query.receive(b"not STUN at all", t0), None);
        assert_eq!(query.receive(&sent[0], t0), None, "its own request is no answer");
        assert!(!query.is_over());
        assert_eq!(query.receive(&answer(&sent[0], mapped), t0), Some(mapped));
        assert!(query.is_over());
        assert_eq!(
            query.receive(&answer(&sent[0], mapped), t0),
            None,
            "once is enough"
        );
    }

    #[test]
    fn an_answer_to_somebody_elses_question_is_none() {
        let t0 = Instant::now();
        let mut query = StunQuery::new(SERVER.parse().unwrap(), t0);
        query.poll(t0, &mut |_| {});
        let other = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
        assert_eq!(
            query.receive(&answer(&other, "203.0.113.9:1".parse().unwrap()), t0),
            None
        );
        assert!(!query.is_over());
    }

    #[test]
    fn a_silent_server_is_asked_a_few_times_and_given_up_soon() {
        let t0 = Instant::now();
        let mut query = StunQuery::new(SERVER.parse().unwrap(), t0);
        let (mut sent, mut now) = (0, t0);
        while let Some(next) = query.poll(now, &mut |_| sent += 1) {
            assert!(next > now);
            now = next;
        }
        assert!(query.is_over());
        assert_eq!(sent, TRANSMISSIONS);
        assert!(now - t0 < Duration::from_secs(4), "{:?}", now - t0);
    }
}
