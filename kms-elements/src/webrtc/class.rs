//! The remote class `WebRtcEndpoint`: its constructor, properties, methods and events.

use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};

use kms_core::objects::{MediaPipeline, names};
use kms_core::{Class, ElementCore, Object, Registry};
use protocol::{Code, Error, NoParams, Ref, params};

use super::Defaults;
use super::api::{DataChannelOptions, Kind, PeerEvent, TurnServer};
use super::certificate::{CertificateError, Certificates};
use super::endpoint::{Options, Shared, WebRtcEndpoint};
use super::engine::{DataChannelError, Engine};
use super::types::{
    CertificateKeyType, DSCPValue, DataChannelClosed, DataChannelOpened, DtlsConnectionStateChange,
    IceCandidate, IceCandidateFound, IceComponentStateChanged, IceGatheringDone, NewCandidatePairSelected,
    RTCDataChannelStats, RTCInboundRTPStreamStats, RTCOutboundRTPStreamStats, RTCPeerConnectionStats,
    RTCRTPStreamStats, RTCStats,
};
use crate::packets::Workshop;
use crate::rtp_session::base_rtp_endpoint;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Only to receive from the remote.
        recvonly "recvonly": bool = false,
        /// Only to send to the remote.
        sendonly "sendonly": bool = false,
        /// Whether data channels can be negotiated.
        use_data_channels "useDataChannels": bool = false,
        /// Kind of key of the DTLS certificate.
        certificate_key_type "certificateKeyType": CertificateKeyType = CertificateKeyType::Rsa,
        /// Differentiated services code point of outgoing packets.
        qos_dscp "qosDscp": DSCPValue = DSCPValue::NoValue,
    }

    /// Parameters of `addIceCandidate`.
    pub struct AddIceCandidate {
        /// The remote's candidate.
        candidate "candidate": IceCandidate,
    }

    /// Parameters of `createDataChannel`.
    pub struct CreateDataChannel {
        /// Label.
        label "label": String = "",
        /// Whether messages arrive in order.
        ordered "ordered": bool = true,
        /// Give up a message after this many milliseconds, 0 to 65535; -1: never.
        max_packet_life_time "maxPacketLifeTime": i32 = -1,
        /// Give up a message after this many retransmissions, 0 to 65535; -1: never.
        max_retransmits "maxRetransmits": i32 = -1,
        /// Sub-protocol.
        protocol "protocol": String = "",
    }

    /// Parameters of `closeDataChannel`.
    pub struct CloseDataChannel {
        /// SCTP stream id.
        channel_id "channelId": i32,
    }
}

/// Events that may wait to be announced. When there are more, they are dropped and logged: it takes a client that makes
/// endpoints by the thousand to get there.
const MOST_EVENTS: usize = 65_536;

/// An event of an endpoint's transport.
type Told = (Weak<WebRtcEndpoint>, usize, PeerEvent);

/// Carries events from the workers, which must never wait, to a thread that may: announcing takes the graph's locks.
#[derive(Clone)]
pub(super) struct EventPump {
    queue: SyncSender<Told>,
}

impl EventPump {
    fn start() -> std::io::Result<EventPump> {
        let (queue, events) = sync_channel::<Told>(MOST_EVENTS);
        std::thread::Builder::new()
            .name("webrtc-events".into())
            .spawn(move || {
                for (endpoint, leg, event) in events {
                    if let Some(endpoint) = endpoint.upgrade() {
                        endpoint.handle(leg, event);
                    }
                }
            })?;
        Ok(EventPump { queue })
    }

    /// Passes an event on without waiting.
    pub(super) fn send(&self, endpoint: Weak<WebRtcEndpoint>, leg: usize, event: PeerEvent) {
        if self.queue.try_send((endpoint, leg, event)).is_err() {
            tracing::error!("too many transport events wait; one is dropped");
        }
    }
}

