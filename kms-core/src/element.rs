//! Media elements: what can be connected.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::Value;

use crate::graph::Way;
use crate::media::{Format, Leaving, Source, Timeline, Transcoding};
use crate::object::{Object, ObjectCore, lock};
use crate::objects::MediaPipeline;
use crate::types::MediaType;

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

    /// The format in which it takes media of this kind, or would; `None`: none, as it comes, or its statistics tell.
    fn taking(&self, media: MediaType) -> Option<Format> {
        (self.way(media) == Way::Changed).then_some(Format::Raw)
    }

    /// What media flows from, of what it gives; nothing is made for the asking.
    fn flowing(&self) -> Vec<Arc<Source>> {
        self.element().sources()
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
    /// Not above; 0: no bound. Default 2,147,483,647.
    pub max: i32,
}

impl Default for EncoderBitrates {
    fn default() -> Self {
        EncoderBitrates {
            target: 300_000,
            min: 0,
            max: i32::MAX,
        }
    }
}

impl EncoderBitrates {
    /// What video is encoded with, bits a second: what was set, or else what is usual there; within the bounds that were set. If they
    /// contradict each other, the upper one holds.
    pub fn aim(&self, usual: u32) -> u32 {
        let bits = |value: i32| u32::try_from(value).ok().filter(|bits| *bits > 0);
        let wanted = match bits(self.target) {
            Some(bits) if self.target != EncoderBitrates::default().target => bits,
            _ => usual,
        };
        let most = bits(self.max).unwrap_or(u32::MAX);
        wanted.clamp(bits(self.min).unwrap_or(1).min(most), most)
    }
}

/// How old media is when it leaves the server: a mean over the last moments, by kind.
#[derive(Debug, Default)]
pub struct Latency {
    /// Nanoseconds; 0: not measured. Written by whoever sends media, one thread a kind.
    means: [AtomicU64; 2],
}

impl Latency {
    /// Weight of what is older than the newest measurement, of 16.
    const OLDER: u64 = 15;

    /// Media of this age leaves.
    pub fn note(&self, media: MediaType, age: Duration) {
        let Some(mean) = self.mean_of(media) else { return };
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX / 16).max(1);
        let before = mean.load(Ordering::Relaxed);
        let now = match before {
            0 => age,
            before => (before.saturating_mul(Latency::OLDER) + age) / (Latency::OLDER + 1),
        };
        mean.store(now, Ordering::Relaxed);
    }

    /// The mean; `None`: nothing has left.
    pub fn mean(&self, media: MediaType) -> Option<Duration> {
        let mean = self.mean_of(media)?.load(Ordering::Relaxed);
        (mean > 0).then(|| Duration::from_nanos(mean))
    }

    fn mean_of(&self, media: MediaType) -> Option<&AtomicU64> {
        match media {
            MediaType::Audio => Some(&self.means[0]),
            MediaType::Video => Some(&self.means[1]),
            MediaType::Data => None,
        }
    }
}

/// An element's sources, and what was asked of them: those that come later are asked the same.
#[derive(Default)]
struct Formats {
    sources: Vec<Weak<Source>>,
    asked: Vec<(MediaType, Leaving)>,
}

impl Formats {
    fn asked(&self, kind: MediaType) -> Option<Leaving> {
        self.asked
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, leaving)| *leaving)
    }
}

/// The part that all elements share.
pub struct ElementCore {
    /// What all objects share.
    pub object: ObjectCore,
    /// The element's number in its pipeline's graph.
    pub(crate) node: u64,
    /// Set by clients on any connection; read by the element's sources, too.
    bitrates: Arc<Mutex<EncoderBitrates>>,
    /// What it gives, and the formats in which that is asked to leave, by kind.
    leaving: Mutex<Formats>,
    transcoding: Arc<Transcoding>,
    latency: Arc<Latency>,
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
            latency: Arc::default(),
            object,
            node: server.next_node(),
            bitrates: Arc::default(),
            leaving: Mutex::default(),
        })
    }

    /// What the user set for encoders.
    pub fn bitrates(&self) -> EncoderBitrates {
        *lock(&self.bitrates)
    }

    /// Changes what the user set for encoders.
    pub fn change_bitrates(&self, change: impl FnOnce(&mut EncoderBitrates)) {
        change(&mut lock(&self.bitrates));
    }

    /// A source of the element's, which gives nothing yet. The name is for logs.
    pub fn new_source(&self, timeline: &Timeline, name: &str, kind: MediaType) -> Arc<Source> {
        let source = Source::of(
            timeline,
            name,
            kind,
            Some(self.transcoding.clone()),
            self.bitrates.clone(),
        );
        let mut formats = lock(&self.leaving);
        formats.sources.retain(|source| source.strong_count() > 0);
        formats.sources.push(Arc::downgrade(&source));
        if let Some(asked) = formats.asked(kind) {
            // It has no consumers yet that would be told.
            source.set_leaving(Some(asked));
        }
        source
    }

    /// The sources there are.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        let formats = lock(&self.leaving);
        formats.sources.iter().filter_map(Weak::upgrade).collect()
    }

    /// Media of this kind is asked to leave in this format from now on.
    pub fn set_leaving(&self, kind: MediaType, leaving: Leaving) {
        {
            let mut formats = lock(&self.leaving);
            formats.asked.retain(|(asked, _)| *asked != kind);
            formats.asked.push((kind, leaving));
        }
        for source in self.sources().iter().filter(|source| source.kind() == kind) {
            source.set_leaving(Some(leaving));
        }
    }

    /// Whether what leaves the element is converted.
    pub fn transcoding(&self) -> &Transcoding {
        &self.transcoding
    }

    /// Where it is noted how old media is that leaves the server here.
    pub fn latency(&self) -> &Arc<Latency> {
        &self.latency
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_is_encoded_with_what_was_set_within_its_bounds() {
        let of = |target, min, max| EncoderBitrates { target, min, max }.aim(1_500_000);
        let most = i32::MAX;
        assert_eq!(EncoderBitrates::default().aim(1_500_000), 1_500_000);
        assert_eq!(of(700_000, 0, most), 700_000);
        assert_eq!(of(300_000, 0, 500_000), 500_000);
        assert_eq!(of(700_000, 900_000, most), 900_000);
        assert_eq!(of(700_000, 900_000, 800_000), 800_000);
        assert_eq!(of(700_000, 0, 0), 700_000, "0 is no bound");
        assert_eq!(of(-1, -1, -1), 1_500_000);
    }

    #[test]
    fn latency_is_a_mean_that_follows() {
        let latency = Latency::default();
        assert_eq!(latency.mean(MediaType::Video), None);
        let ms = Duration::from_millis;
        latency.note(MediaType::Video, ms(32));
        assert_eq!(latency.mean(MediaType::Video), Some(ms(32)));
        latency.note(MediaType::Video, ms(64));
        assert_eq!(latency.mean(MediaType::Video), Some(ms(34)));
        (0..200).for_each(|_| latency.note(MediaType::Video, ms(10)));
        assert!(latency.mean(MediaType::Video).is_some_and(|mean| mean < ms(11)));
        assert_eq!(latency.mean(MediaType::Audio), None, "kinds are apart");
        latency.note(MediaType::Audio, Duration::MAX);
        assert!(latency.mean(MediaType::Audio).is_some());
    }
}
