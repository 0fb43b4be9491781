//! The remote class `RecorderEndpoint`: its constructor, methods and events.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, NoParams, Ref, params};
use tokio::sync::oneshot;

use super::endpoint::{Options, Paused, RecorderEndpoint, Recording, Stopped};
use super::profile::MediaProfileSpecType;
use super::recordings::Recordings;
use super::uri;
use crate::endpoint::uri_endpoint;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Where to record: file:///absolute/path, or an absolute path. Directories are made; a file of this name is
        /// overwritten. Error 40107 for what is neither.
        uri "uri": String,
        /// Container, and which kinds of media go into it.
        media_profile "mediaProfile": MediaProfileSpecType = MediaProfileSpecType::Webm,
        /// Stop by itself when all sources have reached their end, such as that of a file.
        stop_on_end_of_stream "stopOnEndOfStream": bool = false,
    }
}

/// The class.
pub fn class(timeline: &Timeline, recordings: &Recordings) -> Class<RecorderEndpoint> {
    let (timeline, recordings) = (timeline.clone(), recordings.clone());
    Class::<RecorderEndpoint>::new(
        "RecorderEndpoint",
        "elements",
        "Writes what it is fed into a file. Connect a source, then record. The file begins with the first media, at time 0; \
         kinds of media that are connected later than a second after that are not in it. Media that the container can hold \
         is not transcoded. A kind that is connected but silent is written as silence, or as a picture that stands still \
         (at first a black one). Close the file with stopAndWait, stop or release.",
    )
    .extends(uri_endpoint())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let profile = p.media_profile.profile().ok_or_else(|| {
            let message = "mediaProfile: KURENTO_SPLIT_RECORDER is not available; choose a container, such as WEBM or MP4";
            Error::new(Code::NotImplemented, message)
        })?;
        let options = Options {
            path: uri::path(&p.uri)?,
            uri: p.uri,
            profile,
            stop_on_end_of_stream: p.stop_on_end_of_stream,
        };
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.RecorderEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = RecorderEndpoint::new(element, timeline.clone(), recordings.clone(), options);
        pipeline.join(this.clone());
        Ok(this)
    })
    .method(
        "record",
        "Begins to record, or goes on after pause: what was sent in between is left out. After a stop, a new file is begun \
         in place of the old one. Answers at once; Recording tells when media is written, Error what went wrong.",
        |this, _, _: NoParams| {
            this.record();
            Ok(())
        },
    )
    .async_method(
        "stopAndWait",
        "Stops, and answers when the file is closed; after 10 s at the latest.",
        |this, _, _: NoParams| async move {
            let (done, closed) = oneshot::channel();
            this.end(Some(done));
            // If there is nothing to close, the other end is dropped at once.
            let _ = closed.await;
            Ok(())
        },
    )
    .event::<Recording>()
    .event::<Paused>()
    .event::<Stopped>()
}
