//! The abstract classes above `WebRtcEndpoint` and `RtpEndpoint`: `SdpEndpoint`, `BaseRtpEndpoint`.
//! They are generic over the endpoint that inherits them, which implements [`RtpSession`].

use std::future::Future;
use std::sync::{Arc, Mutex};

use kms_core::element::EncoderBitrates;
use kms_core::events::{ConnectionStateChanged, Error as ErrorEvent, MediaStateChanged};
use kms_core::media::Quality;
use kms_core::object::lock;
use kms_core::types::{ConnectionState, MediaState};
use kms_core::{Class, Element};
use protocol::{Code, Error, NoParams, params};

use crate::endpoint::session_endpoint;
use crate::sdp::SdpError;
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

/// Bitrate of video that has to be encoded for a remote, bits a second: Kurento's default of 300 kbit/s is for small pictures.
const ENCODED_VIDEO: u32 = 1_500_000;

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
    /// Kurento's default of 500 kbit/s is where its encoders end; here what need not be encoded is passed on, so only a value that
    /// was set bounds it.
    max_video_send_set: bool,
}

impl Bandwidths {
    /// With changes that were asked for. Error 40107 if a value makes no sense.
    pub(crate) fn changed(self, change: &dyn Fn(&mut Bandwidths)) -> Result<Bandwidths, Error> {
        let mut changed = self;
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
        changed.max_video_send_set |= changed.max_video_send != self.max_video_send;
        Ok(changed)
    }

    /// Video sent to the remote at most, bits a second, if that was set. 0: no limit.
    pub(crate) fn video_send_limit(&self) -> u64 {
        match self.max_video_send_set {
            true => u64::try_from(self.max_video_send).unwrap_or_default() * 1_000,
            false => 0,
        }
    }
}

impl Default for Bandwidths {
    fn default() -> Self {
        Bandwidths {
            max_audio_recv: 0,
            max_video_recv: 0,
            min_video_recv: 100,
            min_video_send: 100,
            max_video_send: 500,
            max_video_send_set: false,
        }
    }
}

/// What is set by properties of an endpoint that negotiates RTP.
#[derive(Debug)]
pub(crate) struct RtpSettings {
    pub(crate) bandwidths: Bandwidths,
    /// Largest UDP payload.
    pub(crate) mtu: i32,
    remb: Option<RembParams>,
}

