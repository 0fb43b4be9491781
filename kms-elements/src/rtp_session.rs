//! The abstract classes above `WebRtcEndpoint` and `RtpEndpoint`: `SessionEndpoint`, `SdpEndpoint`, `BaseRtpEndpoint`.
//! They are generic over the endpoint that inherits them, which implements [`RtpSession`].

use std::future::Future;
use std::sync::Arc;

use kms_core::events::{
    ConnectionStateChanged, MediaSessionStarted, MediaSessionTerminated, MediaStateChanged,
};
use kms_core::types::{ConnectionState, MediaState};
use kms_core::{Class, Element};
use protocol::{Error, NoParams, params};

use crate::endpoint::endpoint;
use crate::webrtc::types::{OfferOptions, RembParams};

params! {
    /// Parameters of `generateOffer`.
    pub struct GenerateOffer {
        /// What to offer. Default: to receive audio and video.
        options "options": Option<OfferOptions>,
    }

    /// Parameters of `processOffer`.
    pub struct ProcessOffer {
        /// The remote's offer (SDP).
        offer "offer": String,
    }

    /// Parameters of `processAnswer`.
    pub struct ProcessAnswer {
        /// The remote's answer (SDP).
        answer "answer": String,
    }
}

/// Bandwidths of a session, kbit/s; 0: no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bandwidths {
    /// Audio the remote may send.
    pub max_audio_recv: i32,
    /// Video the remote may send.
    pub max_video_recv: i32,
    /// Video the remote should send at least.
    pub min_video_recv: i32,
    /// Video sent to the remote at least.
    pub min_video_send: i32,
    /// Video sent to the remote at most.
    pub max_video_send: i32,
}

impl Default for Bandwidths {
    fn default() -> Self {
        Bandwidths {
            max_audio_recv: 0,
            max_video_recv: 0,
            min_video_recv: 100,
            min_video_send: 100,
            max_video_send: 500,
        }
    }
}

/// An endpoint that negotiates RTP by SDP.
pub(crate) trait RtpSession: Element {
    /// Makes an offer.
    fn generate_offer(
        self: Arc<Self>,
        options: OfferOptions,
    ) -> impl Future<Output = Result<String, Error>> + Send;
    /// Takes an offer and answers it.
    fn process_offer(self: Arc<Self>, offer: String) -> impl Future<Output = Result<String, Error>> + Send;
    /// Takes an answer; gives back the local description.
    fn process_answer(self: Arc<Self>, answer: String) -> impl Future<Output = Result<String, Error>> + Send;
    /// The local description.
    fn local_description(&self) -> Result<String, Error>;
    /// The remote's description.
    fn remote_description(&self) -> Result<String, Error>;
    /// The bandwidths.
    fn bandwidths(&self) -> Bandwidths;
    /// Changes bandwidths.
    fn change_bandwidths(&self, change: &dyn Fn(&mut Bandwidths)) -> Result<(), Error>;
    /// Whether media of the remote is received.
    fn media_state(&self) -> MediaState;
    /// Whether the transport is up.
    fn connection_state(&self) -> ConnectionState;
    /// Largest UDP payload.
    fn mtu(&self) -> i32;
    /// Sets the largest UDP payload.
    fn set_mtu(&self, mtu: i32) -> Result<(), Error>;
    /// Parameters that were set.
    fn remb_params(&self) -> RembParams;
    /// Sets parameters.
    fn set_remb_params(&self, params: RembParams);
    /// Asks the remote for a keyframe.
    fn request_keyframe(&self);
}

fn session_endpoint<T: RtpSession>() -> Class<T> {
    Class::<T>::new(
        "SessionEndpoint",
        "core",
        "An endpoint with a session that begins and ends.",
    )
    .extends(endpoint())
    .event::<MediaSessionTerminated>()
    .event::<MediaSessionStarted>()
}

