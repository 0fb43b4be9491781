//! The remote class `RtpEndpoint`.

use std::sync::Arc;

use kms_core::objects::{MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object};
use protocol::{Error, Ref, event, params};

use super::Defaults;
use super::counters::Counters;
use super::crypto::{Key, SDES};
use super::endpoint::RtpEndpoint;
use crate::packets::Workshop;
use crate::rtp_session::base_rtp_endpoint;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Encrypts by SRTP. Default: not, unless the remote's offer is encrypted.
        crypto "crypto": Option<SDES>,
        /// Whether an offer is of IPv6. An answer is of what was offered.
        use_ipv6 "useIpv6": bool = false,
    }
}

event! { "kurento"
    /// A key has encrypted so many packets (RFC 3711, section 9.2) that it will soon be used up: negotiate anew, with another endpoint.
    pub struct OnKeySoftLimit: Media {
        /// What it encrypts.
        media_type "mediaType": MediaType,
    }
}

/// The class.
pub(crate) fn class(
    workshop: &Arc<Workshop>,
    counters: &Arc<Counters>,
    defaults: Defaults,
) -> Class<RtpEndpoint> {
    let (workshop, counters) = (workshop.clone(), counters.clone());
    Class::<RtpEndpoint>::new(
        "RtpEndpoint",
        "elements",
        "Sends and receives RTP by itself (RFC 3550), plain or encrypted (SRTP with keys in the description): for telephony, \
         for ffmpeg and GStreamer, and for other media servers. Negotiate with processOffer, or with generateOffer and \
         processAnswer. What is connected to it is transcoded where the remote can't take it as it is.",
    )
    .extends(base_rtp_endpoint())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let key = p.crypto.as_ref().map(Key::chosen).transpose()?.flatten();
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.RtpEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = RtpEndpoint::new(element, key, p.use_ipv6, &workshop, &counters, defaults.clone());
        pipeline.join(this.clone());
        Ok(this)
    })
    .property("elementGstreamerDot", "What GStreamer does, as a drawing (DOT).", |this| this.dot())
    .event::<OnKeySoftLimit>()
}
