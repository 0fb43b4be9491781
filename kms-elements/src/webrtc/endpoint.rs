//! `WebRtcEndpoint`: one browser, or any other WebRTC peer.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kms_core::element::StatsMap;
use kms_core::events::{
    ConnectionStateChanged, MediaSessionStarted, MediaSessionTerminated, MediaStateChanged,
};
use kms_core::media::{MediaError, Source, Timeline};
use kms_core::object::lock;
use kms_core::objects::MediaPipeline;
use kms_core::types::{ConnectionState, MediaState, MediaType};
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};
use tokio::sync::Mutex as AsyncMutex;

use super::api::{
    self, DtlsState, GatherSettings, IceState, Kind, Limits, NegotiationError, PeerEvent, PeerEvents,
};
use super::certificate::Certificates;
use super::engine::{Engine, Peer};
use super::outlet::FeedOutlet;
use super::sdp::{self, AcceptedLine, LocalDescription, RemoteAnswer, RemoteOffer};
use super::statistics::stats_map;
use super::tapped::{Tapped, Wishes};
use super::types::{
    CertificateKeyType, DataChannelClosed, DataChannelOpened, DtlsConnection, DtlsConnectionState,
    DtlsConnectionStateChange, IceCandidate, IceCandidateFound, IceCandidatePair, IceComponentState,
    IceComponentStateChanged, IceConnection, IceGatheringDone, NewCandidatePairSelected, OfferOptions,
    RembParams,
};
use crate::packets::Packetiser;
use crate::rtp_session::{
    Bandwidths, RtpSession, already_negotiated, check_mtu, described, no_offer, quality, sdp_error,
};

/// With rtcp-mux there is one component.
const COMPONENT: i32 = 1;
/// Transports of an endpoint: with BUNDLE one, without it one for each of audio, video and data.
const MOST_LEGS: usize = 3;
const KINDS: [Kind; 3] = [Kind::Audio, Kind::Video, Kind::Data];
/// Default port of STUN servers (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;
/// Candidates of a remote that come before its description.
const MOST_EARLY_CANDIDATES: usize = 64;

/// What all endpoints of a server share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) certificates: Certificates,
    pub(super) timeline: Timeline,
    pub(super) pump: super::class::EventPump,
}

/// What the constructor was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) recvonly: bool,
    pub(super) sendonly: bool,
    pub(super) data_channels: bool,
    pub(super) key: CertificateKeyType,
    pub(super) dscp: Option<u8>,
}

/// What can be set by properties.
pub(super) struct Settings {
    pub(super) gather: GatherSettings,
    pub(super) turn_url: String,
    /// Of the STUN server, which may be named later.
    pub(super) stun_port: u16,
    pub(super) mtu: i32,
    bandwidths: Bandwidths,
    remb: Option<RembParams>,
}

/// How far negotiation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    /// An offer of ours waits for its answer; as str0m made it.
    Offered(String),
    Stable,
}

/// The descriptions of both sides.
struct Descriptions {
    phase: Phase,
    /// Whether it was an offer of ours that was answered last.
    answered: bool,
    local: Option<String>,
    remote: Option<String>,
    remote_origin: String,
    version: u64,
}

/// What is known of one transport.
struct LegState {
    ice: IceState,
    dtls: Option<DtlsState>,
    pair: Option<(String, String)>,
    media: bool,
    candidates: Vec<String>,
}

/// An m-line that candidates are told for.
#[derive(Clone)]
struct MLine {
    index: usize,
    mid: String,
    leg: usize,
}

/// What the transports are and know now.
struct State {
    legs: [LegState; MOST_LEGS],
    /// How many of them are negotiated.
    legs_used: usize,
    /// Which of them carries audio, video and data.
    leg_of: [usize; 3],
    connected: bool,
    ever_connected: bool,
    media: bool,
    mlines: Vec<MLine>,
    early: Vec<IceCandidate>,
    codecs: [Option<Vec<String>>; 2],
}

impl State {
    /// The transport of the m-line that a candidate is for.
    fn leg_for(&self, candidate: &IceCandidate) -> Option<usize> {
        let index = usize::try_from(candidate.sdp_m_line_index).ok();
        let by_mid = self.mlines.iter().find(|m| m.mid == candidate.sdp_mid);
        let by_index = || self.mlines.iter().find(|m| Some(m.index) == index);
        by_mid.or_else(by_index).map(|m| m.leg)
    }
}

