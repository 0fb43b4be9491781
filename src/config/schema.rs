//! Every section and key, written once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use kms_elements::webrtc::api::BandwidthEstimation;
use toml::de::DeValue;

use super::setting::{
    BaseUrl, Bounds, Console, Directories, Interfaces, LogFilter, LogFormat, Names, Networks, Origins,
    Secret, Setting, SigningSecret, Tokens, UrlPath,
};
use super::turn_url::TurnUrl;

/// A table of the file.
pub(super) struct Section {
    /// Name in the file, `[name]`.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) doc: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

impl Section {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What the names of this section's variables begin with.
    pub(super) fn variable_prefix(&self) -> String {
        format!("KMS_{}_", self.name.to_uppercase())
    }
}

/// All that is known of a key, beside its field in the struct.
pub(super) struct Key {
    /// Name in the file and of the field.
    pub(super) name: &'static str,
    /// Meaning, default's reason, consequence, source: the doc comment of the field.
    pub(super) doc: &'static str,
    /// What values look like: "integer from 576 to 1500, bytes".
    pub(super) expected: fn() -> String,
    /// The variable of Kurento's Docker image that sets it too.
    pub(super) kurento_variable: Option<&'static str>,
    /// Sets it from a value of the file.
    pub(super) set_toml: fn(&mut Config, &DeValue<'_>) -> Result<(), String>,
    /// Sets it from a variable.
    pub(super) set_text: fn(&mut Config, &str) -> Result<(), String>,
    /// Its value as TOML, without secrets.
    pub(super) get: fn(&Config) -> String,
}

impl Key {
    /// The environment variables that set it, strongest first.
    pub(super) fn variables(&self, section: &Section) -> Vec<String> {
        let name = section.variable_prefix() + &self.name.to_uppercase();
        [Some(name), self.kurento_variable.map(str::to_owned)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Takes each section and key once, and gives the structs, their defaults and the table [`SECTIONS`].
///
/// A key is `/// doc`, `#[range(a..=b)]` (numbers), `#[unit("bytes")]`, `#[kurento("KMS_MTU")]`, `name: Type = default`.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[range($range:expr)])?
                $(#[unit($unit:literal)])?
                $(#[kurento($kurento:literal)])?
                $key:ident: $Type:ty = $default:expr,
            )+
        }
    )+) => {
        /// The whole configuration; see `docs/configuration.md` for the same as a table.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub(crate) struct Config {
            $(
                $(#[doc = $section_doc])+
                pub(crate) $section: $Section,
            )+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub(crate) struct $Section {
                $(
                    $(#[doc = $doc])+
                    pub(crate) $key: $Type,
                )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    $Section { $($key: $default),+ }
                }
            }
        )+

        /// Every section and key, in the order of the file.
        pub(super) static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                doc: concat!($($section_doc, "\n"),+),
                keys: &[$(
                    Key {
                        name: stringify!($key),
                        doc: concat!($($doc, "\n"),+),
                        expected: || bounds!($($range)?; $($unit)?).expected::<$Type>(),
                        kurento_variable: optional!($($kurento)?),
                        set_toml: |config, value| {
                            config.$section.$key = bounds!($($range)?; $($unit)?).parse_toml(value)?;
                            Ok(())
                        },
                        set_text: |config, text| {
                            config.$section.$key = bounds!($($range)?; $($unit)?).parse(text)?;
                            Ok(())
                        },
                        get: |config| config.$section.$key.to_toml(),
                    },
                )+],
            },
        )+];
    };
}

/// `Some` of what a key gave, or `None`.
macro_rules! optional {
    () => {
        None
    };
    ($given:expr) => {
        Some($given)
    };
}

macro_rules! bounds {
    ($($range:expr)?; $($unit:literal)?) => {
        Bounds { range: optional!($($range)?), unit: optional!($($unit)?) }
    };
}

