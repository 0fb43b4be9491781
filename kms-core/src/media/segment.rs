//! A segment: a GStreamer pipeline of an element's own, on the clock that all segments share.

use std::fmt;
use std::sync::Arc;

use gst::prelude::*;

use super::Timeline;

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
}

impl Segment {
    /// An empty one. `report` is called on GStreamer's threads: it must be quick, and must not drop the segment there.
    pub fn new(timeline: &Timeline, name: &str, report: impl Fn(Report) + Send + Sync + 'static) -> Segment {
        let pipeline = gst::Pipeline::with_name(name);
        timeline.apply(&pipeline);
        Segment::watch(&pipeline, report);
        Segment { pipeline }
    }

    /// One that keeps time by itself: for files, which begin at zero and can be paused and sought in.
    pub fn with_own_time(
        timeline: &Timeline,
        name: &str,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Segment {
        let pipeline = gst::Pipeline::with_name(name);
        pipeline.use_clock(Some(timeline.clock()));
        Segment::watch(&pipeline, report);
        Segment { pipeline }
    }

    fn watch(pipeline: &gst::Pipeline, report: impl Fn(Report) + Send + Sync + 'static) {
        let Some(bus) = pipeline.bus() else { return };
        let report = Arc::new(report);
        bus.set_sync_handler(move |_, message| {
            match message.view() {
                gst::MessageView::Eos(_) => report(Report::EndOfStream),
                gst::MessageView::Error(error) => report(Report::Failed {
                    element: message.src().map(|s| s.name().to_string()).unwrap_or_default(),
                    error: error.error(),
                    detail: error.debug().unwrap_or_default().to_string(),
                }),
                _ => {}
            }
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
        self.pipeline.call_async(|pipeline| {
            if let Err(error) = pipeline.set_state(gst::State::Null) {
                tracing::warn!(pipeline = %pipeline.name(), %error, "a segment does not stop");
            }
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
        });
    }
}
