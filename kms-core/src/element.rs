//! Media elements: what can be connected.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::graph::Way;
use crate::media::{Source, Timeline, Transcoding};
use crate::object::{Object, ObjectCore, lock};
use crate::objects::MediaPipeline;
use crate::types::{AudioCaps, MediaType, VideoCaps};

/// Statistics by id, as `getStats` answers them.
pub type StatsMap = BTreeMap<String, Value>;

/// A media element: an object with sources and sinks.
pub trait Element: Object {
    /// The part that all elements share.
    fn element(&self) -> &ElementCore;

    /// What becomes of a kind of media that enters the element. Never changes.
    fn way(&self, _media: MediaType) -> Way {
        Way::Ends
    }

    /// What the element gives of a kind of media, to whoever takes it by way of GStreamer. `None`: nothing, or nothing yet.
    fn source(&self, _media: MediaType) -> Option<Arc<Source>> {
        None
    }

    /// The element is now fed by `source`, or by nobody. Called with the pipeline's graph locked: be quick, call nothing
    /// that asks the graph.
    fn fed_by(&self, _media: MediaType, _source: Option<&Arc<dyn Element>>) {}

    /// Statistics, besides what all elements have.
    fn stats(&self, _media: Option<MediaType>) -> Pin<Box<dyn Future<Output = StatsMap> + Send>> {
        Box::pin(async { StatsMap::new() })
    }

    /// Whether statistics are those of an end point.
    fn is_endpoint(&self) -> bool {
        false
    }

    /// Parameters to show in a graph drawing, name and value.
    fn dot_parameters(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Bitrates that encoders of an element aim at, bits a second.
#[derive(Debug, Clone, Copy)]
pub struct EncoderBitrates {
    /// Start here. Default 300,000.
    pub target: i32,
    /// Not below. Default 0.
    pub min: i32,
    /// Not above. Default 2,147,483,647.
    pub max: i32,
}

/// What the user set for an element's encoders.
#[derive(Debug, Clone)]
pub struct ElementSettings {
    /// Bitrates.
    pub bitrates: EncoderBitrates,
    /// Format that audio is to leave in.
    pub audio_format: Option<AudioCaps>,
    /// Format that video is to leave in.
    pub video_format: Option<VideoCaps>,
}

impl Default for ElementSettings {
    fn default() -> Self {
        let bitrates = EncoderBitrates {
            target: 300_000,
            min: 0,
            max: i32::MAX,
        };
        ElementSettings {
            bitrates,
            audio_format: None,
            video_format: None,
        }
    }
}

/// The part that all elements share.
pub struct ElementCore {
    /// What all objects share.
    pub object: ObjectCore,
    /// The element's number in its pipeline's graph.
    pub(crate) node: u64,
    /// Set by clients on any connection.
    settings: Mutex<ElementSettings>,
    transcoding: Arc<Transcoding>,
}

impl ElementCore {
    /// A new element of `pipeline`, child of `parent` (the pipeline itself, or a hub).
    pub fn new(
        pipeline: &Arc<MediaPipeline>,
        parent: &ObjectCore,
        qualified_type: &str,
    ) -> Option<ElementCore> {
        let server = parent.server()?;
        let object =
            ObjectCore::new(&server, qualified_type, Some(parent)).in_pipeline(Arc::downgrade(pipeline));
        Some(ElementCore {
            transcoding: Transcoding::new(&server, object.id()),
            object,
            node: server.next_node(),
            settings: Mutex::new(ElementSettings::default()),
        })
    }

    /// What the user set.
    pub fn settings(&self) -> ElementSettings {
        lock(&self.settings).clone()
    }

    /// Changes what the user set.
    pub fn change_settings(&self, change: impl FnOnce(&mut ElementSettings)) {
        change(&mut lock(&self.settings));
    }

    /// A source of the element's, which gives nothing yet. The name is for logs.
    pub fn new_source(&self, timeline: &Timeline, name: &str, kind: MediaType) -> Arc<Source> {
        Source::of(timeline, name, kind, Some(self.transcoding.clone()))
    }

    /// Whether what leaves the element is converted.
    pub fn transcoding(&self) -> &Transcoding {
        &self.transcoding
    }

    /// Says that the element began or stopped to produce media.
    pub fn set_producing(&self, media: MediaType, producing: bool) {
        if let Some(pipeline) = self.object.pipeline() {
            pipeline.set_producing(self.node, media, producing);
        }
    }

    /// Takes the element out of its pipeline's graph; for [`Object::released`].
    pub fn leave(&self) {
        if let Some(pipeline) = self.object.pipeline() {
            pipeline.leave(self.node);
        }
    }
}