sections! {
    /// The websocket that application servers connect to.
    server: Server {
        /// Address and port to listen on, for the Kurento Protocol, health and metrics.
        ///
        /// The default is reachable from this machine alone, and asks nobody for a token. On any other address the daemon starts only if
        /// [access](#access) asks for one, or says that nobody needs one. Kurento listens on all addresses at the same port.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8888)),

        /// PEM file with a certificate and those that vouch for it, the server's own first: clients then connect to `wss://` and `https://`
        /// alone. Needs `tls_private_key`. Both files are read again within 10 s when they change, and on SIGHUP: connections stay, new ones
        /// get the new certificate. If what they hold can't be used, the old one stays, with an error in the log.
        tls_certificate: Option<PathBuf> = None,

        /// PEM file with the private key of `tls_certificate`.
        tls_private_key: Option<PathBuf> = None,

        /// How long pipelines may go on after SIGTERM: no new ones are taken (error 40009, and `/readyz` answers 503), and those that run may be ended by their
        /// clients. Once all have ended, or after this time, or at a second SIGTERM, the daemon ends. Under systemd `TimeoutStopSec` has to be
        /// longer. 0: at once. `ServerManager.drain` does the same.
        #[range(0..=86_400)] #[unit("seconds")]
        drain_s: u64 = 0,

        /// Path of the websocket's URL, `ws://host:port/kurento`. Kurento's clients use this one.
        path: UrlPath = UrlPath::default(),

        /// Largest message a client may send; the connection is closed (1009, RFC 6455) on a larger one.
        ///
        /// The largest requests are session descriptions, some tens of kilobytes. A connection can make the daemon
        /// hold this much memory.
        #[range(65_536..=67_108_864)] #[unit("bytes")]
        max_message_bytes: usize = 4 * 1024 * 1024,

        /// Answers and events that may wait for one client that reads slowly. When there are more, its connection is
        /// closed, with a log line and a metric; its session stays until it is collected, so it can reconnect.
        #[range(16..=1_048_576)] #[unit("messages")]
        event_queue_messages: usize = 4096,

        /// As `event_queue_messages`, but their size together. It bounds the memory a client that stopped reading costs.
        #[range(1_048_576..=1_073_741_824)] #[unit("bytes")]
        event_queue_bytes: usize = 4 * 1024 * 1024,

        /// Websocket connections open at once; further ones are refused with HTTP status 503. Each takes a file descriptor.
        #[range(1..=1_000_000)] #[unit("connections")]
        max_connections: usize = 4096,
    }

    /// Who may open a websocket. Who has one of `tokens` is the operator, and so is everybody where no token is asked for: the operator sees and touches
    /// all sessions and objects. Who has a signed token is a tenant: it sees and touches its own alone, every id of another's answers
    /// as unknown, and more is denied to it ([network](#network), [files](#files), `filters.gstreamer_elements`).
    access: Access {
        /// Tokens: who has one of them may enter, as the operator. A client sends it in the query of the websocket's URL,
        /// `ws://host:port/kurento?access_token=...`, as Kurento's clients can, or in a header `Authorization: Bearer ...`. Others are refused
        /// with 401, a second later. Never printed. Make one with `openssl rand -hex 32`.
        tokens: Tokens = Tokens::default(),

        /// The secret that signed tokens (JWT, RFC 7519) are signed with, HS256. At least 32 bytes; never printed.
        ///
        /// A signed token is sent as the others are. It must say when it expires (`exp`) and whose it is (`jwt_tenant_claim`); 60 s of
        /// difference between clocks are allowed. Its connection is closed (1008, RFC 6455) when it expires: the session stays, for who comes
        /// back with a new token.
        jwt_secret: Option<SigningSecret> = None,

        /// PEM file with the public keys of who signs tokens: RSA for RS256, P-256 for ES256. With several, one after the other, keys can
        /// be changed without a break.
        jwt_public_keys: Option<PathBuf> = None,

        /// The claim of a signed token that names its tenant: 1 to 64 letters, digits, `.`, `_` and `-`. A token without it is refused.
        jwt_tenant_claim: String = "tenant".to_owned(),

        /// What a signed token must say of who made it (`iss`). Empty: anything.
        jwt_issuer: Option<String> = None,

        /// Whom a signed token must be meant for (`aud`). Empty: anybody. Set it where the same keys sign tokens for others, too.
        jwt_audience: Option<String> = None,

        /// Whether everybody who can reach the port may enter, as the operator, though it is not of this machine alone. Without this, the
        /// daemon does not start on such an address unless a token is asked for. For machines that something else guards.
        allow_anonymous: bool = false,

        /// Origins of web pages that may connect; others are refused with 403. Browsers send a page's origin, other programs send none and are
        /// not asked for it. Empty: all, so that any page that is open on this machine can reach the default address.
        origins: Origins = Origins::default(),
    }

    /// How much clients may take. What goes beyond is refused with error 40009 (NOT_ENOUGH_RESOURCES), which names the limit; nothing that is there is
    /// harmed. 0: no limit. What one connection sends and leaves unread is bounded under [server](#server).
    limits: Limits {
        /// Sessions at a time, of all clients together.
        #[range(0..=1_000_000)] #[unit("sessions")]
        sessions: usize = 10_000,

        /// Sessions of each tenant at a time.
        #[range(0..=1_000_000)] #[unit("sessions")]
        sessions_per_tenant: usize = 0,

        /// Pipelines at a time, of all clients together.
        #[range(0..=1_000_000)] #[unit("pipelines")]
        pipelines: usize = 10_000,

        /// Pipelines of each tenant at a time.
        #[range(0..=1_000_000)] #[unit("pipelines")]
        pipelines_per_tenant: usize = 0,

        /// Pipelines that were created in each session.
        #[range(0..=1_000_000)] #[unit("pipelines")]
        pipelines_per_session: usize = 0,

        /// Objects at a time, of all classes, pipelines among them.
        #[range(0..=10_000_000)] #[unit("objects")]
        objects: usize = 100_000,

        /// Objects of each tenant at a time.
        #[range(0..=10_000_000)] #[unit("objects")]
        objects_per_tenant: usize = 0,

        /// Objects that were created in each session.
        #[range(0..=10_000_000)] #[unit("objects")]
        objects_per_session: usize = 0,

        /// Subscriptions to events at a time. An object has 10,000 at most, whatever stands here.
        #[range(0..=10_000_000)] #[unit("subscriptions")]
        subscriptions: usize = 1_000_000,

        /// Subscriptions of each tenant at a time.
        #[range(0..=10_000_000)] #[unit("subscriptions")]
        subscriptions_per_tenant: usize = 0,

        /// Subscriptions of each session.
        #[range(0..=10_000_000)] #[unit("subscriptions")]
        subscriptions_per_session: usize = 0,

        /// Websocket connections of each tenant; more are refused with HTTP status 503. All together: `server.max_connections`.
        #[range(0..=1_000_000)] #[unit("connections")]
        connections_per_tenant: usize = 0,

        /// Requests a second of each connection, on average: as many more may come at once. `ping` and what keeps a session alive is let through.
        #[range(0..=1_000_000)] #[unit("requests a second")]
        requests_per_second: usize = 0,

        /// New objects are refused when fewer files could be opened than this, so that what runs can go on.
        #[range(0..=1_000_000)] #[unit("files")]
        min_free_files: usize = 64,

        /// New objects are refused when less memory is available than this, on the machine or in the container (cgroup v2).
        #[range(0..=1_048_576)] #[unit("MiB")]
        min_free_memory_mib: usize = 64,

        /// New objects are refused while the daemon has used more of the machine's CPU than this, over the last two seconds. 100 or 0: no limit.
        #[range(0..=100)] #[unit("percent")]
        max_cpu_percent: usize = 0,
    }

    /// Files that players, recorders, images and models may name, with links followed. What lies elsewhere is refused with error 40107.
    files: Files {
        /// Directories of files that the operator may name, with spaces or commas between them. Empty: all that the daemon itself may read and write.
        roots: Directories = Directories::default(),

        /// Directories of files that tenants may name. `{tenant}` stands for the tenant's name: with `/var/lib/kms/tenants/{tenant}` each
        /// has a directory that the others can't reach. Empty: tenants have no files.
        tenant_roots: Directories = Directories::default(),
    }

    /// Hosts that players, recorders and images may name. Names are looked up, and the addresses that they mean are asked about, whenever they are
    /// connected to; redirections too. What is denied is refused with error 40107, or with an Error event when it shows later. Media
    /// of WebRTC and RTP goes where clients say, and is not asked about.
    network: Network {
        /// Addresses and networks, such as `10.0.0.0/8, 2001:db8::1`, that may be reached, whatever the other keys say.
        allow: Networks = Networks::default(),

        /// Addresses and networks that may not be reached. Where there are any, playlists (HLS, DASH) and cameras over UDP can't be played.
        deny: Networks = Networks::default(),

        /// Addresses and networks that may not be reached on behalf of tenants. The default are those of this machine, and those that clouds tell
        /// machines their secrets at. Add private networks (`10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7`) if tenants have nothing
        /// to look for there.
        tenant_deny: Networks = Networks::of_this_machine(),
    }

    /// Sessions of application servers, and the collection of those that went away.
    session: Session {
        /// Period of the sweep that collects sessions: one not heard of for a whole period is collected at the next
        /// sweep, and with it the objects that no other session holds. So an abandoned object lives one to two periods.
        ///
        /// Any request keeps its session alive, a ping too: clients must send one more often than this. The
        /// default is Kurento's.
        #[range(1..=86_400)] #[unit("seconds")]
        garbage_collector_period_s: u64 = 240,

        /// How long an answer is kept: a request with the same `id` and `sessionId` within this time is given the
        /// same answer and executes nothing, so that a client can safely repeat a request after it reconnected.
        /// 0 keeps none. The default is Kurento's.
        #[range(0..=3600)] #[unit("seconds")]
        request_cache_s: u64 = 20,
    }

    /// Logs, written to standard error.
    log: Log {
        /// What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, for all or by part, such as
        /// `info,kms_elements::webrtc=debug` (the directives of tracing-subscriber's `EnvFilter`).
        /// `debug` and `trace` cost CPU with every packet. Said of all, they are of kms alone: a library is asked for more by its name, as
        /// `tungstenite=trace`, and may then log passwords that come along. What kms logs holds none.
        level: LogFilter = LogFilter::default(),

        /// `text` is for people, `json` for log collectors: one object a line.
        format: LogFormat = LogFormat::Text,
    }

    /// A page to look at live pipelines: `http://host:port/console`. It speaks the Kurento Protocol, changes nothing, and shows who enters what it may
    /// see: the operator everything, a tenant its own.
    console: ConsolePage {
        /// `on`, `off`, or `auto`: on loopback alone. Where tokens are asked for, the page asks for one.
        enabled: Console = Console::Auto,
    }

    /// Traces of requests, for collectors of OpenTelemetry.
    telemetry: Telemetry {
        /// Where spans are sent: the URL of a collector that takes OTLP over HTTP (protobuf), such as `http://127.0.0.1:4318/v1/traces`. A span for each
        /// request tells verb, session, object, operation and outcome; none holds what is sent along. What the collector does not take is
        /// dropped. Empty: none are made.
        traces_url: Option<BaseUrl> = None,

        /// So many of a hundred requests are traced.
        #[range(0..=100)] #[unit("percent")]
        traces_percent: usize = 100,
    }

    /// Files that clients upload to `HttpPostEndpoint`s.
    uploads: Uploads {
        /// What clients reach this server by, for the URLs that they upload to: `https://media.example.org`, with a port or a path if
        /// there is one. A path must be taken off again by the proxy that has it. Empty: `http://`, the address of `server.listen` and its
        /// port; if it listens on all addresses, `webrtc.external_ipv4` or else the first address of the machine that isn't loopback.
        ///
        /// Pages served over https can upload to https alone: put a proxy that speaks TLS in front, let it pass on `/upload/` and
        /// nothing else, and name it here.
        public_url: Option<BaseUrl> = None,

        /// Bytes of media that an MP4 file may hold before its index, as phones and some editors write it. They are kept in memory until
        /// the index comes, for each such upload; files with more are refused. 0 refuses all of them. Files whose index is
        /// at the beginning, fragmented ones, WebM and Matroska play at once, whatever their size.
        #[range(0..=1_073_741_824)] #[unit("bytes")]
        max_unindexed_bytes: u64 = 64 * 1024 * 1024,
    }

    /// WebRTC endpoints. What applies to all of them; several of these are also properties of each endpoint, which
    /// then win for that endpoint.
    webrtc: WebRtc {
        /// First UDP port that endpoints may use. 0: any free port, or 1024 when `max_port` is set.
        /// Open the range in the firewall. An endpoint takes one port.
        #[range(0..=65_535)] #[unit("port")] #[kurento("KMS_MIN_PORT")]
        min_port: u16 = 0,

        /// Last UDP port that endpoints may use. 0: any free port, or 65535 when `min_port` is set.
        /// When all ports of the range are taken, gathering fails with an error to the client.
        #[range(0..=65_535)] #[unit("port")] #[kurento("KMS_MAX_PORT")]
        max_port: u16 = 0,

        /// One UDP port for all endpoints, instead of one each: with `workers` above 1 a port each for them, counted
        /// up from this one. 0: one port an endpoint. It takes fewer file descriptors, firewall openings and about
        /// 10% less CPU. Excludes `min_port` and `max_port`.
        #[range(0..=65_535)] #[unit("port")]
        shared_port: u16 = 0,

        /// Threads that carry media. The endpoints of one pipeline share one of them.
        /// 0: as many as there are CPU cores. More than that only costs.
        #[range(0..=1024)] #[unit("threads")]
        workers: usize = 0,

        /// IP address of a STUN server (RFC 8489), not its name. Empty: none.
        ///
        /// It tells the daemon the address that the outside sees (server-reflexive candidates), which is needed behind a NAT
        /// unless `external_ipv4` or `turn_url` is set.
        #[kurento("KMS_STUN_IP")]
        stun_address: Option<IpAddr> = None,

        /// UDP port of the STUN server. The default is the registered one (RFC 8489).
        #[range(1..=65_535)] #[unit("port")] #[kurento("KMS_STUN_PORT")]
        stun_port: u16 = 3478,

        /// A TURN server (RFC 8656) that relays media when no direct path works, as Kurento writes it:
        /// `user:password@address:port` or `user:password@address:port?transport=tcp`. Empty: none.
        ///
        /// `address` is an IP address. `transport` is how the daemon reaches the server, `udp` (default) or `tcp`;
        /// `tls` is refused, it isn't supported yet. The password may hold no `:`. It is never printed.
        #[kurento("KMS_TURN_URL")]
        turn_url: Option<TurnUrl> = None,

        /// IPv4 address to announce in place of the machine's own ones, for a machine behind a NAT that maps ports
        /// one to one (most clouds). Empty: announce the machine's own. Kurento's `auto` is refused: set the address,
        /// or a STUN server, which finds it out per endpoint.
        #[kurento("KMS_EXTERNAL_IPV4")]
        external_ipv4: Option<Ipv4Addr> = None,

        /// As `external_ipv4`, for IPv6.
        #[kurento("KMS_EXTERNAL_IPV6")]
        external_ipv6: Option<Ipv6Addr> = None,

        /// Names of the network interfaces to use, separated by commas, such as `eth0,wlan0`. Empty: all that are up.
        /// Fewer means fewer candidates and faster connecting, and keeps private networks private.
        #[kurento("KMS_NETWORK_INTERFACES")]
        network_interfaces: Interfaces = Interfaces::default(),

        /// Whether to offer ICE candidates over TCP (RFC 6544) too, for clients whose network blocks UDP.
        /// The default is Kurento's. The variable takes 0 and 1.
        #[kurento("KMS_ICE_TCP")]
        ice_tcp: bool = true,

        /// TCP port that ICE connections come in on, if `ice_tcp` is on: this one for the first worker, the next for the
        /// second, and so on. 0: any free ports.
        /// Set it when a firewall must let it through.
        #[range(0..=65_535)] #[unit("port")]
        ice_tcp_port: u16 = 0,

        /// Largest UDP payload of media that is sent. Lower it when a tunnel or VPN loses large packets; Ethernet
        /// carries 1472. The default is Kurento's.
        #[range(576..=1500)] #[unit("bytes")] #[kurento("KMS_MTU")]
        mtu: usize = 1200,

        /// PEM file with a certificate and its private key, for DTLS with endpoints of certificate type RSA.
        /// Empty: the daemon makes its own at each start. A relative path counts from the working directory.
        #[kurento("KMS_PEM_CERTIFICATE_RSA")]
        pem_certificate_rsa: Option<PathBuf> = None,

        /// As `pem_certificate_rsa`, for endpoints of certificate type ECDSA.
        #[kurento("KMS_PEM_CERTIFICATE_ECDSA")]
        pem_certificate_ecdsa: Option<PathBuf> = None,

        /// When to estimate the bandwidth towards a client from transport-wide feedback: `auto` (only where simulcast
        /// layers can be chosen by it), `always`, or `never` (layers follow REMB and receiver reports alone).
        /// It costs half as much CPU again for each endpoint that sends.
        bandwidth_estimation: BandwidthEstimation = BandwidthEstimation::Auto,
    }

    /// Conversions between codecs.
    media: Media {
        /// Whether to encode in hardware (NVENC, VA-API, V4L2) where there is some that works, which a short trial shows when it is first
        /// needed. An encoder that fails in use is left alone until the server is started again: software goes on.
        hardware_encoders: bool = true,
    }

    /// Models of filters. Paths are of files on this machine; a model that can't be used keeps the server from starting.
    filters: Filters {
        /// A YuNet model (ONNX) that finds faces for `FaceOverlayFilter` and `MosaicFilter`, such as `face_detection_yunet_2023mar.onnx` of
        /// OpenCV's model zoo. Empty: OpenCV's cascades find them, which need no model.
        face_detector_model: Option<PathBuf> = None,

        /// A model (ONNX) that gives a vector for a face, by which `MosaicFilter` recognises who is enrolled. Empty: OpenCV's local binary
        /// patterns compare faces, which need no model.
        face_recognizer_model: Option<PathBuf> = None,

        /// Names of GStreamer's elements that tenants may put into a `GStreamerFilter`, such as `videobalance, videoflip`. Empty: none. The operator may
        /// use all that can't reach files and networks.
        tenant_gstreamer_elements: Names = Names::default(),
    }

    /// What `PlayerEndpoint`s read.
    player: Player {
        /// Whether cameras (`rtsps://`) and servers (`https://`) have to show a certificate for their name that was signed by an authority
        /// this machine knows. Many cameras sign their own: add it to the machine's authorities (`update-ca-certificates`), or set this
        /// to false, and whoever is between here and the camera may look on.
        verify_certificates: bool = true,
    }

    /// Recordings that go to a server: `http(s)://` and `s3://`. Keys that are empty here are taken from the environment, as
    /// Amazon's own tools do: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    recorder: Recorder {
        /// Directory where such recordings are written and wait until they are stored: over outages of their server, and over the end
        /// of this one. It needs room for what is recorded in the longest outage. For its owner alone; one server at a time. Made
        /// when it is needed.
        spool: PathBuf = PathBuf::from("/var/lib/kms/spool"),

        /// URL of an S3 service other than Amazon's, such as `http://127.0.0.1:9000`. Buckets are parts of the path.
        s3_endpoint: Option<String> = None,

        /// Region of the buckets. Amazon's default is `us-east-1`.
        s3_region: Option<String> = None,

        /// Name of the key that buckets are written with.
        s3_access_key_id: Option<String> = None,

        /// That key. Never printed.
        s3_secret_access_key: Option<Secret> = None,
    }
}