/// A WebRTC endpoint.
pub struct WebRtcEndpoint {
    element: ElementCore,
    shared: Arc<Shared>,
    pub(super) options: Options,
    this: Weak<WebRtcEndpoint>,
    affinity: u64,
    session_id: u64,
    /// The near ends of the transports, each made with the first thing that needs it.
    peers: [OnceLock<Peer>; MOST_LEGS],
    /// Held for a whole negotiation: they happen one after the other.
    negotiation: AsyncMutex<()>,
    /// Read and changed by operations on any connection.
    settings: Mutex<Settings>,
    descriptions: Mutex<Descriptions>,
    /// Changed by the transport's events, read by operations.
    state: Mutex<State>,
    /// The endpoints that feed this one, kept for when the peer is made.
    sources: Mutex<[Option<Weak<WebRtcEndpoint>>; 3]>,
    /// What makes packets of the media of sources that are no WebRTC endpoints, audio and video.
    packetisers: Mutex<[Option<Arc<Packetiser>>; 2]>,
    /// What makes media of received packets, audio and video: made when something other than a WebRTC endpoint wants it.
    depacketisers: [OnceLock<Arc<Tapped>>; 2],
}

impl WebRtcEndpoint {
    /// An endpoint that has not negotiated.
    pub(super) fn new(
        shared: Arc<Shared>,
        element: ElementCore,
        pipeline: &MediaPipeline,
        options: Options,
        gather: GatherSettings,
        mtu: usize,
    ) -> Arc<WebRtcEndpoint> {
        let turn_url = gather.turn_server.as_ref().map(turn_url).unwrap_or_default();
        Arc::new_cyclic(|this| WebRtcEndpoint {
            element,
            shared,
            options,
            this: this.clone(),
            affinity: std::ptr::from_ref(pipeline) as usize as u64,
            session_id: u64::from(uuid::Uuid::new_v4().as_u128() as u32),
            peers: Default::default(),
            negotiation: AsyncMutex::new(()),
            settings: Mutex::new(Settings {
                stun_port: gather.stun_server.map_or(STUN_PORT, |a| a.port()),
                gather,
                turn_url,
                mtu: mtu as i32,
                bandwidths: Bandwidths::default(),
                remb: None,
            }),
            descriptions: Mutex::new(Descriptions {
                phase: Phase::New,
                answered: false,
                local: None,
                remote: None,
                remote_origin: String::new(),
                version: 0,
            }),
            state: Mutex::new(State {
                legs: std::array::from_fn(|_| LegState {
                    ice: IceState::Disconnected,
                    dtls: None,
                    pair: None,
                    media: false,
                    candidates: Vec::new(),
                }),
                legs_used: 1,
                leg_of: [0; 3],
                connected: false,
                ever_connected: false,
                media: false,
                mlines: Vec::new(),
                early: Vec::new(),
                codecs: [None, None],
            }),
            sources: Mutex::new([None, None, None]),
            packetisers: Mutex::default(),
            depacketisers: Default::default(),
        })
    }

    /// The near end of a transport; made when it is first needed, so that an endpoint that does nothing costs nothing.
    async fn peer(&self, leg: usize) -> Result<&Peer, Error> {
        if let Some(peer) = self.peers[leg].get() {
            return Ok(peer);
        }
        let (shared, key) = (self.shared.clone(), self.options.key);
        let certificate = tokio::task::spawn_blocking(move || shared.certificates.get(key)).await;
        let certificate = certificate
            .map_err(|e| unexpected(&e))?
            .map_err(|e| unexpected(&e))?;
        let settings = api::PeerSettings {
            certificate,
            data_channels: self.options.data_channels,
            recvonly: self.options.recvonly,
            sendonly: self.options.sendonly,
            dscp: self.options.dscp,
        };
        let listener = Arc::new(Listener {
            endpoint: self.this.clone(),
            leg,
            pump: self.shared.pump.clone(),
        });
        let peer =
            self.peers[leg].get_or_init(|| self.shared.engine.add_peer(self.affinity, settings, listener));
        self.connect_all();
        Ok(peer)
    }

    /// The transport that carries a kind, if it exists.
    pub(super) fn peer_of(&self, kind: Kind) -> Option<&Peer> {
        let leg = lock(&self.state).leg_of[place(kind)];
        self.peers[leg].get()
    }

