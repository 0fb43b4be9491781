//! What all segments do together, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::convert::Step;
use crate::object::lock;

/// Counts what segments do. Nothing is counted while media flows that isn't counted anyway.
#[derive(Default)]
pub struct Counters {
    encoders: AtomicUsize,
    encoders_in_hardware: AtomicUsize,
    decoders: AtomicUsize,
    /// Buffers that inputs dropped which are no more.
    dropped: AtomicU64,
    inputs: Mutex<Vec<Weak<dyn Drops>>>,
}

/// Counts what it drops.
pub(super) trait Drops: Send + Sync {
    /// So many buffers so far.
    fn dropped(&self) -> u64;
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Counters {
    /// Encoders at work in software, in hardware, and decoders at work.
    pub fn converters(&self) -> [usize; 3] {
        [&self.encoders, &self.encoders_in_hardware, &self.decoders]
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// Buffers that were dropped because a segment was too slow for them.
    pub fn dropped(&self) -> u64 {
        let inputs: Vec<_> = lock(&self.inputs).iter().filter_map(Weak::upgrade).collect();
        let live: u64 = inputs.iter().map(|input| input.dropped()).sum();
        self.dropped.load(Ordering::Relaxed) + live
    }

    pub(super) fn joined(&self, input: &Arc<impl Drops + 'static>) {
        let mut inputs = lock(&self.inputs);
        inputs.retain(|input| input.strong_count() > 0);
        let input: Arc<dyn Drops> = input.clone();
        inputs.push(Arc::downgrade(&input));
    }

    pub(super) fn left(&self, input: &dyn Drops) {
        self.dropped.fetch_add(input.dropped(), Ordering::Relaxed);
    }

    /// A conversion is at work until what is returned is dropped.
    pub(super) fn working(self: &Arc<Self>, step: Step, in_hardware: bool) -> Working {
        let working = Working {
            counters: self.clone(),
            step,
            in_hardware,
        };
        working.count().fetch_add(1, Ordering::Relaxed);
        working
    }
}

/// A conversion that is at work.
pub(super) struct Working {
    counters: Arc<Counters>,
    step: Step,
    in_hardware: bool,
}

impl Working {
    fn count(&self) -> &AtomicUsize {
        match (self.step, self.in_hardware) {
            (Step::Decode(_), _) => &self.counters.decoders,
            (Step::Encode(_), false) => &self.counters.encoders,
            (Step::Encode(_), true) => &self.counters.encoders_in_hardware,
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}