/// The class.
pub(crate) fn class(
    engine: Engine,
    workshop: &Arc<Workshop>,
    defaults: Defaults,
) -> Result<Class<WebRtcEndpoint>, CertificateError> {
    let certificates = Certificates::load(defaults.pem_rsa.as_deref(), defaults.pem_ecdsa.as_deref())?;
    let pump = EventPump::start().map_err(|e| CertificateError::Read("(threads)".into(), e))?;
    let shared = Arc::new(Shared {
        engine,
        workshop: workshop.clone(),
        certificates,
        pump,
    });
    // The default certificate is made while the server starts, so that the first call need not wait for it.
    let early = shared.clone();
    std::thread::spawn(move || early.certificates.get(CertificateKeyType::Rsa).map(drop));
    let class = Class::<WebRtcEndpoint>::new(
        "WebRtcEndpoint",
        "elements",
        "A WebRTC peer: a browser, or anything else that speaks WebRTC. Negotiate with processOffer, or with generateOffer \
         and processAnswer; then gatherCandidates, give each IceCandidateFound to the remote, and its candidates to \
         addIceCandidate. Media is forwarded between endpoints without being decoded.",
    )
    .extends(base_rtp_endpoint())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.WebRtcEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let options = Options {
            recvonly: p.recvonly,
            sendonly: p.sendonly,
            data_channels: p.use_data_channels,
            key: p.certificate_key_type,
            dscp: p.qos_dscp.code_point(),
        };
        let gather = defaults.gather.clone();
        let this = WebRtcEndpoint::new(shared.clone(), element, &pipeline, options, gather, defaults.mtu);
        pipeline.join(this.clone());
        Ok(this)
    });
    Ok(with_events(with_methods(with_settings(class))))
}

/// Adds to the description what `getStats` answers: its map names only what all statistics have.
pub fn describe_types(registry: &mut Registry) {
    registry
        .describe_type::<RTCStats>("core")
        .describe_type::<RTCRTPStreamStats>("core")
        .describe_type::<RTCInboundRTPStreamStats>("core")
        .describe_type::<RTCOutboundRTPStreamStats>("core")
        .describe_type::<RTCPeerConnectionStats>("core")
        .describe_type::<RTCDataChannelStats>("core");
}

fn illegal(name: &str, error: impl std::fmt::Display) -> Error {
    Error::new(Code::IllegalParam, format!("{name}: {error}"))
}

/// An address property: empty for none.
fn address<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    value: &str,
) -> Result<Option<T>, Error> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|e| illegal(name, e))
}

fn with_settings(class: Class<WebRtcEndpoint>) -> Class<WebRtcEndpoint> {
    class
        .settable(
            "networkInterfaces",
            "Names of the network interfaces to use, separated by commas. Empty: all. Read when gathering begins.",
            |this| this.setting(|s| s.gather.network_interfaces.join(",")),
            |this, value: String| {
                let names = value.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
                this.change_setting(|s| s.gather.network_interfaces = names);
                Ok(())
            },
        )
        .settable(
            "iceTcp",
            "Whether to offer ICE over TCP (RFC 6544).",
            |this| this.setting(|s| s.gather.ice_tcp),
            |this, value: bool| {
                this.change_setting(|s| s.gather.ice_tcp = value);
                Ok(())
            },
        )
        .settable(
            "stunServerAddress",
            "IP address of a STUN server (RFC 8489). Empty: none. Read when gathering begins.",
            |this| this.setting(|s| s.gather.stun_server.map(|a| a.ip().to_string()).unwrap_or_default()),
            |this, value: String| {
                let ip = address("stunServerAddress", &value)?;
                this.change_setting(|s| s.gather.stun_server = ip.map(|ip| SocketAddr::new(ip, s.stun_port)));
                Ok(())
            },
        )
        .settable(
            "stunServerPort",
            "Port of the STUN server. Default: 3478.",
            |this| this.setting(|s| i32::from(s.stun_port)),
            |this, value: i32| {
                let port = u16::try_from(value).ok().filter(|p| *p > 0);
                let port = port.ok_or_else(|| illegal("stunServerPort", "1 to 65535 are possible"))?;
                this.change_setting(|s| {
                    s.stun_port = port;
                    if let Some(server) = &mut s.gather.stun_server {
                        server.set_port(port);
                    }
                });
                Ok(())
            },
        )
        .settable(
            "turnUrl",
            "TURN server (RFC 8656): user:password@address:port, then optionally ?transport=udp or tcp. Empty: none.",
            |this| this.setting(|s| s.turn_url.clone()),
            |this, value: String| {
                let server = if value.trim().is_empty() {
                    None
                } else {
                    Some(value.trim().parse::<TurnServer>().map_err(|e| illegal("turnUrl", e))?)
                };
                this.change_setting(|s| {
                    s.gather.turn_server = server;
                    s.turn_url = value;
                });
                Ok(())
            },
        )
        .settable(
            "externalIPv4",
            "IPv4 address announced in place of the host's own (static NAT). Empty: none.",
            |this| this.setting(|s| s.gather.external_ipv4.map(|a| a.to_string()).unwrap_or_default()),
            |this, value: String| {
                let ip = address("externalIPv4", &value)?;
                this.change_setting(|s| s.gather.external_ipv4 = ip);
                Ok(())
            },
        )
        .settable(
            "externalIPv6",
            "IPv6 address announced in place of the host's own. Empty: none.",
            |this| this.setting(|s| s.gather.external_ipv6.map(|a| a.to_string()).unwrap_or_default()),
            |this, value: String| {
                let ip = address("externalIPv6", &value)?;
                this.change_setting(|s| s.gather.external_ipv6 = ip);
                Ok(())
            },
        )
        .property("ICECandidatePairs", "The pair of candidates in use.", |this| this.pairs())
        .property("IceConnectionState", "State of ICE, once it was used.", |this| this.ice_connections())
        .property("DtlsConnectionState", "State of DTLS, once it was used.", |this| this.dtls_connections())
}