    /// All transports that exist.
    fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter_map(OnceLock::get)
    }

    /// Tells the engine who feeds this endpoint and whom it feeds. Both ends need a transport: the later one makes the
    /// connection.
    fn connect_all(&self) {
        KINDS.into_iter().for_each(|kind| self.connect_source(kind));
        let Some(pipeline) = self.element.object.pipeline() else {
            return;
        };
        for sink in pipeline.fed_from(&self.element) {
            let Ok(sink) = sink.into_any().downcast::<WebRtcEndpoint>() else {
                continue;
            };
            for kind in KINDS {
                let source = lock(&sink.sources)[place(kind)].clone();
                if source.is_some_and(|s| std::ptr::eq(s.as_ptr(), self)) {
                    sink.connect_source(kind);
                }
            }
        }
    }

    fn connect_source(&self, kind: Kind) {
        let source = lock(&self.sources)[place(kind)].as_ref().and_then(Weak::upgrade);
        if let (Some(own), Some(source)) = (self.peer_of(kind), source) {
            self.shared.engine.set_source(own, kind, source.peer_of(kind));
        }
    }

    /// Sends the media of a source that is no WebRTC endpoint, or no longer.
    fn packetise(&self, kind: Kind, source: Option<&Arc<Source>>) {
        if kind == Kind::Data {
            return;
        }
        let packetiser = source.map(|source| {
            let this = self.this.clone();
            let failed = move |error: &MediaError| {
                if let Some(this) = this.upgrade() {
                    tracing::warn!(endpoint = this.core().id(), detail = %error.detail, "{error}");
                    this.raise_error(&error.message, Code::UnsupportedMediaType);
                }
            };
            Packetiser::start(source, media_type(kind), &self.shared.timeline, Box::new(failed))
        });
        let before = std::mem::replace(&mut lock(&self.packetisers)[place(kind)], packetiser);
        if let Some(before) = before {
            before.end();
        }
        self.give_sink(kind);
    }

    /// Lets what makes media of received packets have them, once there is a transport.
    fn set_tap(&self, kind: Kind) {
        if kind == Kind::Data {
            return;
        }
        if let (Some(depacketiser), Some(peer)) = (self.depacketisers[place(kind)].get(), self.peer_of(kind))
        {
            peer.set_tap(kind, Some(depacketiser.clone()));
        }
    }

    /// Tells what makes packets where they go and what is taken there, once that was negotiated.
    fn give_sink(&self, kind: Kind) {
        let packetiser = lock(&self.packetisers)[place(kind)].clone();
        let codecs = lock(&self.state).codecs[place(kind)].clone();
        if let (Some(packetiser), Some(codecs), Some(peer)) = (packetiser, codecs, self.peer_of(kind)) {
            let outlet = FeedOutlet {
                peer: peer.clone(),
                kind,
                timeline: self.shared.timeline.clone(),
            };
            let quality = quality(
                &self.element.settings(),
                media_type(kind),
                self.limits().max_video_send,
            );
            packetiser.set_sink(Arc::new(outlet), codecs, quality);
        }
    }

    fn limits(&self) -> Limits {
        let settings = lock(&self.settings);
        let b = settings.bandwidths;
        let bits = |kbps: i32| u64::try_from(kbps).unwrap_or_default() * 1000;
        Limits {
            mtu: settings.mtu as usize,
            min_video_recv: bits(b.min_video_recv),
            max_video_recv: bits(b.max_video_recv),
            max_audio_recv: bits(b.max_audio_recv),
            min_video_send: bits(b.min_video_send),
            max_video_send: b.video_send_limit(),
        }
    }

    /// What this side says of itself in the next description.
    fn local(&self) -> LocalDescription {
        let limit = |kbps: i32| u32::try_from(kbps).ok().filter(|k| *k > 0);
        let bandwidths = lock(&self.settings).bandwidths;
        let mut descriptions = lock(&self.descriptions);
        descriptions.version += 1;
        LocalDescription {
            candidates: lock(&self.state)
                .legs
                .iter()
                .map(|l| l.candidates.clone())
                .collect(),
            max_video_recv_kbps: limit(bandwidths.max_video_recv),
            max_audio_recv_kbps: limit(bandwidths.max_audio_recv),
            session_id: self.session_id,
            session_version: descriptions.version,
        }
    }

    async fn offer(&self, options: OfferOptions) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let phase = lock(&self.descriptions).phase.clone();
        let may_offer = match phase {
            Phase::New => true,
            Phase::Offered(_) => false,
            Phase::Stable => lock(&self.state).ever_connected,
        };
        if !may_offer {
            return Err(already_negotiated());
        }
        let options = api::OfferOptions {
            receive_audio: options.offer_to_receive_audio,
            receive_video: options.offer_to_receive_video,
            ice_restart: phase == Phase::Stable,
        };
        let made = self.peer(0).await?.generate_offer(options, self.limits()).await;
        let made = made.map_err(|e| negotiation_error(e, Code::SdpGenerateOffer))?;
        let offer = sdp::local_offer(&made, &self.local()).map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        let lines = sdp::accepted_mids(&offer).into_iter();
        lock(&self.state).mlines = lines.map(|(index, mid)| MLine { index, mid, leg: 0 }).collect();
        let mut descriptions = lock(&self.descriptions);
        descriptions.phase = Phase::Offered(made);
        descriptions.answered = false;
        descriptions.local = Some(offer.clone());
        Ok(offer)
    }

    async fn answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let (phase, origin) = {
            let descriptions = lock(&self.descriptions);
            (descriptions.phase.clone(), descriptions.remote_origin.clone())
        };
        if matches!(phase, Phase::Offered(_)) {
            return Err(already_negotiated());
        }
        let offer = RemoteOffer::parse(&text, self.options.data_channels);
        let offer = offer.map_err(|e| sdp_error(&e, Code::SdpProcessOffer))?;
        // The same o= line is the same offer (RFC 3264, section 8), which Kurento refuses.
        if phase == Phase::Stable && offer.origin() == origin {
            return Err(already_negotiated());
        }
        let mut answers = Vec::new();
        for (index, leg) in offer.legs.iter().enumerate().take(MOST_LEGS) {
            let wanted = sdp::restrict_directions(&leg.sdp, self.options.recvonly, self.options.sendonly);
            let answer = self.peer(index).await?.process_offer(wanted, self.limits()).await;
            answers.push(answer.map_err(|e| negotiation_error(e, Code::SdpProcessOffer))?);
        }
        let answer = offer
            .answer(&answers, &self.local())
            .map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        // A line without a common codec was rejected after all.
        let agreed = sdp::accepted_mids(&answer);
        let mut lines = offer.accepted();
        lines.retain(|line| agreed.iter().any(|(index, _)| *index == line.index));
        self.take_lines(lines);
        for (index, leg) in offer.legs.iter().enumerate().take(MOST_LEGS) {
            self.take_candidates(index, &leg.candidates);
        }
        {
            let mut descriptions = lock(&self.descriptions);
            descriptions.phase = Phase::Stable;
            descriptions.answered = false;
            descriptions.local = Some(answer.clone());
            descriptions.remote_origin = offer.origin().to_owned();
            descriptions.remote = Some(text);
        }
        self.negotiated(phase == Phase::New).await;
        Ok(answer)
    }

    async fn accept_answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let offered = {
            let descriptions = lock(&self.descriptions);
            match &descriptions.phase {
                Phase::Offered(made) => made.clone(),
                _ => return Err(no_offer(descriptions.answered)),
            }
        };
        let answer =
            RemoteAnswer::parse(&text, &offered).map_err(|e| sdp_error(&e, Code::SdpProcessAnswer))?;
        let done = self.peer(0).await?.process_answer(answer.sdp).await;
        done.map_err(|e| negotiation_error(e, Code::SdpProcessAnswer))?;
        self.take_candidates(0, &answer.candidates);
        let local = {
            let mut descriptions = lock(&self.descriptions);
            descriptions.phase = Phase::Stable;
            descriptions.answered = true;
            descriptions.remote = Some(text);
            descriptions.local.clone().unwrap_or_default()
        };
        self.negotiated(true).await;
        Ok(local)
    }

    /// Notes the m-lines that were agreed on, and with them which transport carries what.
    fn take_lines(&self, lines: Vec<AcceptedLine>) {
        {
            let mut state = lock(&self.state);
            state.legs_used = lines.iter().map(|l| l.leg + 1).max().unwrap_or(1);
            for line in &lines {
                if let Some(kind) = line.kind {
                    state.leg_of[place(kind)] = line.leg;
                }
            }
            let mline = |l: AcceptedLine| MLine {
                index: l.index,
                mid: l.mid,
                leg: l.leg,
            };
            state.mlines = lines.into_iter().map(mline).collect();
        }
        self.connect_all();
    }

    /// Gives a transport the candidates that came with its description, and those that came before it.
    fn take_candidates(&self, leg: usize, with_description: &[String]) {
        let Some(peer) = self.peers[leg].get() else { return };
        let early = {
            let mut state = lock(&self.state);
            let all = std::mem::take(&mut state.early);
            let (here, elsewhere) = all
                .into_iter()
                .partition(|c| state.leg_for(c).unwrap_or(0) == leg);
            state.early = elsewhere;
            here
        };
        let early: Vec<String> = early.into_iter().map(|c: IceCandidate| c.candidate).collect();
        for candidate in with_description.iter().chain(&early) {
            // One that can't be used does not spoil the others.
            let _ = peer.add_remote_candidate(candidate);
        }
    }

    /// What follows a negotiation: codecs are known, and what is connected without a common one is told so.
    async fn negotiated(&self, first: bool) {
        for (index, kind) in [Kind::Audio, Kind::Video].into_iter().enumerate() {
            if let Some(peer) = self.peer_of(kind) {
                let codecs = peer.codecs(kind).await;
                lock(&self.state).codecs[index] = Some(codecs);
            }
        }
        for kind in [Kind::Audio, Kind::Video] {
            self.give_sink(kind);
            self.set_tap(kind);
        }
        if first {
            self.core().raise(&MediaSessionStarted {});
        }
        let problems = self
            .element
            .object
            .pipeline()
            .map(|p| p.formats_changed(self))
            .unwrap_or_default();
        for (_, message) in problems {
            self.raise_error(&message, Code::UnsupportedMediaType);
        }
    }

    /// Begins to gather candidates.
    pub(super) async fn gather_candidates(&self) -> Result<(), Error> {
        let settings = lock(&self.settings).gather.clone();
        self.peer(0).await?;
        self.peers().for_each(|peer| peer.gather(settings.clone()));
        Ok(())
    }

    /// Takes a candidate of the remote. Before the remote's description it waits; afterwards its m-line must exist.
    pub(super) fn add_ice_candidate(&self, candidate: &IceCandidate) -> Result<(), Error> {
        let refuse = || Error::new(Code::IceAddCandidate, "Error adding candidate");
        let negotiated = lock(&self.descriptions).phase == Phase::Stable;
        if !negotiated {
            let mut state = lock(&self.state);
            if state.early.len() >= MOST_EARLY_CANDIDATES {
                return Err(refuse());
            }
            state.early.push(candidate.clone());
            return Ok(());
        }
        let leg = lock(&self.state).leg_for(candidate).ok_or_else(refuse)?;
        if let Some(peer) = self.peers[leg].get()
            && let Err(error) = peer.add_remote_candidate(&candidate.candidate)
        {
            // Kurento takes anything here, and clients pass on what browsers of tomorrow send.
            tracing::debug!(endpoint = self.core().id(), %error, "candidate is left out");
        }
        Ok(())
    }

    /// The settings, to be read.
    pub(super) fn setting<R>(&self, read: impl FnOnce(&Settings) -> R) -> R {
        read(&lock(&self.settings))
    }

    /// The settings, to be changed.
    pub(super) fn change_setting(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
    }

    /// The transports in use, with what `read` makes of them; none before the first is made.
    fn legs<T>(&self, read: impl Fn(usize, &LegState) -> Vec<T>) -> Vec<T> {
        if self.peers[0].get().is_none() {
            return Vec::new();
        }
        let state = lock(&self.state);
        let legs = state.legs.iter().take(state.legs_used).enumerate();
        legs.flat_map(|(leg, state)| read(leg, state)).collect()
    }

    /// The pairs in use.
    pub(super) fn pairs(&self) -> Vec<IceCandidatePair> {
        self.legs(|leg, state| {
            state
                .pair
                .clone()
                .map(|p| candidate_pair(leg, p))
                .into_iter()
                .collect()
        })
    }

    /// State of ICE, once it was used.
    pub(super) fn ice_connections(&self) -> Vec<IceConnection> {
        self.legs(|leg, state| {
            vec![IceConnection {
                stream_id: stream(leg).to_string(),
                component_id: COMPONENT,
                state: ice_state(state.ice),
            }]
        })
    }

    /// State of DTLS, once it was used.
    pub(super) fn dtls_connections(&self) -> Vec<DtlsConnection> {
        self.legs(|leg, state| {
            let connection = |dtls, component: &str| DtlsConnection {
                stream_id: stream(leg).to_string(),
                component_id: component.to_owned(),
                connection_id: DTLS_CONNECTION.to_owned(),
                state: dtls_state(dtls),
            };
            let both = |dtls| [connection(dtls, DTLS_RECEIVES), connection(dtls, DTLS_SENDS)];
            state.dtls.map(both).into_iter().flatten().collect()
        })
    }

    /// Handles an event of the transport; on the pump's thread.
    pub(super) fn handle(&self, leg: usize, event: PeerEvent) {
        match event {
            PeerEvent::CandidateFound(line) => self.candidate_found(leg, line),
            PeerEvent::GatheringDone => self.core().raise(&IceGatheringDone {}),
            PeerEvent::Ice(state) => self.ice_changed(leg, state),
            PeerEvent::Dtls(state) => self.dtls_changed(leg, state),
            PeerEvent::PairSelected { local, remote } => {
                lock(&self.state).legs[leg].pair = Some((local.clone(), remote.clone()));
                self.core().raise(&NewCandidatePairSelected {
                    candidate_pair: candidate_pair(leg, (local, remote)),
                });
            }
            PeerEvent::Receiving(kind, receiving) => self.element.set_producing(media_type(kind), receiving),
            PeerEvent::MediaConnected(connected) => self.media_changed(leg, connected),
            PeerEvent::DataChannelOpened(id) => self.core().raise(&DataChannelOpened {
                channel_id: i32::from(id),
            }),
            PeerEvent::DataChannelClosed(id) => self.core().raise(&DataChannelClosed {
                channel_id: i32::from(id),
            }),
            PeerEvent::CodecUnsupported { kind, codec } => {
                let media = media_type(kind).lower();
                let message = format!(
                    "The connected source sends {media} in {codec}, which was not negotiated with this endpoint's remote: \
                     nothing is sent"
                );
                self.raise_error(&message, Code::UnsupportedMediaType);
            }
            PeerEvent::TapCodec(kind, codec) => {
                if let Some(depacketiser) = self.depacketisers.get(place(kind)).and_then(OnceLock::get) {
                    depacketiser.prepare(codec);
                }
            }
            PeerEvent::TapKeyframe => {
                if let Some(peer) = self.peer_of(Kind::Video) {
                    peer.request_keyframe();
                }
            }
            PeerEvent::KeyframeWanted => {
                let packetiser = lock(&self.packetisers)[place(Kind::Video)].clone();
                if let Some(packetiser) = packetiser {
                    packetiser.request_keyframe();
                }
            }
            PeerEvent::Error(message) => self.raise_error(&message, Code::Unexpected),
        }
    }

    fn candidate_found(&self, leg: usize, line: String) {
        let mlines = {
            let mut state = lock(&self.state);
            state.legs[leg].candidates.push(line.clone());
            state.mlines.clone()
        };
        for mline in mlines.into_iter().filter(|m| m.leg == leg) {
            let candidate = IceCandidate {
                candidate: line.clone(),
                sdp_mid: mline.mid,
                sdp_m_line_index: i32::try_from(mline.index).unwrap_or(0),
            };
            self.core().raise(&IceCandidateFound { candidate });
        }
    }

    fn ice_changed(&self, leg: usize, ice: IceState) {
        lock(&self.state).legs[leg].ice = ice;
        self.core().raise(&IceComponentStateChanged {
            stream_id: stream(leg),
            component_id: COMPONENT,
            state: ice_state(ice),
        });
        self.connection_changed();
    }

    fn dtls_changed(&self, leg: usize, dtls: DtlsState) {
        lock(&self.state).legs[leg].dtls = Some(dtls);
        self.connection_changed();
        let components: &[&str] = if dtls == DtlsState::New {
            &[DTLS_SENDS]
        } else {
            &[DTLS_RECEIVES, DTLS_SENDS]
        };
        for component in components {
            self.core().raise(&DtlsConnectionStateChange {
                stream_id: stream(leg).to_string(),
                component_id: (*component).to_owned(),
                connection_id: DTLS_CONNECTION.to_owned(),
                state: dtls_state(dtls),
            });
        }
    }

    /// The endpoint is connected while all its transports are.
    fn connection_changed(&self) {
        let connected = {
            let mut state = lock(&self.state);
            let up = |leg: &LegState| {
                leg.dtls == Some(DtlsState::Connected)
                    && !matches!(leg.ice, IceState::Disconnected | IceState::Failed)
            };
            let connected = state.legs.iter().take(state.legs_used).all(up);
            if state.connected == connected {
                return;
            }
            state.connected = connected;
            state.ever_connected |= connected;
            connected
        };
        let state = |up| match up {
            true => ConnectionState::Connected,
            false => ConnectionState::Disconnected,
        };
        self.core().raise(&ConnectionStateChanged {
            old_state: state(!connected),
            new_state: state(connected),
        });
    }

    /// Media arrives while it does on any transport.
    fn media_changed(&self, leg: usize, connected: bool) {
        let connected = {
            let mut state = lock(&self.state);
            state.legs[leg].media = connected;
            let connected = state.legs.iter().any(|l| l.media);
            if std::mem::replace(&mut state.media, connected) == connected {
                return;
            }
            connected
        };
        let state = |up| match up {
            true => MediaState::Connected,
            false => MediaState::Disconnected,
        };
        self.core().raise(&MediaStateChanged {
            old_state: state(!connected),
            new_state: state(connected),
        });
    }
}

