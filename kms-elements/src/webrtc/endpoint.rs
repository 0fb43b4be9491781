//! `WebRtcEndpoint`: one browser, or any other WebRTC peer.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kms_core::element::StatsMap;
use kms_core::events::{
    ConnectionStateChanged, Error as ErrorEvent, MediaSessionStarted, MediaSessionTerminated,
    MediaStateChanged,
};
use kms_core::object::lock;
use kms_core::objects::MediaPipeline;
use kms_core::types::{ConnectionState, MediaState, MediaType};
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};
use tokio::sync::Mutex as AsyncMutex;

use super::api::{
    self, DtlsState, GatherSettings, IceState, Kind, Limits, NegotiationError, PeerEvent, PeerEvents,
};
use super::bases::{Bandwidths, RtpSession};
use super::certificate::Certificates;
use super::engine::{Engine, Peer};
use super::sdp::{self, LocalDescription, RemoteAnswer, RemoteOffer, SdpError};
use super::statistics::stats_map;
use super::types::{
    CertificateKeyType, DataChannelClosed, DataChannelOpened, DtlsConnection, DtlsConnectionState,
    DtlsConnectionStateChange, IceCandidate, IceCandidateFound, IceCandidatePair, IceComponentState,
    IceComponentStateChanged, IceConnection, IceGatheringDone, NewCandidatePairSelected, OfferOptions,
    RembParams,
};

/// With BUNDLE there is one stream, and with rtcp-mux one component.
const STREAM: i32 = 1;
const COMPONENT: i32 = 1;
/// Default port of STUN servers (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;
/// Candidates of a remote that come before its description.
const MOST_EARLY_CANDIDATES: usize = 64;

/// What all endpoints of a server share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) certificates: Certificates,
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
    /// Kurento's default of 500 kbit/s is where its encoders end; here nothing is encoded, so only a value that was set
    /// bounds what is forwarded.
    max_video_send_set: bool,
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

/// What the transport is and knows now.
struct State {
    ice: IceState,
    dtls: Option<DtlsState>,
    pair: Option<(String, String)>,
    connected: bool,
    ever_connected: bool,
    media: bool,
    /// m-lines that candidates are told for: index and mid.
    mids: Vec<(usize, String)>,
    candidates: Vec<String>,
    early: Vec<(String, String)>,
    codecs: [Option<Vec<String>>; 2],
}

