//! The boundary between the `WebRtcEndpoint` class and the transport engine that carries its media.
//!
//! The endpoint (control plane, async) holds a [`Peer`](super::engine::Peer) handle and never touches a socket.
//! The engine (a few OS threads) owns sockets, ICE, DTLS, SRTP and forwarding, and knows nothing of the protocol,
//! of sessions or of object ids. What passes between them is written down here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What a track carries. Data channels are switched like tracks, so they are a kind too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Audio track.
    Audio,
    /// Video track.
    Video,
    /// Data channels.
    Data,
}

/// Process-wide settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Number of worker threads, 1 or more. The endpoints of one pipeline share a worker.
    pub workers: usize,
    /// First UDP port to bind, inclusive. 0: any free port.
    pub min_port: u16,
    /// Last UDP port to bind, inclusive. 0: any free port.
    pub max_port: u16,
    /// One UDP port shared by all endpoints of a worker (worker `i` binds `shared_port + i`) instead of one port an endpoint.
    pub shared_port: Option<u16>,
    /// TCP port on which ICE-TCP connections of all endpoints are accepted (RFC 6544, passive). `Some(0)`: any free port.
    /// `None`: no ICE-TCP.
    pub ice_tcp_port: Option<u16>,
    /// Whether bandwidth is estimated from transport-wide feedback for outgoing video.
    pub bandwidth_estimation: BandwidthEstimation,
}

/// When to run the (costly) sender-side bandwidth estimation for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandwidthEstimation {
    /// Only for peers negotiated while their pipeline has a simulcast source, where layers can be adapted.
    Auto,
    /// For every peer that negotiates transport-wide congestion control.
    Always,
    /// Never: layers follow REMB and receiver reports alone.
    Never,
}

/// A TURN server (RFC 8656).
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// Address of the server.
    pub address: SocketAddr,
    /// Transport between this process and the server.
    pub transport: TurnTransport,
    /// Long-term credential: user name.
    pub username: String,
    /// Long-term credential: password. Never logged.
    pub password: String,
}

impl std::fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TurnServer({} {:?} {}:***)",
            self.address, self.transport, self.username
        )
    }
}

/// As Kurento writes it, without the password: `user:***@address:port?transport=udp`.
impl std::fmt::Display for TurnServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transport = match self.transport {
            TurnTransport::Udp => "udp",
            TurnTransport::Tcp => "tcp",
        };
        write!(f, "{}:***@{}?transport={transport}", self.username, self.address)
    }
}

/// Why a text is no TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TurnServerError {
    /// TLS was asked for.
    #[error("TURN over TLS isn't supported yet")]
    Tls,
    /// The transport is unknown.
    #[error("the transport is none of udp, tcp")]
    Transport,
    /// No credentials before the address.
    #[error("there is no @")]
    NoCredentials,
    /// No password.
    #[error("there is no : between user and password")]
    NoPassword,
    /// An empty user name or password.
    #[error("user or password is empty")]
    EmptyCredentials,
    /// Not an address.
    #[error("after the @ stands no IP address and port")]
    Address,
}

/// Reads `user:password@address:port`, with `?transport=udp` (default) or `?transport=tcp`.
impl std::str::FromStr for TurnServer {
    type Err = TurnServerError;

