//! Making the segment of a filter.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{Branch, Format, Input, MediaError, Report, Segment, normalise};
use kms_core::object::lock;

use super::Filter;
use super::flow::Flow;

/// How much raw media waits for a filter that is too slow; then the oldest is dropped.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// A segment that has been made and is to be fed.
pub(super) struct Made {
    pub(super) running: Running,
    pub(super) branch: Arc<Branch>,
    pub(super) beginning: Arc<Mutex<Beginning>>,
}

pub(super) struct Running {
    pub(super) id: u64,
    pub(super) branch: Weak<Branch>,
    pub(super) inside: Weak<Inside>,
}

/// A failure, as clients and the log are told.
pub(super) type Failure = (gst::glib::Error, MediaError);

/// While a segment is made nobody is told that it fails but who makes it: others may hold locks.
#[derive(Default)]
pub(super) enum Beginning {
    #[default]
    Going,
    Failed(Failure),
    Over,
}

/// A segment and what feeds it.
pub(super) struct Inside {
    pub(super) segment: Segment,
    pub(super) input: Input,
    pub(super) id: u64,
    flow: Arc<Flow>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.flow.ended(self.id, self.segment.pipeline());
    }
}

impl Filter {
    /// A segment that nothing feeds yet.
    pub(super) fn make(&self) -> Result<Made, MediaError> {
        let id = self.segments.fetch_add(1, Ordering::Relaxed) + 1;
        let beginning: Arc<Mutex<Beginning>> = Arc::default();
        let report = {
            let (this, beginning) = (self.this.clone(), beginning.clone());
            move |report| {
                let Report::Failed {
                    element,
                    error,
                    detail,
                } = report
                else {
                    return;
                };
                let detail = format!("{element}: {error} ({detail})");
                let message = format!("The filter failed: {}", error.message());
                let failure = (error, MediaError { message, detail });
                let mut beginning = lock(&beginning);
                if let Beginning::Over = *beginning {
                    drop(beginning);
                    if let Some(this) = this.upgrade() {
                        this.failed(id, &failure);
                    }
                } else {
                    *beginning = Beginning::Failed(failure);
                }
            }
        };
        let segment = Segment::new(&self.timeline, &self.name, report);
        let input = Input::new(&segment, LONGEST_QUEUE)?;
        let (first, last) = self.work.add(&segment)?;
        let tail = segment.add(&normalise(self.kind, Format::Raw))?;
        let sink = AppSink::builder().build();
        let linked = segment.pipeline().add(&sink).is_ok()
            && input.appsrc().link(&first).is_ok()
            && gst::Element::link_many([&last, tail.upcast_ref(), sink.upcast_ref()]).is_ok();
        if !linked {
            return Err(MediaError::new("Media can't be set up"));
        }
        let branch = Branch::of(Format::Raw, &sink);
        self.flow.begins(id, &sink, segment.pipeline());
        segment.play()?;
        let inside = Arc::new(Inside {
            segment,
            input,
            id,
            flow: self.flow.clone(),
        });
        let weak = Arc::downgrade(&inside);
        let branch = branch.made_by(inside);
        let running = Running {
            id,
            branch: Arc::downgrade(&branch),
            inside: weak,
        };
        Ok(Made {
            running,
            branch,
            beginning,
        })
    }
}
