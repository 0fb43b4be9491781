//! One peer: a transport to one remote, what it receives and what it sends.

mod counters;
mod negotiation;
mod turn;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use str0m::rtp::ExtensionValues;
use str0m::{Candidate, Rtc};

use super::Counters;
use super::channels::{Channels, DataChannelError, Message};
use super::feed::FedPacket;
use super::inbound::{Inbound, Packet, SILENCE};
use super::keyframe::starts_keyframe;
use super::negotiate::Negotiation;
use super::outbound::Outbound;
use super::rtc::codec_name;
use super::tap::Tapped;
use super::throttle::Throttle;
use super::transport::{Gathered, Surroundings, Transport};
use crate::webrtc::api::{
    DataChannelOptions, DtlsState, GatherSettings, IceState, Kind, Limits, PeerEvent, PeerEvents,
    PeerSettings, PeerStats,
};

/// Candidates of a remote that are checked; it has a handful for each of its addresses.
const MOST_CANDIDATES: usize = 64;
/// How often the route to the remote is looked at.
const ROUTE_CHECK: Duration = Duration::from_secs(5);

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
    /// Who in this process gets what is received, by kind.
    pub(super) taps: [Option<Tapped>; 3],
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
    route_checked: Instant,
    media_connected: bool,
    last_media: Option<Instant>,
    stats: PeerStats,
    /// When something is due to a STUN or TURN server.
    servers_due: Option<Instant>,
    /// Keyframes asked of who feeds its video.
    fed_keyframes: Throttle,
    /// When the peer is to be woken next.
    pub(super) due: Option<Instant>,
    /// When the worker's timer for it fires; not later than that.
    pub(super) timer: Option<Instant>,
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
            taps: Default::default(),
            sources: [None; 3],
            inbox: Vec::new(),
            available: None,
            remb: 0,
            ice: IceState::Disconnected,
            ice_deadline: None,
            dtls: DtlsState::New,
            pair: None,
            route_checked: Instant::now(),
            media_connected: false,
            last_media: None,
            stats: PeerStats::default(),
            servers_due: None,
            fed_keyframes: Throttle::default(),
            due: None,
            timer: None,
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

    /// Called a few times a second: silence, layers, limits. Answers whether the wanted video layer changed.
    pub(super) fn tick(&mut self, now: Instant) {
        for (kind, receiving) in self.inbound.tick(now) {
            self.tell(PeerEvent::Receiving(kind, receiving));
        }
        let silent = self.last_media.is_none_or(|last| now >= last + SILENCE);
        if self.media_connected && silent {
            self.media_connected = false;
            self.tell(PeerEvent::MediaConnected(false));
        }
        if self.ice_deadline.is_some_and(|deadline| now >= deadline) {
            self.ice_deadline = None;
            self.set_ice(IceState::Failed);
        }
        if let Some(pair) = self.pair.filter(|_| now >= self.route_checked + ROUTE_CHECK) {
            self.route_checked = now;
            self.transport.check_route(pair);
        }
        if self.taps[slot(Kind::Video)]
            .as_ref()
            .is_some_and(Tapped::lacks_keyframe)
        {
            self.request_keyframe(0, now);
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

    /// Makes a packet of a feed ready to be sent. `None`: its codec was not negotiated.
    pub(super) fn fed(&self, packet: FedPacket) -> Option<Packet> {
        let rtc = self.rtc.as_ref()?;
        let track = self.outbound.iter().find(|t| t.kind() == packet.kind)?;
        let negotiated = rtc.media(track.mid())?.remote_pts();
        let params = rtc.codec_config().params().iter();
        let params = params
            .copied()
            .find(|p| codec_name(p.spec().codec) == packet.codec && negotiated.contains(&p.pt()))?;
        Some(Packet {
            kind: packet.kind,
            layer: 0,
            params,
            sequence: packet.sequence,
            time: packet.time,
            marker: packet.marker,
            keyframe: packet.kind == Kind::Video && starts_keyframe(params.spec().codec, &packet.payload),
            captured: packet.captured,
            extensions: ExtensionValues::default(),
            payload: packet.payload,
        })
    }

    /// Asks whoever feeds its video for a keyframe, unless that was done just now: while one is lacking it is asked for again.
    pub(super) fn request_fed_keyframe(&mut self, now: Instant) {
        if self.fed_keyframes.request(now) {
            self.tell(PeerEvent::KeyframeWanted);
        }
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
}
