//! What the transport tells, and what clients hear of it.

use std::sync::OnceLock;

use kms_core::Object;
use kms_core::events::{ConnectionStateChanged, MediaStateChanged};
use kms_core::object::lock;
use kms_core::types::{ConnectionState, MediaState};
use protocol::Code;

use super::{
    COMPONENT, DTLS_CONNECTION, DTLS_RECEIVES, DTLS_SENDS, LegState, WebRtcEndpoint, candidate_pair,
    media_type, place, stream,
};
use crate::rtp_session::RtpSession;
use crate::webrtc::api::{DtlsState, IceState, Kind, PeerEvent};
use crate::webrtc::types::{
    DataChannelClosed, DataChannelOpened, DtlsConnectionState, DtlsConnectionStateChange, IceCandidate,
    IceCandidateFound, IceComponentState, IceComponentStateChanged, IceGatheringDone,
    NewCandidatePairSelected,
};

impl WebRtcEndpoint {
    /// Handles an event of the transport; on the pump's thread.
    pub(in crate::webrtc) fn handle(&self, leg: usize, event: PeerEvent) {
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
            PeerEvent::CodecUnsupported { kind, codec } => self.convert(kind, &codec),
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

pub(super) fn ice_state(state: IceState) -> IceComponentState {
    match state {
        IceState::Disconnected => IceComponentState::Disconnected,
        IceState::Gathering => IceComponentState::Gathering,
        IceState::Connecting => IceComponentState::Connecting,
        IceState::Connected => IceComponentState::Connected,
        IceState::Ready => IceComponentState::Ready,
        IceState::Failed => IceComponentState::Failed,
    }
}

pub(super) fn dtls_state(state: DtlsState) -> DtlsConnectionState {
    match state {
        DtlsState::New => DtlsConnectionState::New,
        DtlsState::Connecting => DtlsConnectionState::Connecting,
        DtlsState::Connected => DtlsConnectionState::Connected,
        DtlsState::Closed => DtlsConnectionState::Closed,
        DtlsState::Failed => DtlsConnectionState::Failed,
    }
}
