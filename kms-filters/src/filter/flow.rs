//! Whether media leaves a filter, as clients are told.

use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::ElementCore;
use kms_core::media::{guarded, probe};
use kms_core::object::lock;
use kms_core::types::MediaType;

/// Follows the segments of a filter, which begin and end on any thread and under any lock.
pub(super) struct Flow {
    this: Weak<Flow>,
    element: Weak<ElementCore>,
    kind: MediaType,
    /// The segment that began last, and whether media leaves it.
    now: Mutex<(u64, bool)>,
    /// Held while the graph is told, for what it is told last has to be true.
    telling: Mutex<()>,
}

impl Flow {
    pub(super) fn new(element: &Arc<ElementCore>, kind: MediaType) -> Arc<Flow> {
        Arc::new_cyclic(|this| Flow {
            this: this.clone(),
            element: Arc::downgrade(element),
            kind,
            now: Mutex::default(),
            telling: Mutex::default(),
        })
    }

    /// A segment with this number begins; media leaves it once a buffer comes to the sink.
    pub(super) fn begins(&self, id: u64, sink: &AppSink, pipeline: &gst::Pipeline) {
        *lock(&self.now) = (id, false);
        self.tell(pipeline);
        let (this, pipeline) = (self.this.clone(), pipeline.downgrade());
        let Some(pad) = sink.static_pad("sink") else {
            return;
        };
        probe(&pad, gst::PadProbeType::BUFFER, move |_, _| {
            if let (Some(this), Some(pipeline)) = (this.upgrade(), pipeline.upgrade()) {
                this.set(id, true, &pipeline);
            }
            gst::PadProbeReturn::Remove
        });
    }

    /// The segment ends.
    pub(super) fn ended(&self, id: u64, pipeline: &gst::Pipeline) {
        self.set(id, false, pipeline);
    }

    fn set(&self, id: u64, flows: bool, pipeline: &gst::Pipeline) {
        {
            let mut now = lock(&self.now);
            if now.0 != id {
                return;
            }
            now.1 = flows;
        }
        self.tell(pipeline);
    }

    /// On a thread of GStreamer: here the graph may be locked.
    fn tell(&self, pipeline: &gst::Pipeline) {
        let this = self.this.clone();
        pipeline.call_async(move |_| {
            let Some(this) = this.upgrade() else { return };
            let _telling = lock(&this.telling);
            let flows = lock(&this.now).1;
            if let Some(element) = this.element.upgrade() {
                guarded(None, || element.set_producing(this.kind, flows));
            }
        });
    }
}
