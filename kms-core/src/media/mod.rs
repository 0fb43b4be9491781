//! Media in GStreamer: formats, segments, and sources whose media can be had in other formats too.
//!
//! An element owns small pipelines, *segments*, all on one clock and base time. What one gives to others is a [`Source`]: it has
//! a native format, and gives others through conversions that are made when the first consumer asks for them, shared by all,
//! and dropped with the last. Segments are joined by `StreamProducer` (an appsink that feeds any number of appsrcs), never by
//! pads: so the graph changes while media flows, and an error in one segment stays there.

mod branch;
mod convert;
mod counters;
mod encoders;
mod errors;
mod format;
mod guard;
mod hardware;
mod input;
mod planes;
mod segment;
mod source;
mod transcoding;

use std::sync::Arc;

use gst::prelude::*;

pub use branch::Branch;
pub use convert::normalise;
pub use counters::Counters;
pub use errors::error_name;
pub use format::{Codec, Format};
pub use guard::{guarded, probe};
use hardware::Hardware;
pub use input::{DirectInput, Handover, Input};
pub use planes::{Fetching, Images, Planes, ycbcr};
pub use segment::{MediaError, Report, Segment};
pub use source::{Consumer, Leaving, Origin, Output, Quality, Source, Wanted};
pub use transcoding::Transcoding;

/// The time that all segments share: a moment has the same running time in each.
#[derive(Debug, Clone)]
pub struct Timeline {
    clock: gst::Clock,
    base_time: gst::ClockTime,
    hardware: Arc<Hardware>,
    counters: Arc<Counters>,
}

impl Timeline {
    /// Starts GStreamer and the time. Fails if GStreamer can't be loaded.
    pub fn start() -> Result<Timeline, MediaError> {
        gst::init().map_err(|error| MediaError {
            message: format!("GStreamer can't be started: {error}"),
            detail: String::new(),
        })?;
        let clock = gst::SystemClock::obtain();
        let base_time = clock.time();
        let hardware = Arc::new(Hardware::known());
        Ok(Timeline {
            clock,
            base_time,
            hardware,
            counters: Arc::default(),
        })
    }

    /// Encodes in hardware where there is some (the default), or never.
    pub fn with_hardware_encoders(mut self, wanted: bool) -> Timeline {
        self.hardware = Arc::new(if wanted {
            Hardware::known()
        } else {
            Hardware::none()
        });
        self
    }

    /// What all segments do together.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The encoders of this machine's hardware.
    fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// The clock.
    pub fn clock(&self) -> &gst::Clock {
        &self.clock
    }

    /// Running time now.
    pub fn now(&self) -> gst::ClockTime {
        self.clock.time().saturating_sub(self.base_time)
    }

    /// The running time, in the shared time, of a moment of the clock.
    pub fn running_time(&self, clock_time: gst::ClockTime) -> gst::ClockTime {
        clock_time.saturating_sub(self.base_time)
    }

    fn apply(&self, pipeline: &gst::Pipeline) {
        pipeline.use_clock(Some(&self.clock));
        // Without it the pipeline would choose a base time of its own whenever it starts.
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(self.base_time);
    }
}