    fn from_str(text: &str) -> Result<TurnServer, TurnServerError> {
        let (rest, transport) = match text.split_once("?transport=") {
            None | Some((_, "udp")) => (
                text.split("?transport=").next().unwrap_or(text),
                TurnTransport::Udp,
            ),
            Some((rest, "tcp")) => (rest, TurnTransport::Tcp),
            Some((_, "tls")) => return Err(TurnServerError::Tls),
            Some(_) => return Err(TurnServerError::Transport),
        };
        // Split as Kurento's expression does, `^(?<user>.+):(?<password>.+)@…`, whose user takes as much as it can:
        // user names of temporary credentials hold a colon ("1700000000:alice").
        let (credentials, address) = rest.rsplit_once('@').ok_or(TurnServerError::NoCredentials)?;
        let (username, password) = credentials.rsplit_once(':').ok_or(TurnServerError::NoPassword)?;
        if username.is_empty() || password.is_empty() {
            return Err(TurnServerError::EmptyCredentials);
        }
        Ok(TurnServer {
            address: address.parse().map_err(|_| TurnServerError::Address)?,
            transport,
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Transport to a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// What candidates to gather, read when gathering starts.
#[derive(Debug, Clone, Default)]
pub struct GatherSettings {
    /// Names of the network interfaces to use. Empty: all that are up, without loopback unless it is the only one.
    pub network_interfaces: Vec<String>,
    /// Address to announce in place of the host's IPv4 addresses (static NAT).
    pub external_ipv4: Option<Ipv4Addr>,
    /// Address to announce in place of the host's IPv6 addresses.
    pub external_ipv6: Option<Ipv6Addr>,
    /// Whether to offer ICE-TCP candidates.
    pub ice_tcp: bool,
    /// STUN server for server-reflexive candidates.
    pub stun_server: Option<SocketAddr>,
    /// TURN server for relayed candidates.
    pub turn_server: Option<TurnServer>,
}

/// A DTLS identity: the certificate and its private key, DER.
#[derive(Clone)]
pub struct Certificate {
    /// X.509 certificate, DER.
    pub certificate: Vec<u8>,
    /// PKCS#8 private key, DER. Never logged.
    pub private_key: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(***)")
    }
}

/// What stays the same for the life of a peer.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// DTLS identity.
    pub certificate: Arc<Certificate>,
    /// Whether data channels may be negotiated.
    pub data_channels: bool,
    /// Only receives from the remote (`recvonly` endpoint).
    pub recvonly: bool,
    /// Only sends to the remote (`sendonly` endpoint).
    pub sendonly: bool,
    /// DSCP value (0 to 63) for outgoing packets, or the system's default.
    pub dscp: Option<u8>,
}

/// Limits that may change while media flows. Bits a second, 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest UDP payload to send, bytes. Range 576 to 1500, default 1200.
    pub mtu: usize,
    /// What the remote is told (REMB, `b=AS`) it may send of video at least.
    pub min_video_recv: u64,
    /// What the remote is told it may send of video at most.
    pub max_video_recv: u64,
    /// What the remote is told it may send of audio at most.
    pub max_audio_recv: u64,
    /// Least video bitrate assumed for the remote when choosing layers.
    pub min_video_send: u64,
    /// Most video bitrate sent to the remote: bounds the layer chosen.
    pub max_video_send: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            mtu: 1200,
            min_video_recv: 0,
            max_video_recv: 0,
            max_audio_recv: 0,
            min_video_send: 0,
            max_video_send: 0,
        }
    }
}

/// `OfferOptions` of `generateOffer`, and what the first offer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferOptions {
    /// Offer an audio m-line that can receive.
    pub receive_audio: bool,
    /// Offer a video m-line that can receive.
    pub receive_video: bool,
    /// Ask for new ICE credentials.
    pub ice_restart: bool,
}

/// How negotiation can fail.
#[derive(Debug, thiserror::Error)]
pub enum NegotiationError {
    /// Not SDP at all.
    #[error("Invalid SDP: {0}")]
    Parse(String),
    /// SDP, but not acceptable as an offer.
    #[error("Offer can't be accepted: {0}")]
    Offer(String),
    /// SDP, but not acceptable as the answer to the pending offer.
    #[error("Answer can't be accepted: {0}")]
    Answer(String),
    /// An answer arrived but no offer is pending.
    #[error("No offer is pending")]
    NoOfferPending,
    /// The peer or its worker is gone.
    #[error("The transport is closed")]
    Closed,
    /// No port could be bound.
    #[error("No free port: {0}")]
    NoPort(String),
}

/// State of the ICE transport, as `IceComponentState` of the Kurento API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceState {
    /// Nothing happened yet, or the pair in use was lost.
    Disconnected,
    /// Candidates are being gathered.
    Gathering,
    /// Pairs are being checked.
    Connecting,
    /// A pair works.
    Connected,
    /// Checking is over, a pair is nominated.
    Ready,
    /// No pair works.
    Failed,
}

/// State of the DTLS transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsState {
    /// Created.
    New,
    /// Handshake runs.
    Connecting,
    /// Handshake done, media can flow.
    Connected,
    /// Closed in an orderly way.
    Closed,
    /// Handshake or verification failed.
    Failed,
}

