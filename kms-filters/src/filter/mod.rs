//! What all filters share: a segment between the source that feeds them and those who take what they give. It is there while
//! somebody takes it.

mod class;
mod flow;
mod level;
mod making;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use kms_core::graph::Way;
use kms_core::media::{
    Branch, Consumer, Format, MediaError, Origin, Quality, Segment, Source, Timeline, Wanted, error_name,
};
use kms_core::object::lock;
use kms_core::types::MediaType;
use kms_core::{Element, ElementCore, events};
use protocol::Error;

use self::flow::Flow;
use self::level::{LONGEST_ROW, Level};
use self::making::{Beginning, Failure, Made, Running};
pub(crate) use class::{HasFilter, filter, filter_object};

/// A filter that has failed so often since it was connected is not begun anew when its source changes.
const MOST_FAILURES: u32 = 3;

/// What a filter does with media.
pub(crate) trait Work: Send + Sync {
    /// Adds its elements to a segment, linked: what raw media enters, and what it leaves as raw media of any format.
    fn add(&self, segment: &Segment) -> Result<(gst::Element, gst::Element), MediaError>;
}

#[derive(Default)]
struct State {
    upstream: Option<Arc<Source>>,
    /// Counts what may change the media that enters: who obtained it before such a change asks again.
    changes: u64,
    running: Option<Running>,
    failed: bool,
    failures: u32,
}

impl State {
    fn fail(&mut self) {
        self.running = None;
        self.failed = true;
        self.failures += 1;
    }
}

/// The inside of an element that changes one kind of media.
pub(crate) struct Filter {
    this: Weak<Filter>,
    element: Arc<ElementCore>,
    timeline: Timeline,
    /// For logs, and for the names of threads.
    name: String,
    kind: MediaType,
    work: Arc<dyn Work>,
    source: Arc<Source>,
    flow: Arc<Flow>,
    segments: AtomicU64,
    /// Changed by the graph, by consumers that ask for media, and when a segment fails. Held for moments.
    state: Mutex<State>,
}

impl Filter {
    /// One that nothing feeds yet. The name is for logs.
    pub(crate) fn new(
        element: ElementCore,
        timeline: &Timeline,
        name: &str,
        kind: MediaType,
        work: Arc<dyn Work>,
    ) -> Arc<Filter> {
        let element = Arc::new(element);
        let source = element.new_source(timeline, name, kind);
        let filter = Arc::new_cyclic(|this| Filter {
            this: this.clone(),
            flow: Flow::new(&element, kind),
            element,
            timeline: timeline.clone(),
            name: name.to_owned(),
            kind,
            work,
            source,
            segments: AtomicU64::new(0),
            state: Mutex::default(),
        });
        filter.source.set_origin(filter.this.clone());
        filter
    }

    /// The part that all elements share.
    pub(crate) fn element(&self) -> &ElementCore {
        &self.element
    }

    /// For [`Element::way`].
    pub(crate) fn way(&self, media: MediaType) -> Way {
        if media == self.kind {
            Way::Changed
        } else {
            Way::Through
        }
    }

