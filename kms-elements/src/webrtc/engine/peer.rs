//! One peer: a transport to one remote, what it receives and what it sends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use str0m::bwe::BweKind;
use str0m::media::{Mid, Rid, Rids};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RtpPacket;
use str0m::stats::{MediaEgressStats, MediaIngressStats};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::Counters;
use super::channels::{Channels, DataChannelError, Message};
use super::inbound::{Inbound, Packet};
use super::negotiate::{Negotiation, ice_deadline};
use super::outbound::{Outbound, Written};
use super::rtc::{self, codec_name};
use super::transport::{Datagram, Gathered, Sorted, Surroundings, Transport};
use crate::webrtc::api::{
    DataChannelOptions, DtlsState, GatherSettings, IceState, Kind, Limits, NegotiationError, OfferOptions,
    PeerEvent, PeerEvents, PeerSettings, PeerStats, StreamStats,
};
use crate::webrtc::sdp::{accepted_mids, without_feedback_of_viewers};

/// Candidates of a remote that are checked; it has a handful for each of its addresses.
const MOST_CANDIDATES: usize = 64;

/// What a peer's turn leaves for its worker to pass on.
#[derive(Default)]
pub(super) struct Outcome {
    /// Media for the peers it feeds.
    pub(super) packets: Vec<Packet>,
    /// Messages for the peers it feeds.
    pub(super) messages: Vec<Message>,
    /// The remote wants a keyframe of what it is sent.
    pub(super) wants_keyframe: bool,
    /// When the peer wants to be woken, if it was drained in this turn.
    pub(super) wake: Option<Instant>,
}

/// A peer on its worker.
pub(super) struct Peer {
    pub(super) id: u64,
    settings: PeerSettings,
    limits: Limits,
    events: Arc<dyn PeerEvents>,
    pub(super) transport: Transport,
    rtc: Option<Rtc>,
    negotiation: Negotiation,
    /// Whether the bandwidth towards the remote is estimated; decided with the first negotiation.
    estimates: bool,
    mids: Vec<Mid>,
    has_data: bool,
    early_candidates: Vec<Candidate>,
    remote: Vec<Candidate>,
    pub(super) inbound: Inbound,
    pub(super) outbound: Vec<Outbound>,
    pub(super) channels: Channels,
    /// Peers this one feeds, by kind; changed rarely, read for every packet.
    pub(super) sinks: [Vec<u64>; 3],
    /// The peers that feed this one, by kind.
    pub(super) sources: [Option<u64>; 3],
    /// Packets that wait to be written in this turn.
    pub(super) inbox: Vec<(u64, Rc<Packet>)>,
    available: Option<u64>,
    remb: u64,
    ice: IceState,
    ice_deadline: Option<Instant>,
    dtls: DtlsState,
    pair: Option<(SocketAddr, SocketAddr)>,
    media_connected: bool,
    last_media: Option<Instant>,
    stats: PeerStats,
    /// When something is due to a STUN or TURN server.
    servers_due: Option<Instant>,
    /// When the peer is to be woken next, and whether the worker's timers know.
    pub(super) wake_at: Option<Instant>,
    counters: Arc<Counters>,
}

/// The place of a kind in the arrays.
pub(super) fn slot(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 0,
        Kind::Video => 1,
        Kind::Data => 2,
    }
}

impl Peer {
    /// A peer that has not negotiated.
    pub(super) fn new(
        id: u64,
        settings: PeerSettings,
        events: Arc<dyn PeerEvents>,
        counters: Arc<Counters>,
    ) -> Peer {
        Peer {
            id,
            settings,
            limits: Limits::default(),
            events,
            transport: Transport::default(),
            rtc: None,
            negotiation: Negotiation::default(),
            estimates: false,
            mids: Vec::new(),
            has_data: false,
            early_candidates: Vec::new(),
            remote: Vec::new(),
            inbound: Inbound::default(),
            outbound: Vec::new(),
            channels: Channels::default(),
            sinks: Default::default(),
            sources: [None; 3],
            inbox: Vec::new(),
            available: None,
            remb: 0,
            ice: IceState::Disconnected,
            ice_deadline: None,
            dtls: DtlsState::New,
            pair: None,
            media_connected: false,
            last_media: None,
            stats: PeerStats::default(),
            servers_due: None,
            wake_at: None,
            counters,
        }
    }

