//! Collapses requests: at most one an interval, and the last one is never lost. `now` is passed in.

use std::time::{Duration, Instant};

/// Keyframe requests to one source are at least this far apart. Chromium ignores one that follows another within 300 ms.
pub(super) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(320);

/// Lets a request through at most once an interval.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    waiting: bool,
}

impl Throttle {
    /// A request is made. True: pass it on now. False: [`Throttle::due`] tells when.
    pub(super) fn request(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now < last + KEYFRAME_INTERVAL) {
            self.waiting = true;
            return false;
        }
        self.last = Some(now);
        self.waiting = false;
        true
    }

    /// When a request that was held back is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting
            .then(|| self.last.map(|last| last + KEYFRAME_INTERVAL))
            .flatten()
    }

    /// A keyframe came: whoever waits for one has it.
    pub(super) fn satisfied(&mut self) {
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_collapsed_and_the_last_one_is_kept() {
        let (mut throttle, t0) = (Throttle::default(), Instant::now());
        assert!(throttle.request(t0));
        assert!(!throttle.request(t0 + Duration::from_millis(10)));
        assert!(!throttle.request(t0 + Duration::from_millis(20)));
        let due = throttle.due().expect("one was held back");
        assert_eq!(due, t0 + KEYFRAME_INTERVAL);
        assert!(throttle.request(due));
        assert_eq!(throttle.due(), None);
        throttle.request(due);
        throttle.satisfied();
        assert_eq!(throttle.due(), None, "the keyframe that came serves all");
    }
}
