//! The remote class `RecorderEndpoint`: its constructor, methods and events.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::{Class, ElementCore, Object};
use protocol::{Error, NoParams, Ref, params};
use tokio::sync::oneshot;

use super::changeable::Changeable;
use super::endpoint::{Options, RecorderEndpoint};
use super::events::{FileRecorded, FileUploaded, Paused, Recording, Stopped};
use super::naming::Naming;
use super::profile::MediaProfileSpecType;
use super::recordings::Recordings;
use super::segments::GapsFixMethod;
use super::snapshot::{self, SnapshotFormat};
use super::upload::Place;
use super::uri::{self, Target};
use crate::endpoint::uri_endpoint;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Where to record: file:///absolute/path, an absolute path, http(s)://server/path (PUT) or s3://bucket/key. What goes to a
        /// server is written into a spool first, and sent from there, to S3 while it is recorded, until it is stored. Directories are made; a file of this name is
        /// overwritten. {YYYY}, {MM}, {DD}, {hh}, {mm} and {ss} stand for when a file begins (UTC), {n} for its number, from 1,
        /// and {name} for the recorder's name: then, and with segments, a name that is taken gets a number (-2). Braces that mean
        /// nothing are written %7B and %7D. Error 40107 for what names no file.
        uri "uri": String,
        /// Container, and which kinds of media go into it.
        media_profile "mediaProfile": MediaProfileSpecType = MediaProfileSpecType::Webm,
        /// Stop by itself when all sources have reached their end, such as that of a file.
        stop_on_end_of_stream "stopOnEndOfStream": bool = false,
        /// As the property. Not in Kurento.
        segment_duration "segmentDuration": i64 = 0,
        /// As the property. Not in Kurento.
        segment_size "segmentSize": i64 = 0,
        /// As the property. In Kurento a setting of the server.
        gaps_fix "gapsFix": GapsFixMethod = GapsFixMethod::None,
        /// As the property. Not in Kurento.
        retention_age "retentionAge": i64 = 0,
        /// As the property. Not in Kurento.
        retention_size "retentionSize": i64 = 0,
    }
}

params! {
    /// Parameters of `takeSnapshot`.
    pub struct TakeSnapshot {
        /// Where to write it, as the recorder's uri; a file of this name is overwritten. Left out: it is answered.
        uri "uri": Option<String>,
        /// How it is encoded.
        format "format": SnapshotFormat = SnapshotFormat::Jpeg,
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
        let options = Options {
            naming: Arc::new(Naming::new(
                uri::target(&p.uri)?.within(&call.reach())?,
                call.reach(),
                recordings.in_use().clone(),
                recordings.uploads().clone(),
            )),
            uri: Place::parse(&p.uri).map_or(p.uri, |place| place.to_string()),
            profile: p.media_profile.profile(),
            stop_on_end_of_stream: p.stop_on_end_of_stream,
        };
        let changeable = Changeable {
            segment_duration: match (p.segment_duration, p.segment_size) {
                (0, 0) => p.media_profile.segment_duration(),
                (duration, _) => duration,
            },
            segment_size: p.segment_size,
            gaps: p.gaps_fix,
            retention_age: p.retention_age,
            retention_size: p.retention_size,
        };
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.RecorderEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = RecorderEndpoint::new(element, timeline.clone(), recordings.clone(), options, changeable)?;
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
    .settable(
        "segmentDuration",
        "How long a file may be, milliseconds, 1000 to 2147483647: the next begins at the first keyframe after that, which the source \
         is asked for, and nothing is lost or doubled in between. 0, the default: one file for all. From the next record on. Not \
         in Kurento.",
        |this| this.changeable().segment_duration,
        |this, ms: i64| this.change(|c| c.segment_duration = ms),
    )
    .settable(
        "segmentSize",
        "How much media a file may hold, bytes, at least 65536; as segmentDuration, and with both whichever comes first. 0, the \
         default: without a bound. Not in Kurento.",
        |this| this.changeable().segment_size,
        |this, bytes: i64| this.change(|c| c.segment_size = bytes),
    )
    .settable(
        "gapsFix",
        "What is done when media is missing. From the next record on. In Kurento a setting of the server.",
        |this| this.changeable().gaps,
        |this, gaps: GapsFixMethod| this.change(|c| c.gaps = gaps),
    )
    .settable(
        "retentionAge",
        "Files that were written to for the last time so many seconds ago are removed, if this recorder's URI, with its present \
         name, can have given them their names: those of earlier recordings and of other recorders with the same URI too, \
         nothing else. 0, the default: none. At once, and then every 30 s while the recorder exists. Not in Kurento.",
        |this| this.changeable().retention_age,
        |this, seconds: i64| this.change(|c| c.retention_age = seconds),
    )
    .settable(
        "retentionSize",
        "So many bytes of those files, together, are kept: the oldest are removed when there are more. Those that are being \
         written are counted, but never removed. 0, the default: all. Not in Kurento.",
        |this| this.changeable().retention_size,
        |this, bytes: i64| this.change(|c| c.retention_size = bytes),
    )
    .async_method(
        "takeSnapshot",
        "Takes a picture of the video that the recorder is fed, recording or not. Answers the picture, base64 (RFC 4648), or with \
         a uri that of the file it was written to. What is encoded is shown from a keyframe on, which the source is asked for: \
         from one that can't be asked the picture comes with its next. Error 40111 if no video is connected or none comes within \
         10 s. Not in Kurento.",
        |this, call, p: TakeSnapshot| async move {
            let reach = call.reach();
            let within = |target: Target| target.within(&reach);
            let target = p.uri.as_deref().map(|uri| uri::target(uri).and_then(within)).transpose()?;
            let picture = this.take_picture(p.format).await?;
            snapshot::deliver(picture, target.map(|target| (target, reach)), this.core().name(), this.uploads().clone()).await
        },
    )
    .event::<FileRecorded>()
    .event::<FileUploaded>()
    .event::<Recording>()
    .event::<Paused>()
    .event::<Stopped>()
}