fn with_methods(class: Class<WebRtcEndpoint>) -> Class<WebRtcEndpoint> {
    class
        .async_method(
            "gatherCandidates",
            "Begins to gather ICE candidates. Call it after processOffer or generateOffer.",
            |this: Arc<WebRtcEndpoint>, _, _: NoParams| async move { this.gather_candidates().await },
        )
        .method(
            "addIceCandidate",
            "Takes a candidate of the remote. An empty one ends its candidates; names under .local (mDNS) need no lookup. \
             Error 40401 if its m-line does not exist.",
            |this, _, p: AddIceCandidate| this.add_ice_candidate(&p.candidate),
        )
        .async_method(
            "createDataChannel",
            "Opens a data channel (W3C RTCDataChannelInit). Error 40107 if data channels were not asked for.",
            |this: Arc<WebRtcEndpoint>, _, p: CreateDataChannel| async move { create_channel(&this, p).await },
        )
        .async_method(
            "closeDataChannel",
            "Closes a data channel; nothing happens if there is none of this id.",
            |this: Arc<WebRtcEndpoint>, _, p: CloseDataChannel| async move {
                if let (Some(peer), Ok(id)) = (this.peer_of(Kind::Data), u16::try_from(p.channel_id)) {
                    match peer.close_data_channel(id).await {
                        Ok(()) | Err(DataChannelError::Unknown(_) | DataChannelError::NotNegotiated) => {}
                        Err(error) => return Err(illegal("channelId", error)),
                    }
                }
                Ok(())
            },
        )
}

async fn create_channel(this: &WebRtcEndpoint, p: CreateDataChannel) -> Result<(), Error> {
    if !this.options.data_channels {
        return Err(illegal(
            "createDataChannel",
            "make the endpoint with useDataChannels=true",
        ));
    }
    let limit = |name: &str, value: i32| match value {
        -1 => Ok(None),
        value => u16::try_from(value)
            .map(Some)
            .map_err(|_| illegal(name, "-1 to 65535 are possible")),
    };
    let options = DataChannelOptions {
        label: p.label,
        protocol: p.protocol,
        ordered: p.ordered,
        max_packet_life_time: limit("maxPacketLifeTime", p.max_packet_life_time)?,
        max_retransmits: limit("maxRetransmits", p.max_retransmits)?,
    };
    let Some(peer) = this.peer_of(Kind::Data) else {
        return Err(illegal("createDataChannel", DataChannelError::NotNegotiated));
    };
    peer.create_data_channel(options)
        .await
        .map(drop)
        .map_err(|e| illegal("createDataChannel", e))
}

fn with_events(class: Class<WebRtcEndpoint>) -> Class<WebRtcEndpoint> {
    class
        .event::<IceCandidateFound>()
        .event::<IceGatheringDone>()
        .event::<IceComponentStateChanged>()
        .event::<DtlsConnectionStateChange>()
        .event::<DataChannelOpened>()
        .event::<DataChannelClosed>()
        .event::<NewCandidatePairSelected>()
}
