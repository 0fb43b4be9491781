//! The remote class `PlayerEndpoint`.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, NoParams, Ref, event, params, record};

use super::Defaults;
use super::endpoint::PlayerEndpoint;
use super::uri::{PlayerUri, Reading};
use crate::endpoint::uri_endpoint;

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// What to play: file://, http(s)://, rtsp(s):// (over TCP; rtspu:// over UDP).
        uri "uri": String,
        /// Kept for Kurento's clients. Media is handed on encoded in any case, and decoded only for those that can't take it so.
        use_encoded_media "useEncodedMedia": bool = false,
        /// How long a packet of a camera is waited for that is missing, over UDP: milliseconds, 0 to 60000.
        network_cache "networkCache": i32 = 2000,
    }
}

record! { "kurento"
    /// How long media is, and where in it can be sought; milliseconds.
    pub struct VideoInfo {
        /// Whether a position can be set.
        is_seekable "isSeekable": bool,
        /// The first position.
        seekable_init "seekableInit": i64,
        /// The last position.
        seekable_end "seekableEnd": i64,
        /// How long it is; 0: not known.
        duration "duration": i64,
    }
}

event! { "kurento"
    /// The media was played to its end.
    pub struct EndOfStream: Media {}

    /// The camera is gone: it ended the connection, or sent nothing for 4 seconds. It is tried again until it is back. Not in
    /// Kurento.
    pub struct ConnectionLost: Media {
        /// What happened.
        description "description": String,
    }

    /// Media of the camera that was lost comes again. Not in Kurento.
    pub struct ConnectionRestored: Media {}
}

/// The class.
pub(crate) fn class(timeline: &Timeline, defaults: Defaults) -> Class<PlayerEndpoint> {
    let timeline = timeline.clone();
    Class::<PlayerEndpoint>::new(
        "PlayerEndpoint",
        "elements",
        "Plays files, HTTP and cameras (RTSP). Media that cannot be played gives an Error event that says why.",
    )
    .extends(uri_endpoint())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let uri = PlayerUri::parse(&p.uri)?.within(&call.reach())?;
        let cache = u32::try_from(p.network_cache).ok().filter(|c| *c <= 60_000);
        let cache = cache.ok_or_else(|| Error::new(Code::IllegalParam, "networkCache should be 0 to 60000 milliseconds"))?;
        let reading = Reading {
            cache,
            verify_certificates: defaults.verify_certificates,
            reach: call.reach(),
        };
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.PlayerEndpoint")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let this = PlayerEndpoint::new(element, uri, reading, &timeline);
        pipeline.join(this.clone());
        Ok(this)
    })
    .property("videoInfo", "How long the media is, and where in it can be sought. All zero before play.", |this| {
        this.video_info()
    })
    .property("elementGstreamerDot", "What GStreamer does, as a drawing (DOT).", |this| this.dot())
    .settable(
        "position",
        "Where it is, milliseconds since the beginning. Set, it jumps to the last keyframe before. Error 40700 if that can't be.",
        |this| this.position(),
        |this, position: i64| this.set_position(position),
    )
    .method("play", "Plays: from the beginning, from where it was paused, or anew if it has ended.", |this, _, _: NoParams| {
        this.play()
    })
    .settable(
        "reconnect",
        "Whether a source of live media that is lost is tried again, after 0.25 s at first and every half second in the end, until it is back \
         or stop is called: whoever it is connected to stays connected. Default: true for rtsp://, which alone it concerns. Not in Kurento.",
        |this| this.reconnects(),
        |this, reconnect: bool| {
            this.set_reconnects(reconnect);
            Ok(())
        },
    )
    .event::<EndOfStream>()
    .event::<ConnectionLost>()
    .event::<ConnectionRestored>()
}