impl RtpSettings {
    /// With this largest UDP payload.
    pub(crate) fn new(mtu: usize) -> Mutex<RtpSettings> {
        Mutex::new(RtpSettings {
            bandwidths: Bandwidths::default(),
            mtu: i32::try_from(mtu).unwrap_or(i32::MAX),
            remb: None,
        })
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
    /// What was set.
    fn settings(&self) -> &Mutex<RtpSettings>;
    /// Bandwidths were changed: they are told to who keeps to them.
    fn bandwidths_changed(&self);
    /// Whether media of the remote is received.
    fn media_state(&self) -> MediaState;
    /// Whether the transport is up.
    fn connection_state(&self) -> ConnectionState;
    /// Asks the remote for a keyframe.
    fn request_keyframe(&self);

    /// The bandwidths.
    fn bandwidths(&self) -> Bandwidths {
        lock(self.settings()).bandwidths
    }

    /// Changes bandwidths. Error 40107 if a value makes no sense.
    fn change_bandwidths(&self, change: &dyn Fn(&mut Bandwidths)) -> Result<(), Error> {
        {
            let mut settings = lock(self.settings());
            settings.bandwidths = settings.bandwidths.changed(change)?;
        }
        self.bandwidths_changed();
        Ok(())
    }

    /// Sets the largest UDP payload. Error 40107 unless it is a possible one.
    fn set_mtu(&self, mtu: i32) -> Result<(), Error> {
        if !(576..=1500).contains(&mtu) {
            let message = format!("mtu is {mtu}, but 576 to 1500 bytes are possible");
            return Err(Error::new(Code::IllegalParam, message));
        }
        lock(self.settings()).mtu = mtu;
        Ok(())
    }

    /// Tells clients that something went wrong.
    fn raise_error(&self, description: &str, code: Code) {
        self.core().raise(&ErrorEvent {
            description: description.to_owned(),
            error_code: code.number(),
            error_type: code.name().to_owned(),
        });
    }
}

/// How good video that has to be encoded for a remote is to be: what `encoderBitrate` says once it was set, and no more than `most` bits
/// a second; 0: no limit.
pub(crate) fn quality(bitrates: EncoderBitrates, most: u64) -> Quality {
    Quality {
        bits_per_second: bitrates.aim(ENCODED_VIDEO),
        most: u32::try_from(most)
            .ok()
            .filter(|bits| *bits > 0)
            .unwrap_or(u32::MAX),
    }
}

/// The error for a second negotiation where there may be none.
pub(crate) fn already_negotiated() -> Error {
    Error::new(Code::SdpAlreadyNegotiated, "Endpoint already negotiated")
}

/// The error for an answer where no offer waits for one; `answered`: one did, and has it.
pub(crate) fn no_offer(answered: bool) -> Error {
    match answered {
        true => Error::new(Code::SdpAnswerProcessed, "Sdp Answer already processed"),
        false => Error::new(
            Code::SdpNoOffer,
            "Offer not generated. It is not possible to process an answer.",
        ),
    }
}

/// A description, or the error for one that isn't there yet.
pub(crate) fn described(description: Option<String>, local: bool) -> Result<String, Error> {
    description.ok_or_else(|| match local {
        true => Error::new(Code::SdpNoLocal, "No local SDP"),
        false => Error::new(Code::SdpNoRemote, "No remote SDP"),
    })
}

/// The error for a description; `code`: for one that can be read but not taken.
pub(crate) fn sdp_error(error: &SdpError, code: Code) -> Error {
    match error {
        SdpError::Parse(_) => Error::new(Code::SdpParse, error.to_string()),
        SdpError::Unacceptable(_) => Error::new(code, error.to_string()),
    }
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
            "Video the remote may send, kbit/s; 0: no limit. Told in descriptions (b=AS), by WebRTC also in REMB. Default: 0.",
            |this| this.bandwidths().max_video_recv,
            |this, value: i32| this.change_bandwidths(&|b| b.max_video_recv = value),
        )
        .async_method(
            "generateOffer",
            "Makes an offer. On a WebRtcEndpoint whose transport is up, an offer that renegotiates with new ICE credentials. \
             Error 40208 while an earlier offer is unanswered or the transport is not up yet, and from an RtpEndpoint that has \
             negotiated.",
            |this: Arc<T>, _, p: GenerateOffer| async move {
                let default = OfferOptions { offer_to_receive_audio: true, offer_to_receive_video: true };
                this.generate_offer(p.options.unwrap_or(default)).await
            },
        )
        .async_method(
            "processOffer",
            "Takes an offer and answers it. On a WebRtcEndpoint a second, different offer renegotiates. Error 40201: no SDP; \
             40205: not acceptable; 40208: an offer of this endpoint is unanswered, it is the offer in force, or an \
             RtpEndpoint has negotiated already.",
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
            "Video sent at most, kbit/s; 0: no limit. Once set, bounds the simulcast layer that is sent, and encoders; \
             media that is forwarded unchanged keeps its bitrate. Default: 500, which bounds nothing until it is set.",
            |this| this.bandwidths().max_video_send,
            |this, value: i32| this.change_bandwidths(&|b| b.max_video_send = value),
        )
        .property("mediaState", "Whether media of the remote is received.", |this| this.media_state())
        .property("connectionState", "Whether the transport is up.", |this| this.connection_state())
        .settable(
            "mtu",
            "Largest UDP payload sent, bytes, 576 to 1500. Set it before negotiation. Default: 1200.",
            |this| lock(this.settings()).mtu,
            |this, value: i32| this.set_mtu(value),
        )
        .settable(
            "rembParams",
            "Kept as set. Kurento's own receiver-side estimation is replaced by transport-wide congestion control.",
            |this| lock(this.settings()).remb.clone().unwrap_or_else(RembParams::unset),
            |this, value: RembParams| {
                lock(this.settings()).remb = Some(value);
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