fn sdp_endpoint<T: RtpSession>() -> Class<T> {
    Class::<T>::new("SdpEndpoint", "core", "An endpoint that negotiates by offer and answer (SDP, RFC 8866 and 3264).")
        .extends(session_endpoint())
        .settable(
            "maxAudioRecvBandwidth",
            "Audio the remote may send, kbit/s; 0: no limit. Told in descriptions (b=AS). Default: 0.",
            |this| this.bandwidths().max_audio_recv,
            |this, value: i32| this.change_bandwidths(&|b| b.max_audio_recv = value),
        )
        .settable(
            "maxVideoRecvBandwidth",
            "Video the remote may send, kbit/s; 0: no limit. Told in descriptions (b=AS) and by REMB. Default: 0.",
            |this| this.bandwidths().max_video_recv,
            |this, value: i32| this.change_bandwidths(&|b| b.max_video_recv = value),
        )
        .async_method(
            "generateOffer",
            "Makes an offer. On an endpoint whose transport is up, an offer that renegotiates with new ICE credentials. \
             Error 40208 while an earlier offer is unanswered or the transport is not up yet.",
            |this: Arc<T>, _, p: GenerateOffer| async move {
                let default = OfferOptions { offer_to_receive_audio: true, offer_to_receive_video: true };
                this.generate_offer(p.options.unwrap_or(default)).await
            },
        )
        .async_method(
            "processOffer",
            "Takes an offer and answers it. A second, different offer renegotiates. Error 40201: no SDP; 40205: not \
             acceptable; 40208: an offer of this endpoint is unanswered, or it is the offer in force.",
            |this: Arc<T>, _, p: ProcessOffer| async move { this.process_offer(p.offer).await },
        )
        .async_method(
            "processAnswer",
            "Takes the answer to the offer made last; answers the local description. Error 40201: no SDP; 40206: not \
             acceptable; 40209: no offer was made; 40210: it was answered already.",
            |this: Arc<T>, _, p: ProcessAnswer| async move { this.process_answer(p.answer).await },
        )
        .method("getLocalSessionDescriptor", "The local description. Error 40202 if there is none.", |this, _, _: NoParams| {
            this.local_description()
        })
        .method("getRemoteSessionDescriptor", "The remote's description. Error 40203 if there is none.", |this, _, _: NoParams| {
            this.remote_description()
        })
}

/// `BaseRtpEndpoint`, for an endpoint of type `T`.
pub(crate) fn base_rtp_endpoint<T: RtpSession>() -> Class<T> {
    Class::<T>::new("BaseRtpEndpoint", "core", "An endpoint that sends and receives RTP (RFC 3550).")
        .extends(sdp_endpoint())
        .settable(
            "minVideoRecvBandwidth",
            "Video the remote should send at least, kbit/s. Default: 100.",
            |this| this.bandwidths().min_video_recv,
            |this, value: i32| this.change_bandwidths(&|b| b.min_video_recv = value),
        )
        .settable(
            "minVideoSendBandwidth",
            "Video sent at least, kbit/s: estimates below are not believed when a simulcast layer is chosen. Default: 100.",
            |this| this.bandwidths().min_video_send,
            |this, value: i32| this.change_bandwidths(&|b| b.min_video_send = value),
        )
        .settable(
            "maxVideoSendBandwidth",
            "Video sent at most, kbit/s; 0: no limit. Once set, bounds the simulcast layer that is sent; media that is \
             forwarded unchanged keeps its bitrate. Default: 500, which bounds nothing until it is set.",
            |this| this.bandwidths().max_video_send,
            |this, value: i32| this.change_bandwidths(&|b| b.max_video_send = value),
        )
        .property("mediaState", "Whether media of the remote is received.", |this| this.media_state())
        .property("connectionState", "Whether the transport is up.", |this| this.connection_state())
        .settable(
            "mtu",
            "Largest UDP payload sent, bytes, 576 to 1500. Set it before negotiation. Default: 1200.",
            |this| this.mtu(),
            |this, value: i32| this.set_mtu(value),
        )
        .settable(
            "rembParams",
            "Kept as set. Kurento's own receiver-side estimation is replaced by transport-wide congestion control.",
            |this| this.remb_params(),
            |this, value: RembParams| {
                this.set_remb_params(value);
                Ok(())
            },
        )
        .method("requestKeyframe", "Asks the remote for a keyframe. Nothing happens before media flows.", |this, _, _: NoParams| {
            this.request_keyframe();
            Ok(())
        })
        .event::<MediaStateChanged>()
        .event::<ConnectionStateChanged>()
}