/// Streams are counted from 1.
fn stream(leg: usize) -> i32 {
    leg as i32 + 1
}

/// The place of a kind in the arrays.
fn place(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 0,
        Kind::Video => 1,
        Kind::Data => 2,
    }
}

/// Names Kurento gives to the two directions of DTLS; clients tell the transport from data by them.
const DTLS_SENDS: &str = "[bundle/dtlssrtpenc]";
const DTLS_RECEIVES: &str = "[bundle/dtlssrtpdec]";
const DTLS_CONNECTION: &str = "dtlssrtpenc-dtlssrtpdec-1-1";

/// Hears a peer's events on its worker's thread and passes them on at once.
struct Listener {
    endpoint: Weak<WebRtcEndpoint>,
    leg: usize,
    pump: super::class::EventPump,
}

impl PeerEvents for Listener {
    fn on_event(&self, event: PeerEvent) {
        self.pump.send(self.endpoint.clone(), self.leg, event);
    }
}

impl Object for WebRtcEndpoint {
    fn core(&self) -> &ObjectCore {
        &self.element.object
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn into_element(self: Arc<Self>) -> Option<Arc<dyn Element>> {
        Some(self)
    }
    fn released(&self) {
        self.element.leave();
        if self.peers().next().is_some() {
            self.core().raise(&MediaSessionTerminated {});
            self.peers().for_each(Peer::close);
        }
    }
}

impl Element for WebRtcEndpoint {
    fn element(&self) -> &ElementCore {
        &self.element
    }