    /// For [`Element::source`].
    pub(crate) fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        (media == self.kind).then(|| self.source.clone())
    }

    /// For [`Element::fed_by`].
    pub(crate) fn fed_by(&self, media: MediaType, source: Option<&Arc<dyn Element>>) {
        if media == self.kind {
            self.set_upstream(source.and_then(|s| s.source(media)));
        }
    }

    /// For [`kms_core::Object::released`].
    pub(crate) fn released(&self) {
        self.element.leave();
        self.set_upstream(None);
    }

    fn set_upstream(&self, upstream: Option<Arc<Source>>) {
        let me: Weak<dyn Consumer> = self.this.clone();
        let before = {
            let mut state = lock(&self.state);
            state.failed = false;
            state.failures = 0;
            state.changes += 1;
            std::mem::replace(&mut state.upstream, upstream.clone())
        };
        if let Some(before) = before {
            before.detach(&me);
        }
        if let Some(upstream) = upstream {
            upstream.attach(me);
        }
        self.tell(|| self.source.changed());
    }

    /// Something was changed that may make a filter work that has failed.
    pub(crate) fn try_again(&self) {
        let failed = {
            let mut state = lock(&self.state);
            state.failures = 0;
            std::mem::take(&mut state.failed)
        };
        if failed {
            self.tell(|| self.source.changed());
        }
    }

    /// Tells clients that something failed beside the stream.
    pub(crate) fn raise(&self, error: Error) {
        tracing::warn!(filter = self.element.object.id(), "{}", error.message);
        self.element.object.raise(&events::Error {
            error_code: error.code.number(),
            error_type: error.code.name().into(),
            description: error.message,
        });
    }

    /// What GStreamer does, in DOT format.
    pub(crate) fn dot(&self) -> String {
        let inside = lock(&self.state)
            .running
            .as_ref()
            .and_then(|r| r.inside.upgrade());
        let dot = inside.map(|i| {
            i.segment
                .pipeline()
                .debug_to_dot_data(gst::DebugGraphDetails::all())
                .to_string()
        });
        dot.unwrap_or_else(|| "digraph pipeline {}\n".into())
    }

    /// Tells consumers something. They may be filters, which tell theirs: no further than filters may stand in a row.
    fn tell(&self, tell: impl FnOnce()) {
        if let Some(_level) = Level::enter() {
            tell();
        }
    }

    /// Feeds the segment that runs, if one does: `Some` has it.
    fn feed(&self, state: &State, entering: &Arc<Branch>) -> Option<Arc<Branch>> {
        let running = state.running.as_ref()?;
        let branch = running.branch.upgrade()?;
        running.inside.upgrade()?.input.connect(Some(entering.clone()));
        Some(branch)
    }

    /// A segment failed: it is made anew when the source changes, unless it fails again and again.
    fn failed(&self, id: u64, failure: &Failure) {
        {
            let mut state = lock(&self.state);
            if state.running.as_ref().is_none_or(|r| r.id != id) {
                return;
            }
            state.fail();
        }
        self.tell_failure(failure);
        self.tell(|| self.source.changed());
    }

    fn tell_failure(&self, (error, failed): &Failure) {
        tracing::warn!(filter = self.element.object.id(), detail = %failed.detail, "{failed}");
        let (error_code, error_type) = error_name(error);
        self.element.object.raise(&events::Error {
            description: failed.message.clone(),
            error_code,
            error_type,
        });
    }
}

impl Origin for Filter {
    fn give(&self) -> Result<Option<Arc<Branch>>, MediaError> {
        let Some(_level) = Level::enter() else {
            return Err(MediaError::new(format!(
                "More than {LONGEST_ROW} filters in a row, or a circle of them, give no media"
            )));
        };
        let raw = Wanted {
            format: Format::Raw,
            quality: Quality::ANY,
            in_order: true,
        };
        let mut made: Option<Made> = None;
        loop {
            let (upstream, changes) = {
                let state = lock(&self.state);
                match (&state.upstream, state.failed) {
                    (Some(upstream), false) => (upstream.clone(), state.changes),
                    _ => return Ok(None),
                }
            };
            let Some(entering) = upstream.obtain(|_| Some(raw))? else {
                return Ok(None);
            };
            {
                let mut state = lock(&self.state);
                if state.changes != changes {
                    continue;
                }
                if let Some(branch) = self.feed(&state, &entering) {
                    return Ok(Some(branch));
                }
                if let Some(made) = made.take() {
                    let began = std::mem::replace(&mut *lock(&made.beginning), Beginning::Over);
                    if let Beginning::Failed(failure) = began {
                        state.fail();
                        drop(state);
                        self.tell_failure(&failure);
                        return Ok(None);
                    }
                    state.running = Some(made.running);
                    self.feed(&state, &entering);
                    return Ok(Some(made.branch));
                }
            }
            match self.make() {
                Ok(new) => made = Some(new),
                Err(error) => {
                    lock(&self.state).fail();
                    self.tell_failure(&(
                        gst::glib::Error::new(gst::CoreError::Failed, &error.message),
                        error,
                    ));
                    return Ok(None);
                }
            }
        }
    }
}

impl Consumer for Filter {
    fn source_changed(&self, _kind: MediaType) {
        {
            let mut state = lock(&self.state);
            state.changes += 1;
            if state.failures < MOST_FAILURES {
                state.failed = false;
            }
        }
        self.tell(|| self.source.changed());
    }

    fn source_ended(&self, _kind: MediaType) {
        self.tell(|| self.source.ended());
    }

    fn source_failed(&self, _kind: MediaType, error: &MediaError) {
        lock(&self.state).changes += 1;
        self.tell(|| self.source.interrupted(error));
    }
}
