//! `WebRtcEndpoint`: one browser, or any other WebRTC peer.

mod events;
mod media;
mod negotiation;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use kms_core::element::StatsMap;
use kms_core::events::MediaSessionTerminated;
use kms_core::media::Source;
use kms_core::object::lock;
use kms_core::objects::MediaPipeline;
use kms_core::types::{ConnectionState, MediaState, MediaType};
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};
use tokio::sync::Mutex as AsyncMutex;

use self::events::{dtls_state, ice_state};
use self::media::TapWishes;
use super::api::{self, DtlsState, GatherSettings, IceState, Kind, Limits, PeerEvent, PeerEvents};
use super::certificate::Certificates;
use super::engine::{Engine, Peer};
use super::sdp::{AcceptedLine, LocalDescription, RemoteAnswer, RemoteOffer};
use super::statistics::stats_map;
use super::tapped::Tapped;
use super::types::{
    CertificateKeyType, DtlsConnection, IceCandidate, IceCandidatePair, IceConnection, OfferOptions,
};
use crate::packets::{Packetiser, Workshop};
use crate::rtp_session::{RtpSession, RtpSettings, described};

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
    pub(super) workshop: Arc<Workshop>,
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
    rtp: Mutex<RtpSettings>,
    descriptions: Mutex<Descriptions>,
    /// Changed by the transport's events, read by operations.
    state: Mutex<State>,
    /// The endpoints that feed this one, kept for when the peer is made and for when their codecs have to be converted.
    sources: Mutex<[Option<Weak<WebRtcEndpoint>>; 3]>,
    /// What makes packets of media that does not come as the remote's packets, audio and video.
    packetisers: Mutex<[Option<Arc<Packetiser>>; 2]>,
    /// What makes media of received packets, audio and video: made when somebody wants more than the packets.
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
            }),
            rtp: RtpSettings::new(mtu),
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

    fn limits(&self) -> Limits {
        let settings = lock(&self.rtp);
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

    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        let kind = kind_of(media)?;
        let depacketiser = self.depacketisers[place(kind)].get_or_init(|| {
            let wishes = Arc::new(TapWishes {
                endpoint: self.this.clone(),
                pump: self.shared.pump.clone(),
            });
            let timeline = &self.shared.workshop.timeline;
            Tapped::new(
                timeline,
                self.element.new_source(timeline, "webrtc", media),
                wishes,
            )
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
    fn settings(&self) -> &Mutex<RtpSettings> {
        &self.rtp
    }
    fn bandwidths_changed(&self) {
        self.peers().for_each(|peer| peer.set_limits(self.limits()));
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

fn media_type(kind: Kind) -> MediaType {
    match kind {
        Kind::Audio => MediaType::Audio,
        Kind::Video => MediaType::Video,
        Kind::Data => MediaType::Data,
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