    fn formats(&self, media: MediaType) -> Option<Vec<String>> {
        match media {
            MediaType::Audio => lock(&self.state).codecs[0].clone(),
            MediaType::Video => lock(&self.state).codecs[1].clone(),
            MediaType::Data => None,
        }
    }

    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        let kind = kind_of(media)?;
        let depacketiser = self.depacketisers[place(kind)].get_or_init(|| {
            let wishes = Arc::new(TapWishes {
                endpoint: self.this.clone(),
                pump: self.shared.pump.clone(),
            });
            Tapped::new(media, &self.shared.timeline, wishes)
        });
        self.set_tap(kind);
        Some(depacketiser.source().clone())
    }

    fn fed_by(&self, media: MediaType, source: Option<&Arc<dyn Element>>) {
        let element = source;
        let source = source.and_then(|s| s.clone().into_any().downcast::<WebRtcEndpoint>().ok());
        // From one WebRTC endpoint to another packets go as they are.
        let other = element.filter(|_| source.is_none()).and_then(|s| s.source(media));
        let kind = match media {
            MediaType::Audio => Kind::Audio,
            MediaType::Video => Kind::Video,
            MediaType::Data => Kind::Data,
        };
        lock(&self.sources)[place(kind)] = source.as_ref().map(Arc::downgrade);
        if let Some(own) = self.peer_of(kind) {
            let source = source.as_ref().and_then(|s| s.peer_of(kind));
            self.shared.engine.set_source(own, kind, source);
        }
        self.packetise(kind, other.as_ref());
    }