    /// The settings it was made with.
    pub(super) fn settings(&self) -> &PeerSettings {
        &self.settings
    }

    fn tell(&self, event: PeerEvent) {
        self.events.on_event(event);
    }

    /// The peer failed for good.
    pub(super) fn fail(&self, message: &str) {
        self.tell(PeerEvent::Error(message.to_owned()));
    }

    fn rtc(&mut self, estimate: bool, now: Instant) -> &mut Rtc {
        if self.rtc.is_none() {
            self.estimates = estimate;
        }
        let (settings, limits) = (&self.settings, &self.limits);
        let (locals, early) = (self.transport.locals(), &mut self.early_candidates);
        self.rtc.get_or_insert_with(|| {
            let mut rtc = rtc::build(settings, limits, estimate, now);
            for local in locals {
                rtc.add_local_candidate(local.candidate.clone());
            }
            early.drain(..).for_each(|c| rtc.add_remote_candidate(c));
            rtc
        })
    }

    /// Takes an offer in str0m's form and answers it.
    pub(super) fn process_offer(
        &mut self,
        offer: &str,
        limits: Limits,
        estimate: bool,
        now: Instant,
    ) -> Result<String, NegotiationError> {
        self.limits = limits;
        self.rtc(estimate, now);
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::Closed);
        };
        let answer = match self.estimates {
            true => self.negotiation.accept_offer(rtc, offer)?,
            false => self
                .negotiation
                .accept_offer(rtc, &without_feedback_of_viewers(offer))?,
        };
        self.negotiated(&answer);
        Ok(answer)
    }

    /// Makes an offer in str0m's form.
    pub(super) fn generate_offer(
        &mut self,
        options: &OfferOptions,
        limits: Limits,
        estimate: bool,
        now: Instant,
    ) -> Result<String, NegotiationError> {
        self.limits = limits;
        self.rtc(estimate, now);
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::Closed);
        };
        self.negotiation
            .make_offer(rtc, self.mids.is_empty(), options, &self.settings)
    }

    /// Takes the answer to the offer made last.
    pub(super) fn process_answer(&mut self, answer: Option<&str>) -> Result<(), NegotiationError> {
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::NoOfferPending);
        };
        self.negotiation.accept_answer(rtc, answer)?;
        self.negotiated(answer.unwrap_or_default());
        Ok(())
    }

    /// Reads off what was negotiated: m-lines, layers, and the tracks this peer can send.
    fn negotiated(&mut self, description: &str) {
        let mids = accepted_mids(description);
        self.mids = mids.iter().map(|(_, mid)| Mid::from(mid.as_str())).collect();
        self.has_data = description
            .lines()
            .any(|l| l.starts_with("m=application") && !l.starts_with("m=application 0"));
        let Some(rtc) = self.rtc.as_mut() else { return };
        for mid in &self.mids {
            let Some(media) = rtc.media(*mid) else { continue };
            let (kind, direction) = (rtc::kind(media.kind()), media.direction());
            let mut rids = match media.rids_rx() {
                Rids::Specific(rids) => rids.clone(),
                Rids::None | Rids::Any => Vec::new(),
            };
            // Which layer is the better one is told by measured bitrates; any order that stays is good.
            rids.sort_unstable_by_key(layer_order);
            if direction.is_receiving() {
                self.inbound.media(kind, *mid, &rids);
            }
            if !direction.is_sending() {
                self.outbound.retain(|o| o.mid() != *mid);
                continue;
            }
            let mut api = rtc.direct_api();
            if api.stream_tx_by_mid(*mid, None).is_none() {
                // An m-line that receives simulcast gets no stream to send on by itself.
                let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
                api.declare_stream_tx(ssrc, (kind == Kind::Video).then_some(rtx), *mid, None);
            }
            match self.outbound.iter_mut().find(|o| o.mid() == *mid) {
                Some(track) => track.renegotiated(),
                None => {
                    let mut track = Outbound::new(kind, *mid, uuid::Uuid::new_v4().as_u128() as u16);
                    track.set_source(self.sources[slot(kind)]);
                    self.outbound.push(track);
                }
            }
        }
    }

    /// Codecs negotiated for a kind, preferred first.
    pub(super) fn codecs(&self, kind: Kind) -> Vec<String> {
        let Some(rtc) = &self.rtc else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for media in self
            .mids
            .iter()
            .filter_map(|mid| rtc.media(*mid))
            .filter(|m| rtc::kind(m.kind()) == kind)
        {
            let all = rtc.codec_config().params();
            for pt in media.remote_pts() {
                if let Some(params) = all.iter().find(|p| p.pt() == *pt) {
                    let name = codec_name(params.spec().codec).to_owned();
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        names
    }

    /// Gathers candidates and tells them as they are found.
    pub(super) fn gather(&mut self, settings: &GatherSettings, around: &Surroundings<'_>, now: Instant) {
        self.tell(PeerEvent::Ice(IceState::Gathering));
        self.transport.gather(settings, around, now);
        self.tell_gathered();
    }

    fn tell_gathered(&mut self) {
        // Mostly nothing, and that is asked with every packet.
        for gathered in self.transport.take_gathered() {
            match gathered {
                Gathered::Candidate(local) => {
                    if let Some(rtc) = self.rtc.as_mut() {
                        rtc.add_local_candidate(local.candidate);
                    }
                    self.tell(PeerEvent::CandidateFound(local.line));
                }
                Gathered::Done => self.tell(PeerEvent::GatheringDone),
            }
        }
    }

    /// Takes a candidate of the remote.
    pub(super) fn add_remote_candidate(&mut self, candidate: Candidate) {
        if self.remote.len() >= MOST_CANDIDATES {
            return;
        }
        self.remote.push(candidate.clone());
        match self.rtc.as_mut() {
            Some(rtc) => rtc.add_remote_candidate(candidate),
            None => self.early_candidates.push(candidate),
        }
    }

    /// Asks the remote for a keyframe of a layer.
    pub(super) fn request_keyframe(&mut self, layer: u8, now: Instant) {
        if let Some(rtc) = self.rtc.as_mut() {
            self.inbound.request_keyframe(rtc, layer, now);
        }
    }

    /// Feeds a kind from another peer, or from none.
    pub(super) fn set_source(&mut self, kind: Kind, source: Option<u64>) {
        self.sources[slot(kind)] = source;
        self.outbound
            .iter_mut()
            .filter(|t| t.kind() == kind)
            .for_each(|t| t.set_source(source));
    }

    /// Gives the transport up after a failure of our own.
    pub(super) fn abandon(&mut self, message: &str) {
        self.rtc = None;
        self.closed(message);
    }

    /// Changes limits.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Opens a data channel.
    pub(super) fn create_channel(
        &mut self,
        options: DataChannelOptions,
    ) -> Result<Option<u16>, DataChannelError> {
        let negotiated = self.has_data;
        let rtc = self.rtc.as_mut().ok_or(DataChannelError::NotNegotiated)?;
        self.channels.create(rtc, options, negotiated)
    }

    /// Closes a data channel.
    pub(super) fn close_channel(&mut self, id: u16) -> Result<(), DataChannelError> {
        let rtc = self.rtc.as_mut().ok_or(DataChannelError::NotNegotiated)?;
        self.channels.close(rtc, id)
    }

    /// Sends a message to the remote.
    pub(super) fn send_message(&mut self, message: &Message) {
        if let Some(rtc) = self.rtc.as_mut() {
            let before = self.channels.dropped;
            self.channels.send(rtc, message, self.has_data);
            self.counters
                .dropped
                .fetch_add(self.channels.dropped - before, Ordering::Relaxed);
        }
    }

    /// Takes in a datagram of the socket.
    pub(super) fn receive(
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
    pub(super) fn take_in_all(&mut self, packets: Vec<Datagram>, outcome: &mut Outcome, now: Instant) {
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
    fn take_in(
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
    fn take_out(&mut self, outcome: &mut Outcome, now: Instant) {
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
    fn closed(&mut self, reason: &str) {
        tracing::debug!(peer = self.id, reason, "transport closed");
        if !matches!(self.dtls, DtlsState::Failed | DtlsState::Closed) {
            self.dtls = DtlsState::Failed;
            self.tell(PeerEvent::Dtls(DtlsState::Failed));
            self.fail(reason);
        }
    }

    /// Writes what waits in the inbox.
    pub(super) fn write_inbox(&mut self, now: Instant) {
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
    pub(super) fn timeout(&mut self, now: Instant) {
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
    pub(super) fn drain(&mut self, outcome: &mut Outcome, now: Instant) {
        outcome.wake = loop {
            let Some(rtc) = self.rtc.as_mut() else {
                break self.servers_due;
            };
            match rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => self.transmit(&transmit, now),
                Ok(Output::Event(event)) => self.event(event, outcome, now),
                Ok(Output::Timeout(at)) => {
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

    fn transmit(&mut self, transmit: &Transmit, now: Instant) {
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

    fn pair_selected(&mut self, transmit: &Transmit) {
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

    fn set_ice(&mut self, state: IceState) {
        if self.ice != state {
            self.ice = state;
            self.tell(PeerEvent::Ice(state));
        }
    }

    fn event(&mut self, event: Event, outcome: &mut Outcome, now: Instant) {
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

    fn media(&mut self, packet: RtpPacket, outcome: &mut Outcome, now: Instant) {
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
        if !self.sinks[slot(packet.kind)].is_empty() {
            outcome.packets.push(packet);
        }
    }

    fn ice_changed(&mut self, state: IceConnectionState, now: Instant) {
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

    /// Called a few times a second: silence, layers, limits. Answers whether the wanted video layer changed.
    pub(super) fn tick(&mut self, now: Instant) {
        for (kind, receiving) in self.inbound.tick(now) {
            self.tell(PeerEvent::Receiving(kind, receiving));
        }
        let silent = self
            .last_media
            .is_none_or(|last| now >= last + super::inbound::SILENCE);
        if self.media_connected && silent {
            self.media_connected = false;
            self.tell(PeerEvent::MediaConnected(false));
        }
        if self.ice_deadline.is_some_and(|deadline| now >= deadline) {
            self.ice_deadline = None;
            self.set_ice(IceState::Failed);
        }
        let limit = self.limits.max_video_recv;
        if limit > 0
            && let Some(rtc) = self.rtc.as_mut()
        {
            self.inbound.limit(rtc, limit);
        }
    }

    /// Chooses the layer of a simulcast source. True: a keyframe of it is wanted.
    pub(super) fn choose_layer(&mut self, bitrates: &[u64], now: Instant) -> Option<u8> {
        let limit = (self.limits.max_video_send > 0).then_some(self.limits.max_video_send);
        let available = match (self.available, limit) {
            (Some(available), Some(limit)) => Some(available.min(limit).max(self.limits.min_video_send)),
            (available, limit) => available.or(limit),
        };
        let track = self.outbound.iter_mut().find(|t| t.kind() == Kind::Video)?;
        track
            .choose_layer(bitrates, available, now)
            .then(|| track.wanted_layer())
    }

    /// Whether its video has a way out and a source, but nothing it could begin with yet.
    pub(super) fn lacks_keyframe(&self) -> bool {
        self.dtls == DtlsState::Connected && self.outbound.iter().any(Outbound::lacks_keyframe)
    }

    /// The layer of its source that this peer's video wants.
    pub(super) fn wanted_layer(&self) -> u8 {
        self.outbound
            .iter()
            .find(|t| t.kind() == Kind::Video)
            .map_or(0, Outbound::wanted_layer)
    }

    /// Says goodbye to the remote.
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(rtc) = self.rtc.as_mut() {
            let _ = rtc.close();
            self.drain(&mut Outcome::default(), now);
        }
        self.transport.close(now);
        if !matches!(self.dtls, DtlsState::New | DtlsState::Closed | DtlsState::Failed) {
            self.dtls = DtlsState::Closed;
            self.tell(PeerEvent::Dtls(DtlsState::Closed));
        }
    }

    fn inbound_stats(&mut self, stats: &MediaIngressStats) {
        let rid = stats.rid.map(|r| r.to_string());
        let found = self
            .inbound
            .streams()
            .find(|(_, _, mid, rid, _)| *mid == stats.mid && *rid == stats.rid);
        let Some((ssrc, kind, _, _, params)) = found else {
            return;
        };
        let clock = params.map_or(90_000.0, |p| f64::from(p.spec().clock_rate.get()));
        let fraction = f64::from(stats.loss.unwrap_or_default());
        let entry = entry(&mut self.stats.inbound, kind, rid);
        *entry = StreamStats {
            ssrc: *ssrc,
            codec: params.map(|p| codec_name(p.spec().codec).to_owned()),
            packets: stats.packets,
            bytes: stats.bytes,
            packets_lost: stats
                .remote
                .as_ref()
                .map_or(0, |r| r.packets as i64 - stats.packets as i64)
                .max(0),
            fraction_lost: fraction,
            jitter: f64::from(stats.jitter) / clock,
            round_trip_time: stats.rtt.map_or(0.0, |r| r.as_secs_f64()),
            fir_count: stats.firs,
            pli_count: stats.plis,
            nack_count: stats.nacks,
            remb: self.limits.max_video_recv,
            ..entry.clone()
        };
    }

    fn outbound_stats(&mut self, stats: &MediaEgressStats) {
        let Some(track) = self.outbound.iter().find(|t| t.mid() == stats.mid) else {
            return;
        };
        let (kind, Some((ssrc, codec))) = (track.kind(), track.sending()) else {
            return;
        };
        let (remb, target) = (self.remb, self.available.unwrap_or_default() as f64);
        let entry = entry(&mut self.stats.outbound, kind, None);
        *entry = StreamStats {
            ssrc: *ssrc,
            codec: codec.map(str::to_owned),
            packets: stats.packets,
            bytes: stats.bytes,
            packets_lost: stats
                .remote
                .as_ref()
                .map_or(0, |r| i64::from(r.packets_lost as i32)),
            fraction_lost: f64::from(stats.loss.unwrap_or_default()),
            round_trip_time: stats.rtt.map_or(0.0, |r| r.as_secs_f64()),
            fir_count: stats.firs,
            pli_count: stats.plis,
            nack_count: stats.nacks,
            remb,
            target_bitrate: if kind == Kind::Video { target } else { 0.0 },
            ..entry.clone()
        };
    }

    /// Counters; `None` before the first negotiation.
    pub(super) fn stats(&self) -> Option<PeerStats> {
        self.rtc.as_ref()?;
        let (data_channels, data_channels_opened, data_channels_closed) = self.channels.stats();
        Some(PeerStats {
            data_channels,
            data_channels_opened,
            data_channels_closed,
            ..self.stats.clone()
        })
    }

    /// The local user name fragment, by which checks that arrive on a shared socket find this peer (RFC 8445, section 7.3).
    pub(super) fn ufrag(&mut self) -> Option<String> {
        Some(self.rtc.as_mut()?.direct_api().local_ice_credentials().ufrag)
    }
}

fn entry(list: &mut Vec<StreamStats>, kind: Kind, rid: Option<String>) -> &mut StreamStats {
    let found = list.iter().position(|s| s.kind == Some(kind) && s.rid == rid);
    let index = found.unwrap_or_else(|| {
        list.push(StreamStats {
            kind: Some(kind),
            rid,
            ..StreamStats::default()
        });
        list.len() - 1
    });
    &mut list[index]
}

/// Layers by the names in use: "q", "h", "f" (quarter, half, full), "l", "m", "h" (low, medium, high), or numbers.
fn layer_order(rid: &Rid) -> (u8, String) {
    let name = rid.to_string();
    let rank = match name.as_str() {
        "q" | "l" | "low" => 0,
        "m" | "mid" | "medium" => 1,
        "h" | "high" => 2,
        "f" | "full" => 3,
        _ => 1,
    };
    (rank, name)
}
