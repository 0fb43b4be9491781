//! The thread of a mixer, which works while its media is wanted.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{OnceLock, Weak};

use gst::prelude::*;
use kms_core::media::Timeline;

/// A mixer that is so far behind leaves out what it missed.
const LATE: u64 = 4;

/// Something that mixes, step by step.
pub(in crate::hubs) trait Mixer: Send + Sync + 'static {
    /// How long a step is.
    fn step(&self) -> gst::ClockTime;
    /// Whether somebody takes what it makes.
    fn is_wanted(&self) -> bool;
    /// It begins to work, or ends. Called on its thread.
    fn works(&self, works: bool);
    /// Makes what is due at this running time.
    fn mix(&self, at: gst::ClockTime);
}

/// A mixer's thread. It is begun when it is needed first, and ends soon after the mixer is gone.
pub(in crate::hubs) struct Worker {
    name: &'static str,
    timeline: Timeline,
    /// Wakes it. One wake-up that waits is as good as many.
    wake: OnceLock<SyncSender<()>>,
}

impl Worker {
    pub(in crate::hubs) fn new(timeline: &Timeline, name: &'static str) -> Worker {
        Worker {
            name,
            timeline: timeline.clone(),
            wake: OnceLock::new(),
        }
    }

    /// What the mixer makes is wanted.
    pub(in crate::hubs) fn wake<M: Mixer>(&self, mixer: &Weak<M>) {
        let wake = self.wake.get_or_init(|| {
            let (sender, woken) = sync_channel(1);
            let (timeline, mixer) = (self.timeline.clone(), mixer.clone());
            let begun = std::thread::Builder::new()
                .name(self.name.into())
                .spawn(move || run(&timeline, &mixer, &woken));
            if let Err(error) = begun {
                tracing::error!(%error, "nothing is mixed: no thread can be made");
            }
            sender
        });
        // Full: it is about to wake.
        let _ = wake.try_send(());
    }
}

fn run<M: Mixer>(timeline: &Timeline, mixer: &Weak<M>, woken: &Receiver<()>) {
    // Nothing is held while it waits: the mixer may go.
    while woken.recv().is_ok() {
        let Some(begun) = mixer.upgrade() else { return };
        begun.works(true);
        let mut next = timeline.now();
        drop(begun);
        while let Some(mixer) = mixer.upgrade() {
            if !mixer.is_wanted() {
                mixer.works(false);
                break;
            }
            let step = mixer.step();
            mixer.mix(next);
            drop(mixer);
            next += step;
            let now = timeline.now();
            if now > next + step * LATE {
                next = now;
            }
            wait_until(timeline, next);
        }
    }
}

fn wait_until(timeline: &Timeline, running: gst::ClockTime) {
    let clock = timeline.clock();
    let now = timeline.now();
    if running > now {
        // An error is that it is over already.
        let _ = clock.new_single_shot_id(clock.time() + (running - now)).wait();
    }
}