    fn stats(&self, media: Option<MediaType>) -> Pin<Box<dyn Future<Output = StatsMap> + Send>> {
        let peers: Vec<Peer> = self.peers().cloned().collect();
        let connected = lock(&self.state).ever_connected;
        Box::pin(async move {
            let mut all = StatsMap::new();
            for peer in peers.iter().filter(|_| connected) {
                all.extend(
                    peer.stats()
                        .await
                        .map(|stats| stats_map(&stats, media))
                        .unwrap_or_default(),
                );
            }
            all
        })
    }

    fn is_endpoint(&self) -> bool {
        true
    }

    fn dot_parameters(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let codecs = |index: usize| state.codecs[index].clone().unwrap_or_default().join(" ");
        vec![
            ("ice".into(), ice_state(state.legs[0].ice).as_str().into()),
            ("audio-codecs".into(), codecs(0)),
            ("video-codecs".into(), codecs(1)),
        ]
    }
}

impl RtpSession for WebRtcEndpoint {
    async fn generate_offer(self: Arc<Self>, options: OfferOptions) -> Result<String, Error> {
        self.offer(options).await
    }
    async fn process_offer(self: Arc<Self>, offer: String) -> Result<String, Error> {
        self.answer(offer).await
    }
    async fn process_answer(self: Arc<Self>, answer: String) -> Result<String, Error> {
        self.accept_answer(answer).await
    }
    fn local_description(&self) -> Result<String, Error> {
        described(lock(&self.descriptions).local.clone(), true)
    }
    fn remote_description(&self) -> Result<String, Error> {
        described(lock(&self.descriptions).remote.clone(), false)
    }
    fn bandwidths(&self) -> Bandwidths {
        lock(&self.settings).bandwidths
    }
    fn change_bandwidths(&self, change: &dyn Fn(&mut Bandwidths)) -> Result<(), Error> {
        {
            let mut settings = lock(&self.settings);
            settings.bandwidths = settings.bandwidths.changed(change)?;
        }
        self.peers().for_each(|peer| peer.set_limits(self.limits()));
        Ok(())
    }
    fn media_state(&self) -> MediaState {
        if lock(&self.state).media {
            MediaState::Connected
        } else {
            MediaState::Disconnected
        }
    }
    fn connection_state(&self) -> ConnectionState {
        if lock(&self.state).connected {
            ConnectionState::Connected
        } else {
            ConnectionState::Disconnected
        }
    }
    fn mtu(&self) -> i32 {
        lock(&self.settings).mtu
    }
    fn set_mtu(&self, mtu: i32) -> Result<(), Error> {
        check_mtu(mtu)?;
        self.change_setting(|s| s.mtu = mtu);
        Ok(())
    }
    fn remb_params(&self) -> RembParams {
        lock(&self.settings)
            .remb
            .clone()
            .unwrap_or_else(RembParams::unset)
    }
    fn set_remb_params(&self, params: RembParams) {
        self.change_setting(|s| s.remb = Some(params));
    }
    fn request_keyframe(&self) {
        if let Some(peer) = self.peer_of(Kind::Video) {
            peer.request_keyframe();
        }
    }
}