/// What a peer reports, in the order it happens. Delivered on the worker's thread: handle quickly, never block.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// A local candidate: the value of `a=candidate`, "candidate:..." without "a=".
    CandidateFound(String),
    /// All candidates were found.
    GatheringDone,
    /// ICE moved on.
    Ice(IceState),
    /// DTLS moved on.
    Dtls(DtlsState),
    /// A candidate pair was selected: local and remote "candidate:..." lines.
    PairSelected {
        /// Local candidate line.
        local: String,
        /// Remote candidate line.
        remote: String,
    },
    /// Media of this kind began (true) or stopped (false, after 2 s of silence) to arrive from the remote.
    Receiving(Kind, bool),
    /// Anything at all is received and decrypted from the remote (true), or has stopped for 2 s (false).
    MediaConnected(bool),
    /// A data channel opened; SCTP stream id.
    DataChannelOpened(u16),
    /// A data channel closed; SCTP stream id.
    DataChannelClosed(u16),
    /// Media arrives from the connected source in a codec that was not negotiated with this remote: nothing is sent.
    /// Reported once per change.
    CodecUnsupported {
        /// Kind of the track.
        kind: Kind,
        /// Codec the source sends, e.g. "VP8".
        codec: String,
    },
    /// Packets of this codec are received for a tap that is not prepared for it.
    TapCodec(Kind, &'static str),
    /// Somebody in this process needs a keyframe of what is received.
    TapKeyframe,
    /// The remote needs a keyframe of the video that a feed gives it.
    KeyframeWanted,
    /// Something failed for good; the text is for people.
    Error(String),
}

/// Receiver of a peer's events.
pub trait PeerEvents: Send + Sync {
    /// Called on the worker's thread.
    fn on_event(&self, event: PeerEvent);
}

/// One RTP stream's counters. Names follow the W3C webrtc-stats document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamStats {
    /// Kind, audio or video.
    pub kind: Option<Kind>,
    /// SSRC.
    pub ssrc: u32,
    /// Simulcast layer, if any.
    pub rid: Option<String>,
    /// Codec in use, e.g. "VP8".
    pub codec: Option<String>,
    /// RTP packets received or sent.
    pub packets: u64,
    /// Payload bytes received or sent.
    pub bytes: u64,
    /// Packets that end a picture; of sound it says nothing.
    pub frames: u64,
    /// Packets lost, cumulative.
    pub packets_lost: i64,
    /// Fraction lost, 0 to 1, last report.
    pub fraction_lost: f64,
    /// Interarrival jitter, seconds (inbound).
    pub jitter: f64,
    /// Round trip time, seconds (outbound).
    pub round_trip_time: f64,
    /// FIRs sent (inbound) or received (outbound).
    pub fir_count: u64,
    /// PLIs sent (inbound) or received (outbound).
    pub pli_count: u64,
    /// NACKs sent (inbound) or received (outbound).
    pub nack_count: u64,
    /// Last REMB sent (inbound) or received (outbound), bits a second.
    pub remb: u64,
    /// Estimated available bitrate towards the remote, bits a second (outbound).
    pub target_bitrate: f64,
}

/// State of a data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelState {
    /// It is being opened.
    #[default]
    Connecting,
    /// Messages can be sent.
    Open,
    /// It was closed.
    Closed,
}

/// One data channel's counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataChannelStats {
    /// SCTP stream id.
    pub id: u16,
    /// Label.
    pub label: String,
    /// Sub-protocol.
    pub protocol: String,
    /// How far it is opened or closed.
    pub state: ChannelState,
    /// Messages sent.
    pub messages_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

/// A snapshot of a peer's counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerStats {
    /// Streams received from the remote.
    pub inbound: Vec<StreamStats>,
    /// Streams sent to the remote.
    pub outbound: Vec<StreamStats>,
    /// Data channels, open or closed since the start.
    pub data_channels: Vec<DataChannelStats>,
    /// Data channels opened since the start.
    pub data_channels_opened: u64,
    /// Data channels closed since the start.
    pub data_channels_closed: u64,
    /// Bytes received on the transport.
    pub bytes_received: u64,
    /// Bytes sent on the transport.
    pub bytes_sent: u64,
}

/// Parameters of `createDataChannel` (W3C `RTCDataChannelInit`).
#[derive(Debug, Clone, Default)]
pub struct DataChannelOptions {
    /// Label.
    pub label: String,
    /// Sub-protocol.
    pub protocol: String,
    /// In-order delivery.
    pub ordered: bool,
    /// Give up a message after this many milliseconds.
    pub max_packet_life_time: Option<u16>,
    /// Give up a message after this many retransmissions.
    pub max_retransmits: Option<u16>,
}