/// A WebRTC endpoint.
pub struct WebRtcEndpoint {
    element: ElementCore,
    shared: Arc<Shared>,
    pub(super) options: Options,
    this: Weak<WebRtcEndpoint>,
    affinity: u64,
    session_id: u64,
    /// Made with the first thing that needs it.
    peer: OnceLock<Peer>,
    /// Held for a whole negotiation: they happen one after the other.
    negotiation: AsyncMutex<()>,
    /// Read and changed by operations on any connection.
    settings: Mutex<Settings>,
    descriptions: Mutex<Descriptions>,
    /// Changed by the transport's events, read by operations.
    state: Mutex<State>,
    /// The endpoints that feed this one, kept for when the peer is made.
    sources: Mutex<[Option<Weak<WebRtcEndpoint>>; 3]>,
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
            peer: OnceLock::new(),
            negotiation: AsyncMutex::new(()),
            settings: Mutex::new(Settings {
                stun_port: gather.stun_server.map_or(STUN_PORT, |a| a.port()),
                gather,
                turn_url,
                mtu: mtu as i32,
                bandwidths: Bandwidths::default(),
                max_video_send_set: false,
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
                ice: IceState::Disconnected,
                dtls: None,
                pair: None,
                connected: false,
                ever_connected: false,
                media: false,
                mids: Vec::new(),
                candidates: Vec::new(),
                early: Vec::new(),
                codecs: [None, None],
            }),
            sources: Mutex::new([None, None, None]),
        })
    }

    /// The transport's near end; made when it is first needed, so that an endpoint that does nothing costs nothing.
    async fn peer(&self) -> Result<&Peer, Error> {
        if let Some(peer) = self.peer.get() {
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
            pump: self.shared.pump.clone(),
        });
        let peer = self
            .peer
            .get_or_init(|| self.shared.engine.add_peer(self.affinity, settings, listener));
        self.connect_sources(peer);
        Ok(peer)
    }

    /// Tells the engine who feeds this endpoint. Both ends need a peer: the later one makes the connection.
    fn connect_sources(&self, peer: &Peer) {
        for (index, kind) in [Kind::Audio, Kind::Video, Kind::Data].into_iter().enumerate() {
            let source = lock(&self.sources)[index].as_ref().and_then(Weak::upgrade);
            if let Some(source) = source {
                self.shared.engine.set_source(peer, kind, source.peer.get());
            }
        }
        let Some(pipeline) = self.element.object.pipeline() else {
            return;
        };
        // Endpoints that were connected to this one before it had a peer.
        for sink in pipeline.fed_from(&self.element) {
            let Ok(sink) = sink.into_any().downcast::<WebRtcEndpoint>() else {
                continue;
            };
            if let Some(sink_peer) = sink.peer.get() {
                sink.connect_sources_from(self, sink_peer, peer);
            }
        }
    }

    fn connect_sources_from(&self, source: &WebRtcEndpoint, own: &Peer, peer: &Peer) {
        for (index, kind) in [Kind::Audio, Kind::Video, Kind::Data].into_iter().enumerate() {
            let feeds = lock(&self.sources)[index]
                .as_ref()
                .is_some_and(|s| std::ptr::eq(s.as_ptr(), source));
            if feeds {
                self.shared.engine.set_source(own, kind, Some(peer));
            }
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
            max_video_send: if settings.max_video_send_set {
                bits(b.max_video_send)
            } else {
                0
            },
        }
    }

    /// What this side says of itself in the next description.
    fn local(&self) -> LocalDescription {
        let limit = |kbps: i32| u32::try_from(kbps).ok().filter(|k| *k > 0);
        let bandwidths = lock(&self.settings).bandwidths;
        let mut descriptions = lock(&self.descriptions);
        descriptions.version += 1;
        LocalDescription {
            candidates: lock(&self.state).candidates.clone(),
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
        let made = self.peer().await?.generate_offer(options, self.limits()).await;
        let made = made.map_err(|e| negotiation_error(e, Code::SdpGenerateOffer))?;
        let offer = sdp::local_offer(&made, &self.local()).map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        lock(&self.state).mids = sdp::accepted_mids(&offer);
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
        let mut offer = RemoteOffer::parse(&text, self.options.data_channels);
        if let Ok(offer) = &mut offer {
            // An m-line group with a transport of its own needs BUNDLE to be taken along with the first.
            offer.legs.truncate(1);
        }
        let offer = offer.map_err(|e| sdp_error(&e, Code::SdpProcessOffer))?;
        // The same o= line is the same offer (RFC 3264, section 8), which Kurento refuses.
        if phase == Phase::Stable && offer.origin() == origin {
            return Err(already_negotiated());
        }
        let mut answers = Vec::new();
        if let Some(leg) = offer.legs.first() {
            let peer = self.peer().await?;
            let wanted = sdp::restrict_directions(&leg.sdp, self.options.recvonly, self.options.sendonly);
            let answer = peer.process_offer(wanted, self.limits()).await;
            answers.push(answer.map_err(|e| negotiation_error(e, Code::SdpProcessOffer))?);
            let early = std::mem::take(&mut lock(&self.state).early);
            for candidate in leg
                .candidates
                .iter()
                .chain(early.iter().map(|(candidate, _)| candidate))
            {
                // One that can't be used does not spoil the others.
                let _ = peer.add_remote_candidate(candidate);
            }
        }
        let answer = offer
            .answer(&answers, &self.local())
            .map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        lock(&self.state).mids = offer.accepted();
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
                _ if descriptions.answered => {
                    return Err(Error::new(
                        Code::SdpAnswerProcessed,
                        "Sdp Answer already processed",
                    ));
                }
                _ => {
                    let message = "Offer not generated. It is not possible to process an answer.";
                    return Err(Error::new(Code::SdpNoOffer, message));
                }
            }
        };
        let answer =
            RemoteAnswer::parse(&text, &offered).map_err(|e| sdp_error(&e, Code::SdpProcessAnswer))?;
        let peer = self.peer().await?;
        let done = peer.process_answer(answer.sdp).await;
        done.map_err(|e| negotiation_error(e, Code::SdpProcessAnswer))?;
        let early = std::mem::take(&mut lock(&self.state).early);
        for candidate in answer
            .candidates
            .iter()
            .chain(early.iter().map(|(candidate, _)| candidate))
        {
            let _ = peer.add_remote_candidate(candidate);
        }
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

    /// What follows a negotiation: codecs are known, and what is connected without a common one is told so.
    async fn negotiated(&self, first: bool) {
        if let Some(peer) = self.peer.get() {
            for (index, kind) in [Kind::Audio, Kind::Video].into_iter().enumerate() {
                let codecs = peer.codecs(kind).await;
                lock(&self.state).codecs[index] = Some(codecs);
            }
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

    fn raise_error(&self, description: &str, code: Code) {
        self.core().raise(&ErrorEvent {
            description: description.to_owned(),
            error_code: code.number(),
            error_type: code.name().to_owned(),
        });
    }

    /// Begins to gather candidates.
    pub(super) async fn gather_candidates(&self) -> Result<(), Error> {
        let settings = lock(&self.settings).gather.clone();
        self.peer().await?.gather(settings);
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
            state
                .early
                .push((candidate.candidate.clone(), candidate.sdp_mid.clone()));
            return Ok(());
        }
        let of_mline = |(index, mid): &(usize, String)| {
            *mid == candidate.sdp_mid || usize::try_from(candidate.sdp_m_line_index) == Ok(*index)
        };
        if !lock(&self.state).mids.iter().any(of_mline) {
            return Err(refuse());
        }
        if let Some(peer) = self.peer.get()
            && let Err(error) = peer.add_remote_candidate(&candidate.candidate)
        {
            // Kurento takes anything here, and clients pass on what browsers of tomorrow send.
            tracing::debug!(endpoint = self.core().id(), %error, "candidate is left out");
        }
        Ok(())
    }

    /// The peer, once something has needed it.
    pub(super) fn existing_peer(&self) -> Option<&Peer> {
        self.peer.get()
    }

    /// The settings, to be read.
    pub(super) fn setting<R>(&self, read: impl FnOnce(&Settings) -> R) -> R {
        read(&lock(&self.settings))
    }

    /// The settings, to be changed.
    pub(super) fn change_setting(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
    }

    /// The pair in use.
    pub(super) fn pairs(&self) -> Vec<IceCandidatePair> {
        lock(&self.state)
            .pair
            .clone()
            .map(candidate_pair)
            .into_iter()
            .collect()
    }

    /// State of ICE, once it was used.
    pub(super) fn ice_connections(&self) -> Vec<IceConnection> {
        let state = lock(&self.state).ice;
        let used = state != IceState::Disconnected || self.peer.get().is_some();
        let connection = IceConnection {
            stream_id: STREAM.to_string(),
            component_id: COMPONENT,
            state: ice_state(state),
        };
        used.then_some(connection).into_iter().collect()
    }

    /// State of DTLS, once it was used.
    pub(super) fn dtls_connections(&self) -> Vec<DtlsConnection> {
        let Some(state) = lock(&self.state).dtls else {
            return Vec::new();
        };
        let connection = |component: &str| DtlsConnection {
            stream_id: STREAM.to_string(),
            component_id: component.to_owned(),
            connection_id: DTLS_CONNECTION.to_owned(),
            state: dtls_state(state),
        };
        vec![connection(DTLS_RECEIVES), connection(DTLS_SENDS)]
    }

    /// Handles an event of the transport; on the pump's thread.
    pub(super) fn handle(&self, event: PeerEvent) {
        match event {
            PeerEvent::CandidateFound(line) => self.candidate_found(line),
            PeerEvent::GatheringDone => self.core().raise(&IceGatheringDone {}),
            PeerEvent::Ice(state) => self.ice_changed(state),
            PeerEvent::Dtls(state) => self.dtls_changed(state),
            PeerEvent::PairSelected { local, remote } => {
                lock(&self.state).pair = Some((local.clone(), remote.clone()));
                self.core().raise(&NewCandidatePairSelected {
                    candidate_pair: candidate_pair((local, remote)),
                });
            }
            PeerEvent::Receiving(kind, receiving) => self.element.set_producing(media_type(kind), receiving),
            PeerEvent::MediaConnected(connected) => self.media_changed(connected),
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
            PeerEvent::Error(message) => self.raise_error(&message, Code::Unexpected),
        }
    }

    fn candidate_found(&self, line: String) {
        let mids = {
            let mut state = lock(&self.state);
            state.candidates.push(line.clone());
            state.mids.clone()
        };
        for (index, mid) in mids {
            let candidate = IceCandidate {
                candidate: line.clone(),
                sdp_mid: mid,
                sdp_m_line_index: i32::try_from(index).unwrap_or(0),
            };
            self.core().raise(&IceCandidateFound { candidate });
        }
    }

    fn ice_changed(&self, ice: IceState) {
        lock(&self.state).ice = ice;
        let state = ice_state(ice);
        self.core().raise(&IceComponentStateChanged {
            stream_id: STREAM,
            component_id: COMPONENT,
            state,
        });
        if matches!(ice, IceState::Disconnected | IceState::Failed) {
            self.connection_changed(false);
        } else if ice == IceState::Ready {
            let connected = lock(&self.state).dtls == Some(DtlsState::Connected);
            self.connection_changed(connected);
        }
    }

    fn dtls_changed(&self, dtls: DtlsState) {
        lock(&self.state).dtls = Some(dtls);
        match dtls {
            DtlsState::Connected => self.connection_changed(true),
            DtlsState::Closed | DtlsState::Failed => self.connection_changed(false),
            DtlsState::New | DtlsState::Connecting => {}
        }
        let components: &[&str] = if dtls == DtlsState::New {
            &[DTLS_SENDS]
        } else {
            &[DTLS_RECEIVES, DTLS_SENDS]
        };
        for component in components {
            self.core().raise(&DtlsConnectionStateChange {
                stream_id: STREAM.to_string(),
                component_id: (*component).to_owned(),
                connection_id: DTLS_CONNECTION.to_owned(),
                state: dtls_state(dtls),
            });
        }
    }

    fn connection_changed(&self, connected: bool) {
        {
            let mut state = lock(&self.state);
            if state.connected == connected {
                return;
            }
            state.connected = connected;
            state.ever_connected |= connected;
        }
        let state = |up| {
            if up {
                ConnectionState::Connected
            } else {
                ConnectionState::Disconnected
            }
        };
        self.core().raise(&ConnectionStateChanged {
            old_state: state(!connected),
            new_state: state(connected),
        });
    }

    fn media_changed(&self, connected: bool) {
        lock(&self.state).media = connected;
        let state = |up| {
            if up {
                MediaState::Connected
            } else {
                MediaState::Disconnected
            }
        };
        self.core().raise(&MediaStateChanged {
            old_state: state(!connected),
            new_state: state(connected),
        });
    }
}