fn turn_url(server: &api::TurnServer) -> String {
    let transport = match server.transport {
        api::TurnTransport::Udp => "udp",
        api::TurnTransport::Tcp => "tcp",
    };
    format!(
        "{}:{}@{}?transport={transport}",
        server.username, server.password, server.address
    )
}

fn unexpected(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "an endpoint's transport can't be made");
    Error::new(
        Code::Unexpected,
        "The transport can't be made; the server's log has more",
    )
}

fn negotiation_error(error: NegotiationError, code: Code) -> Error {
    let code = match error {
        NegotiationError::Parse(_) => Code::SdpParse,
        NegotiationError::NoOfferPending => Code::SdpNoOffer,
        NegotiationError::NoPort(_) => Code::NotEnoughResources,
        NegotiationError::Offer(_) | NegotiationError::Answer(_) | NegotiationError::Closed => code,
    };
    Error::new(code, error.to_string())
}

fn media_type(kind: Kind) -> MediaType {
    match kind {
        Kind::Audio => MediaType::Audio,
        Kind::Video => MediaType::Video,
        Kind::Data => MediaType::Data,
    }
}

fn ice_state(state: IceState) -> IceComponentState {
    match state {
        IceState::Disconnected => IceComponentState::Disconnected,
        IceState::Gathering => IceComponentState::Gathering,
        IceState::Connecting => IceComponentState::Connecting,
        IceState::Connected => IceComponentState::Connected,
        IceState::Ready => IceComponentState::Ready,
        IceState::Failed => IceComponentState::Failed,
    }
}

