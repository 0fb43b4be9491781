//! Media in one format, for any number of consumers.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use gst::prelude::*;
use gst_app::AppSink;
use gst_utils::streamproducer::{ProducerSettings, StreamProducer};

use super::{Format, probe};

/// Media in one format: a conversion that is shared by all who want it, or what the source itself gives. It lasts as long as
/// somebody holds it.
pub struct Branch {
    pub(super) format: Format,
    pub(super) producer: StreamProducer,
    /// What has passed since somebody counts.
    passed: OnceLock<Arc<Passed>>,
    /// Some pictures come earlier than they are shown.
    pub(super) reorders: AtomicBool,
    /// What makes it, such as a conversion's segment with what feeds it; none for what the source itself gives.
    _maker: Option<Box<dyn Any + Send + Sync>>,
}

impl Branch {
    /// What arrives at this appsink, in this format. The element that owns the appsink keeps its segment running.
    pub fn native(format: Format, appsink: &AppSink) -> Arc<Branch> {
        Arc::new(Branch::of(format, appsink))
    }

    /// The same, to be given its maker. To be called before the appsink's segment is started.
    pub fn of(format: Format, appsink: &AppSink) -> Branch {
        Branch {
            format,
            passed: OnceLock::new(),
            producer: producer(appsink),
            reorders: AtomicBool::new(false),
            _maker: None,
        }
    }

    /// What makes the media lasts as long as the branch.
    pub fn made_by(self, maker: impl Any + Send + Sync) -> Arc<Branch> {
        Arc::new(Branch {
            _maker: Some(Box::new(maker)),
            ..self
        })
    }

    /// It was seen that some of its pictures come earlier than they are shown. True: that is news, and consumers of the source are
    /// to be told by [`Source::changed`](super::Source::changed).
    pub fn set_reorders(&self) -> bool {
        !self.reorders.swap(true, Ordering::Relaxed)
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Counts what passes from now on, behind the probes that there are: what they leave out is not given.
    pub(super) fn passed(&self) -> &Passed {
        self.passed.get_or_init(|| Passed::at(self.producer.appsink()))
    }
}

/// An appsink's media for any number of consumers. It does not wait for the clock: whoever shows or sends media does, and
/// each wait would add its latency to the next.
fn producer(appsink: &AppSink) -> StreamProducer {
    appsink.set_property("async", false);
    appsink.set_property("enable-last-sample", false);
    let producer = StreamProducer::with(appsink, ProducerSettings { sync: false });
    // The end of a file is no end for its consumers, who may get another source: elements tell it.
    producer.set_forward_events([gst::EventType::Gap]);
    producer
}

/// What has passed since the beginning.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Passed {
    /// Counts what arrives at an appsink.
    fn at(appsink: &AppSink) -> Arc<Passed> {
        let passed = Arc::new(Passed::default());
        let Some(pad) = appsink.static_pad("sink") else {
            return passed;
        };
        let counting = passed.clone();
        probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                counting.frames.fetch_add(1, Ordering::Relaxed);
                counting.bytes.fetch_add(buffer.size() as u64, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        passed
    }
}
