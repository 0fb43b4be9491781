//! A peer's turn: packets in, events, packets out.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, PacerReason, Reason};

use super::{Outcome, Peer, slot};
use crate::webrtc::api::{DtlsState, IceState, PeerEvent};
use crate::webrtc::engine::negotiate::ice_deadline;
use crate::webrtc::engine::outbound::Written;
use crate::webrtc::engine::transport::{Datagram, Sorted};

/// What str0m wants to be woken for, at once, after it has sent media.
const SENT: Reason = Reason::Pacer(PacerReason::Handle);
/// When a peer that has just sent is looked at again, unless it sends more before: str0m tells only the earliest of the
/// times it wants to be woken at, and this one hides what else is due, such as reports.
const AFTER_SENDING: Duration = Duration::from_millis(20);

impl Peer {
    /// Takes in a datagram of the socket.
    pub(in crate::webrtc::engine) fn receive(
        &mut self,
        (remote, local, bytes): (SocketAddr, SocketAddr, &[u8]),
        outcome: &mut Outcome,
        now: Instant,
    ) {
        match self.transport.sort(remote, local, bytes, now) {
            Sorted::Direct => self.take_in(Protocol::Udp, remote, local, bytes, outcome, now),
            Sorted::Relayed(packets) => self.take_in_all(packets, outcome, now),
        }
    }

    /// Takes in what came other ways, and lets the servers these ways lead over have what they are due.
    pub(in crate::webrtc::engine) fn take_in_all(
        &mut self,
        packets: Vec<Datagram>,
        outcome: &mut Outcome,
        now: Instant,
    ) {
        for packet in packets {
            self.take_in(
                packet.proto,
                packet.remote,
                packet.local,
                &packet.bytes,
                outcome,
                now,
            );
        }
        self.timeout(now);
        self.drain(outcome, now);
    }

    /// Gives a packet to the transport and takes out what it held, for it has room for one. What else comes of it is left
    /// for [`Peer::drain`].
    pub(in crate::webrtc::engine) fn take_in(
        &mut self,
        proto: Protocol,
        remote: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        outcome: &mut Outcome,
        now: Instant,
    ) {
        let Some(rtc) = self.rtc.as_mut() else { return };
        self.stats.bytes_received += bytes.len() as u64;
        // Port scans and broken senders: whatever does not parse, or comes from nobody we know, is no error.
        let Ok(receive) = Receive::new(proto, remote, local, bytes) else {
            return;
        };
        let input = Input::Receive(now, receive);
        if !rtc.accepts(&input) {
            return;
        }
        self.inbound.expect_stream(rtc, &self.mids, bytes);
        match rtc.handle_input(input) {
            Ok(()) => self.take_out(outcome, now),
            Err(error) => self.closed(&error.to_string()),
        }
    }

    /// Takes out of the transport up to the first received packet.
    pub(in crate::webrtc::engine) fn take_out(&mut self, outcome: &mut Outcome, now: Instant) {
        while let Some(rtc) = self.rtc.as_mut() {
            match rtc.poll_output() {
                Ok(Output::Event(Event::RtpPacket(packet))) => return self.media(packet, outcome, now),
                Ok(Output::Event(event)) => self.event(event, outcome, now),
                Ok(Output::Transmit(transmit)) => self.transmit(&transmit, now),
                Ok(Output::Timeout(_)) => return,
                Err(error) => return self.closed(&error.to_string()),
            }
        }
    }

    /// The transport is beyond repair.
    pub(in crate::webrtc::engine) fn closed(&mut self, reason: &str) {
        tracing::debug!(peer = self.id, reason, "transport closed");
        if !matches!(self.dtls, DtlsState::Failed | DtlsState::Closed) {
            self.dtls = DtlsState::Failed;
            self.tell(PeerEvent::Dtls(DtlsState::Failed));
            self.fail(reason);
        }
    }