fn dtls_state(state: DtlsState) -> DtlsConnectionState {
    match state {
        DtlsState::New => DtlsConnectionState::New,
        DtlsState::Connecting => DtlsConnectionState::Connecting,
        DtlsState::Connected => DtlsConnectionState::Connected,
        DtlsState::Closed => DtlsConnectionState::Closed,
        DtlsState::Failed => DtlsConnectionState::Failed,
    }
}

fn candidate_pair(leg: usize, (local_candidate, remote_candidate): (String, String)) -> IceCandidatePair {
    IceCandidatePair {
        stream_id: stream(leg).to_string(),
        component_id: COMPONENT,
        local_candidate,
        remote_candidate,
    }
}

/// The kind that has taps and feeds; none for data.
fn kind_of(media: MediaType) -> Option<Kind> {
    match media {
        MediaType::Audio => Some(Kind::Audio),
        MediaType::Video => Some(Kind::Video),
        MediaType::Data => None,
    }
}

/// Carries what a depacketiser wants to where it may be done.
struct TapWishes {
    endpoint: Weak<WebRtcEndpoint>,
    pump: super::class::EventPump,
}

impl Wishes for TapWishes {
    fn codec(&self, kind: MediaType, codec: &'static str) {
        if let Some(kind) = kind_of(kind) {
            self.pump
                .send(self.endpoint.clone(), 0, PeerEvent::TapCodec(kind, codec));
        }
    }

    fn keyframe(&self) {
        self.pump.send(self.endpoint.clone(), 0, PeerEvent::TapKeyframe);
    }
}
