//! A segment: a GStreamer pipeline of an element's own, on the clock that all segments share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use gst::prelude::*;

use super::{Counters, Timeline, guarded};
use crate::object::lock;

/// What went wrong with media: one clear sentence for clients, and what GStreamer said for the log.
#[derive(Debug, Clone)]
pub struct MediaError {
    /// For clients.
    pub message: String,
    /// For the log.
    pub detail: String,
}

impl MediaError {
    /// An error with nothing more to say.
    pub fn new(message: impl Into<String>) -> MediaError {
        MediaError {
            message: message.into(),
            detail: String::new(),
        }
    }
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MediaError {}

/// What a segment reports.
#[derive(Debug)]
pub enum Report {
    /// The pipeline has reached this state.
    State(gst::State),
    /// Its end was reached.
    EndOfStream,
    /// It failed, and does no more. The name is that of the element of GStreamer that failed.
    Failed {
        /// What failed.
        element: String,
        /// The error, by which kinds of failure are told apart.
        error: gst::glib::Error,
        /// More for the log.
        detail: String,
    },
}

/// A pipeline that stops when it is dropped.
pub struct Segment {
    pipeline: gst::Pipeline,
    orders: Arc<Orders>,
    hearer: Arc<OnceLock<Hearer>>,
    counters: Arc<Counters>,
}

/// Who hears what elements find in media.
type Hearer = Box<dyn Fn(&gst::StructureRef) + Send + Sync>;

/// Something that takes its time, to be done with a pipeline.
type Order = Box<dyn FnOnce(&gst::Pipeline) + Send>;

/// Orders that may wait; with more, the oldest is left out: what comes later undoes it anyway.
const MOST_ORDERS: usize = 64;

/// What is to be done with a pipeline, one after the other, on a thread of GStreamer that is there as long as there is something
/// to do.
#[derive(Default)]
struct Orders {
    /// What waits, and whether a thread is at it.
    queue: Mutex<(VecDeque<Order>, bool)>,
}

impl Orders {
    fn give(self: &Arc<Self>, pipeline: &gst::Pipeline, order: Order) {
        let begins = {
            let mut queue = lock(&self.queue);
            if queue.0.len() >= MOST_ORDERS {
                queue.0.pop_front();
            }
            queue.0.push_back(order);
            !std::mem::replace(&mut queue.1, true)
        };
        if begins {
            let orders = self.clone();
            pipeline.call_async(move |pipeline| {
                while let Some(order) = orders.next() {
                    guarded(None, || order(pipeline));
                }
            });
        }
    }

    fn next(&self) -> Option<Order> {
        let mut queue = lock(&self.queue);
        let next = queue.0.pop_front();
        queue.1 = next.is_some();
        next
    }
}

impl Segment {
    /// An empty one. `report` is called on GStreamer's threads: it must be quick, and must not drop the segment there.
    pub fn new(timeline: &Timeline, name: &str, report: impl Fn(Report) + Send + Sync + 'static) -> Segment {
        let pipeline = gst::Pipeline::with_name(name);
        timeline.apply(&pipeline);
        Segment::of(timeline, pipeline, report)
    }

    /// One that keeps time by itself: for files, which begin at zero and can be paused and sought in.
    pub fn with_own_time(
        timeline: &Timeline,
        name: &str,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Segment {
        let pipeline = gst::Pipeline::with_name(name);
        pipeline.use_clock(Some(timeline.clock()));
        Segment::of(timeline, pipeline, report)
    }

    fn of(
        timeline: &Timeline,
        pipeline: gst::Pipeline,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Segment {
        let hearer: Arc<OnceLock<Hearer>> = Arc::default();
        Segment::watch(&pipeline, report, hearer.clone());
        Segment {
            pipeline,
            orders: Arc::default(),
            hearer,
            counters: timeline.counters().clone(),
        }
    }

    /// What all segments do together.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Elements tell what they find in media, such as a bar code: this hears it, on their threads. The first to ask is heard.
    pub fn hear(&self, hearer: impl Fn(&gst::StructureRef) + Send + Sync + 'static) {
        let _ = self.hearer.set(Box::new(hearer));
    }

    fn watch(
        pipeline: &gst::Pipeline,
        report: impl Fn(Report) + Send + Sync + 'static,
        hearer: Arc<OnceLock<Hearer>>,
    ) {
        let Some(bus) = pipeline.bus() else { return };
        let report = Arc::new(report);
        let weak = pipeline.downgrade();
        bus.set_sync_handler(move |_, message| {
            guarded(None, || match message.view() {
                gst::MessageView::StateChanged(change)
                    if weak
                        .upgrade()
                        .is_some_and(|p| message.src() == Some(p.upcast_ref())) =>
                {
                    report(Report::State(change.current()))
                }
                gst::MessageView::Eos(_) => report(Report::EndOfStream),
                gst::MessageView::Element(told) => {
                    if let (Some(hearer), Some(structure)) = (hearer.get(), told.structure()) {
                        hearer(structure);
                    }
                }
                gst::MessageView::Error(error) => report(Report::Failed {
                    element: message.src().map(|s| s.name().to_string()).unwrap_or_default(),
                    error: error.error(),
                    detail: error.debug().unwrap_or_default().to_string(),
                }),
                _ => {}
            });
            // Nobody reads the bus, and what lies there would pile up.
            gst::BusSyncReply::Drop
        });
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// Adds elements written as for `gst-launch`, with unlinked pads at their ends as pads of the bin. The text is ours or
    /// was checked: it is never a client's.
    pub fn add(&self, description: &str) -> Result<gst::Bin, MediaError> {
        let bin = gst::parse::bin_from_description(description, true).map_err(|error| MediaError {
            message: "A part of GStreamer is missing or can't be set up; the server's log names it".into(),
            detail: format!("{description}: {error}"),
        })?;
        self.pipeline.add(&bin).map_err(|e| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        })?;
        Ok(bin)
    }

    /// Does something that takes its time, such as what touches files and networks, after all that was asked for before. Does not
    /// wait for it.
    pub fn later(&self, order: impl FnOnce(&gst::Pipeline) + Send + 'static) {
        self.orders.give(&self.pipeline, Box::new(order));
    }

    /// Brings it into a state without waiting. What goes wrong is reported.
    pub fn go(&self, state: gst::State) {
        self.later(move |pipeline| {
            if let Err(error) = pipeline.set_state(state) {
                // The element that failed has said why.
                tracing::debug!(pipeline = %pipeline.name(), ?state, %error, "a segment does not change its state");
            }
        });
    }

    /// Starts it. What goes wrong later is reported.
    pub fn play(&self) -> Result<(), MediaError> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map(drop)
            .map_err(|e| MediaError {
                message: "Media can't be started; the server's log has more".into(),
                detail: e.to_string(),
            })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Stopping waits for the segment's threads, of which this may be one, and a lock they want may be held here.
        self.later(|pipeline| {
            if let Err(error) = pipeline.set_state(gst::State::Null) {
                tracing::warn!(pipeline = %pipeline.name(), %error, "a segment does not stop");
            }
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
        });
    }
}