    /// Writes what waits in the inbox.
    pub(in crate::webrtc::engine) fn write_inbox(&mut self, now: Instant) {
        // What is written before there is a way out is lost, and with it the keyframe all else builds on.
        let Some(rtc) = self.rtc.as_mut().filter(|_| self.dtls == DtlsState::Connected) else {
            return self.inbox.clear();
        };
        for (source, packet) in self.inbox.drain(..) {
            for track in self.outbound.iter_mut().filter(|t| t.kind() == packet.kind) {
                if let Written::Unsupported(codec) = track.write(rtc, source, &packet, now) {
                    self.events.on_event(PeerEvent::CodecUnsupported {
                        kind: packet.kind,
                        codec: codec.to_owned(),
                    });
                }
            }
        }
    }

    /// Lets time pass.
    pub(in crate::webrtc::engine) fn timeout(&mut self, now: Instant) {
        self.servers_due = self.transport.poll(now);
        self.tell_gathered();
        let Some(rtc) = self.rtc.as_mut() else { return };
        self.inbound.send_due(rtc, now);
        if let Err(error) = rtc.handle_input(Input::Timeout(now)) {
            self.closed(&error.to_string());
        }
    }

    /// Takes everything out of the transport: datagrams are sent, events are told, and what concerns other peers is left
    /// in the outcome, as is when the peer wants to be woken.
    pub(in crate::webrtc::engine) fn drain(&mut self, outcome: &mut Outcome, now: Instant) {
        let mut sent = 0;
        outcome.wake = loop {
            let Some(rtc) = self.rtc.as_mut() else {
                break self.servers_due;
            };
            match rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    sent += 1;
                    self.transmit(&transmit, now);
                }
                Ok(Output::Event(event)) => self.event(event, outcome, now),
                // Without an estimate nothing is paced: this only says that something was sent. One of two tracks may
                // have more, though, when the other has run out.
                Ok(Output::Timeout(_))
                    if rtc.last_timeout_reason() == SENT && !self.estimates && sent > 1 =>
                {
                    sent = 0;
                    if let Err(error) = rtc.handle_input(Input::Timeout(now)) {
                        self.closed(&error.to_string());
                    }
                }
                Ok(Output::Timeout(at)) => {
                    let at = if rtc.last_timeout_reason() == SENT && !self.estimates {
                        now + AFTER_SENDING
                    } else {
                        at
                    };
                    let due = [self.inbound.next_due(), self.servers_due];
                    break due.into_iter().flatten().chain([at]).min();
                }
                Err(error) => {
                    self.closed(&error.to_string());
                    break None;
                }
            }
        };
    }

    pub(in crate::webrtc::engine) fn transmit(&mut self, transmit: &Transmit, now: Instant) {
        // STUN packets begin with 0 to 3 (RFC 7983); all others go over the selected pair.
        if transmit.contents.first().is_some_and(|b| *b >= 20)
            && self.pair != Some((transmit.source, transmit.destination))
        {
            self.pair_selected(transmit);
            self.transport
                .selected(transmit.source, transmit.destination, now);
        }
        let length = transmit.contents.len() as u64;
        self.stats.bytes_sent += length;
        self.counters.packets_out.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_out.fetch_add(length, Ordering::Relaxed);
        if self.transport.send(transmit, now).is_err() {
            // No room in the socket, or no route: lost, as on a network, and repaired as such.
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(in crate::webrtc::engine) fn pair_selected(&mut self, transmit: &Transmit) {
        let (source, destination) = (transmit.source, transmit.destination);
        self.pair = Some((source, destination));
        let local = self
            .transport
            .locals()
            .iter()
            .find(|l| l.candidate.proto() == transmit.proto && l.candidate.addr() == source)
            .map(|l| l.line.clone());
        let known = self
            .remote
            .iter()
            .find(|c| c.addr() == destination)
            .map(Candidate::to_sdp_string);
        let (ip, port) = (destination.ip(), destination.port());
        let reflexive = || format!("candidate:prflx 1 UDP 1862270975 {ip} {port} typ prflx");
        self.tell(PeerEvent::PairSelected {
            local: local.unwrap_or_default(),
            remote: known.map_or_else(reflexive, |c| c.trim_start_matches("a=").to_owned()),
        });
        if self.ice != IceState::Ready {
            self.set_ice(IceState::Connected);
        }
        if self.dtls == DtlsState::New {
            self.tell(PeerEvent::Dtls(DtlsState::New));
            self.dtls = DtlsState::Connecting;
            self.tell(PeerEvent::Dtls(DtlsState::Connecting));
        }
    }

    pub(in crate::webrtc::engine) fn set_ice(&mut self, state: IceState) {
        if self.ice != state {
            self.ice = state;
            self.tell(PeerEvent::Ice(state));
        }
    }

    pub(in crate::webrtc::engine) fn event(&mut self, event: Event, outcome: &mut Outcome, now: Instant) {
        match event {
            Event::RtpPacket(packet) => self.media(packet, outcome, now),
            Event::KeyframeRequest(_) => outcome.wants_keyframe = true,
            Event::IceConnectionStateChange(state) => self.ice_changed(state, now),
            Event::Connected => {
                self.dtls = DtlsState::Connected;
                self.ice_deadline = None;
                self.tell(PeerEvent::Dtls(DtlsState::Connected));
                self.set_ice(IceState::Ready);
                outcome.wants_keyframe = self.lacks_keyframe();
            }
            Event::ChannelOpen(id, label) => {
                if let Some(rtc) = self.rtc.as_mut() {
                    let stream = self.channels.opened(rtc, id, label);
                    self.tell(PeerEvent::DataChannelOpened(stream));
                }
            }
            Event::ChannelData(data) => outcome.messages.extend(self.channels.received(data)),
            Event::ChannelClose(id) => {
                if let Some(stream) = self.channels.closed(id) {
                    self.tell(PeerEvent::DataChannelClosed(stream));
                }
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.available = Some(estimate.as_u64())
            }
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                self.remb = estimate.as_u64();
                self.available = Some(estimate.as_u64());
            }
            Event::MediaIngressStats(stats) => self.inbound_stats(&stats),
            Event::MediaEgressStats(stats) => self.outbound_stats(&stats),
            Event::Closed if self.dtls != DtlsState::Closed => {
                self.dtls = DtlsState::Closed;
                self.tell(PeerEvent::Dtls(DtlsState::Closed));
                self.set_ice(IceState::Disconnected);
            }
            _ => {}
        }
    }

    pub(in crate::webrtc::engine) fn media(
        &mut self,
        packet: RtpPacket,
        outcome: &mut Outcome,
        now: Instant,
    ) {
        let Some(rtc) = self.rtc.as_mut() else { return };
        let Some(packet) = self.inbound.packet(rtc, packet, now) else {
            return;
        };
        self.last_media = Some(now);
        if !self.media_connected {
            self.media_connected = true;
            self.tell(PeerEvent::MediaConnected(true));
        }
        if self.inbound.began(packet.kind) {
            self.tell(PeerEvent::Receiving(packet.kind, true));
        }
        if let Some(tap) = &mut self.taps[slot(packet.kind)] {
            tap.take(self.id, &packet, now);
        }
        if !self.sinks[slot(packet.kind)].is_empty() {
            outcome.packets.push(packet);
        }
    }

    pub(in crate::webrtc::engine) fn ice_changed(&mut self, state: IceConnectionState, now: Instant) {
        match state {
            IceConnectionState::New => {}
            IceConnectionState::Checking => {
                self.ice_deadline = Some(ice_deadline(now));
                self.set_ice(IceState::Connecting);
            }
            // Connected is told together with the pair, when the first packet uses it.
            IceConnectionState::Connected | IceConnectionState::Completed => {
                self.ice_deadline = None;
                if self.dtls == DtlsState::Connected {
                    self.set_ice(IceState::Ready);
                }
            }
            IceConnectionState::Disconnected => {
                self.ice_deadline = Some(ice_deadline(now));
                self.set_ice(IceState::Disconnected);
            }
        }
    }
}
