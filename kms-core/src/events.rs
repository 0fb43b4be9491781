//! Events of module `core`. `source`, `tags`, `timestampMillis` and (for children of Media) `type` are added when raised.

use protocol::{EventDef, Ref, event};

use crate::objects::names::{MediaElement, MediaObject};
use crate::types::{ConnectionState, MediaFlowState, MediaState, MediaTranscodingState, MediaType, Tag};

event! { "kurento"
    /// Something failed in an object. `errorCode` and `type` are those of the error table, or of the element.
    pub struct Error: RaiseBase {
        /// What failed.
        description "description": String,
        /// Number of the error.
        error_code "errorCode": i32,
        /// Name of the error.
        error_type "type": String,
    }

    /// An object was created.
    pub struct ObjectCreated: RaiseBase {
        /// The new object.
        object "object": Ref<MediaObject>,
    }

    /// An object was released or collected.
    pub struct ObjectDestroyed: RaiseBase {
        /// Id it had.
        object_id "objectId": String,
    }

    /// Two elements were connected; raised by the source.
    pub struct ElementConnected: Media {
        /// The sink.
        sink "sink": Ref<MediaElement>,
        /// What was connected.
        media_type "mediaType": MediaType,
        /// The source's pad.
        source_media_description "sourceMediaDescription": String,
        /// The sink's pad.
        sink_media_description "sinkMediaDescription": String,
    }

    /// Two elements were disconnected; raised by the source.
    pub struct ElementDisconnected: Media {
        /// The sink.
        sink "sink": Ref<MediaElement>,
        /// What was disconnected.
        media_type "mediaType": MediaType,
        /// The source's pad.
        source_media_description "sourceMediaDescription": String,
        /// The sink's pad.
        sink_media_description "sinkMediaDescription": String,
    }

    /// Media began or stopped to leave the element into the graph.
    pub struct MediaFlowOutStateChanged: Media {
        /// The new state.
        state "state": MediaFlowState,
        /// The pad.
        pad_name "padName": String,
        /// What flows.
        media_type "mediaType": MediaType,
    }

    /// Media began or stopped to enter the element from the graph.
    pub struct MediaFlowInStateChanged: Media {
        /// The new state.
        state "state": MediaFlowState,
        /// The pad.
        pad_name "padName": String,
        /// What flows.
        media_type "mediaType": MediaType,
    }

    /// Media that leaves the element is now transcoded, or no longer is.
    pub struct MediaTranscodingStateChanged: Media {
        /// The new state.
        state "state": MediaTranscodingState,
        /// Name of the conversion.
        bin_name "binName": String,
        /// What is transcoded.
        media_type "mediaType": MediaType,
    }

    /// The session of an endpoint began: a description was negotiated.
    pub struct MediaSessionStarted: Media {}

    /// The session of an endpoint ended.
    pub struct MediaSessionTerminated: Media {}

    /// Media of the remote is received, or no longer is.
    pub struct MediaStateChanged: Media {
        /// State before.
        old_state "oldState": MediaState,
        /// State now.
        new_state "newState": MediaState,
    }

    /// The transport to the remote is up, or no longer is.
    pub struct ConnectionStateChanged: Media {
        /// State before.
        old_state "oldState": ConnectionState,
        /// State now.
        new_state "newState": ConnectionState,
    }
}

/// The two abstract events that others extend.
pub fn base_events() -> [EventDef; 2] {
    let field = |name, doc: &str, ty| protocol::Field {
        name,
        doc: doc.into(),
        ty,
        optional: false,
        default: None,
    };
    [
        EventDef {
            name: "RaiseBase",
            module: "kurento",
            doc: "What every event has.".into(),
            parent: None,
            fields: vec![
                field(
                    "source",
                    "The object that raised the event.",
                    protocol::Type::Object("MediaObject"),
                ),
                field(
                    "timestampMillis",
                    "When, milliseconds since 1970, as a string.",
                    protocol::Type::String,
                ),
                field(
                    "tags",
                    "The object's tags, if `sendTagsInEvents` is set.",
                    <Vec<Tag> as protocol::Wire>::ty(),
                ),
            ],
        },
        EventDef {
            name: "Media",
            module: "kurento",
            doc: "What most events have: their own name again.".into(),
            parent: Some("RaiseBase"),
            fields: vec![field("type", "Name of the event.", protocol::Type::String)],
        },
    ]
}