/// Names Kurento gives to the two directions of DTLS; clients tell the transport from data by them.
const DTLS_SENDS: &str = "[bundle/dtlssrtpenc]";
const DTLS_RECEIVES: &str = "[bundle/dtlssrtpdec]";
const DTLS_CONNECTION: &str = "dtlssrtpenc-dtlssrtpdec-1-1";

/// Hears a peer's events on its worker's thread and passes them on at once.
struct Listener {
    endpoint: Weak<WebRtcEndpoint>,
    pump: super::class::EventPump,
}

impl PeerEvents for Listener {
    fn on_event(&self, event: PeerEvent) {
        self.pump.send(self.endpoint.clone(), event);
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
        if let Some(peer) = self.peer.get() {
            self.core().raise(&MediaSessionTerminated {});
            peer.close();
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

    fn fed_by(&self, media: MediaType, source: Option<&Arc<dyn Element>>) {
        let source = source.and_then(|s| s.clone().into_any().downcast::<WebRtcEndpoint>().ok());
        let (index, kind) = match media {
            MediaType::Audio => (0, Kind::Audio),
            MediaType::Video => (1, Kind::Video),
            MediaType::Data => (2, Kind::Data),
        };
        lock(&self.sources)[index] = source.as_ref().map(Arc::downgrade);
        if let Some(peer) = self.peer.get() {
            self.shared
                .engine
                .set_source(peer, kind, source.as_ref().and_then(|s| s.peer.get()));
        }
    }

    fn stats(&self, media: Option<MediaType>) -> Pin<Box<dyn Future<Output = StatsMap> + Send>> {
        let peer = self.peer.get().cloned();
        let connected = lock(&self.state).ever_connected;
        Box::pin(async move {
            let Some(peer) = peer.filter(|_| connected) else {
                return StatsMap::new();
            };
            peer.stats()
                .await
                .map(|stats| stats_map(&stats, media))
                .unwrap_or_default()
        })
    }

    fn is_endpoint(&self) -> bool {
        true
    }

    fn dot_parameters(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let codecs = |index: usize| state.codecs[index].clone().unwrap_or_default().join(" ");
        vec![
            ("ice".into(), ice_state(state.ice).as_str().into()),
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
        lock(&self.descriptions)
            .local
            .clone()
            .ok_or_else(|| Error::new(Code::SdpNoLocal, "No local SDP"))
    }
    fn remote_description(&self) -> Result<String, Error> {
        lock(&self.descriptions)
            .remote
            .clone()
            .ok_or_else(|| Error::new(Code::SdpNoRemote, "No remote SDP"))
    }
    fn bandwidths(&self) -> Bandwidths {
        lock(&self.settings).bandwidths
    }
    fn change_bandwidths(&self, change: &dyn Fn(&mut Bandwidths)) -> Result<(), Error> {
        {
            let mut settings = lock(&self.settings);
            let before = settings.bandwidths;
            let mut changed = before;
            change(&mut changed);
            let values = [
                changed.max_audio_recv,
                changed.max_video_recv,
                changed.min_video_recv,
                changed.min_video_send,
                changed.max_video_send,
            ];
            if values.iter().any(|v| *v < 0) {
                return Err(Error::new(
                    Code::IllegalParam,
                    "A bandwidth is 0 (no limit) or more, in kbit/s",
                ));
            }
            settings.max_video_send_set |= changed.max_video_send != before.max_video_send;
            settings.bandwidths = changed;
        }
        if let Some(peer) = self.peer.get() {
            peer.set_limits(self.limits());
        }
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
        if !(576..=1500).contains(&mtu) {
            return Err(Error::new(
                Code::IllegalParam,
                format!("mtu is {mtu}, but 576 to 1500 bytes are possible"),
            ));
        }
        self.change_setting(|s| s.mtu = mtu);
        Ok(())
    }
    fn remb_params(&self) -> RembParams {
        lock(&self.settings).remb.clone().unwrap_or(RembParams {
            packets_recv_interval_top: None,
            exponential_factor: None,
            lineal_factor_min: None,
            lineal_factor_grade: None,
            decrement_factor: None,
            threshold_factor: None,
            up_losses: None,
            remb_on_connect: None,
        })
    }
    fn set_remb_params(&self, params: RembParams) {
        self.change_setting(|s| s.remb = Some(params));
    }
    fn request_keyframe(&self) {
        if let Some(peer) = self.peer.get() {
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

fn already_negotiated() -> Error {
    Error::new(Code::SdpAlreadyNegotiated, "Endpoint already negotiated")
}

fn unexpected(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "an endpoint's transport can't be made");
    Error::new(
        Code::Unexpected,
        "The transport can't be made; the server's log has more",
    )
}

fn sdp_error(error: &SdpError, code: Code) -> Error {
    match error {
        SdpError::Parse(_) => Error::new(Code::SdpParse, error.to_string()),
        SdpError::Unacceptable(_) => Error::new(code, error.to_string()),
    }
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

fn candidate_pair((local_candidate, remote_candidate): (String, String)) -> IceCandidatePair {
    IceCandidatePair {
        stream_id: STREAM.to_string(),
        component_id: COMPONENT,
        local_candidate,
        remote_candidate,
    }
}
