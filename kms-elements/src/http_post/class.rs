//! The remote class `HttpPostEndpoint`, and the abstract `HttpEndpoint` above it.

use std::sync::Arc;
use std::time::Duration;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, NoParams, Ref, params};

use super::endpoint::HttpPostEndpoint;
use super::uploads::Uploads;
use crate::endpoint::session_endpoint;
use crate::player::EndOfStream;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// How long the session goes on after a client has gone or an upload was played, seconds, 0 to 86400. An upload that begins
        /// within this time belongs to the same session.
        disconnection_timeout "disconnectionTimeout": i32 = 2,
        /// Kept for Kurento's clients. Media is handed on encoded in any case, and decoded only for those that can't take it so.
        use_encoded_media "useEncodedMedia": bool = false,
    }
}

/// Seconds of `disconnectionTimeout` at most: a day.
const LONGEST_TIMEOUT: u64 = 86_400;

fn http_endpoint() -> Class<HttpPostEndpoint> {
    Class::<HttpPostEndpoint>::new(
        "HttpEndpoint",
        "elements",
        "An endpoint that clients reach at a URL of its own.",
    )
    .extends(session_endpoint())
    .method(
        "getUrl",
        "The URL. It is as good as a password: whoever has it can use the endpoint, until it is released.",
        |this, _, _: NoParams| this.url(),
    )
}

/// The class.
pub(crate) fn class(timeline: &Timeline, uploads: &Uploads) -> Class<HttpPostEndpoint> {
    let (timeline, uploads) = (timeline.clone(), uploads.clone());
    Class::<HttpPostEndpoint>::new(
        "HttpPostEndpoint",
        "elements",
        "Plays a file while it is uploaded to its URL by POST or PUT, in the file's own time. What can't be played gives an Error event \
         and an HTTP error that say why.",
    )
    .extends(http_endpoint())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let timeout = u64::try_from(p.disconnection_timeout).ok().filter(|s| *s <= LONGEST_TIMEOUT);
        let timeout = timeout.ok_or_else(|| {
            let message = format!("disconnectionTimeout should be 0 to {LONGEST_TIMEOUT} seconds");
            Error::new(Code::IllegalParam, message)
        })?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.HttpPostEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = HttpPostEndpoint::new(element, Duration::from_secs(timeout), &timeline, &uploads);
        pipeline.join(this.clone());
        Ok(this)
    })
    .event::<EndOfStream>()
}
