//! When to ask a source of video for a keyframe.

use gst::ClockTime;

/// A file can be sought at its keyframes: without one for so long, one is asked for. Cameras that send them more often are left
/// alone.
const INTERVAL: ClockTime = ClockTime::from_mseconds(3_000);
/// One that is needed now is asked for again after so long.
const PATIENCE: ClockTime = ClockTime::from_mseconds(500);

/// The keyframes of one source, in running time.
#[derive(Debug, Default)]
pub(super) struct Keyframes {
    last: Option<ClockTime>,
    asked: Option<ClockTime>,
}

impl Keyframes {
    /// One came.
    pub(super) fn came(&mut self, now: ClockTime) {
        self.last = Some(now);
        self.asked = None;
    }

    /// Whether to ask for one now. `urgent`: media waits for it, be it the beginning of a file or of the next. That of a source of
    /// which none came always does: the file has the one before it.
    pub(super) fn ask(&mut self, now: ClockTime, urgent: bool) -> bool {
        let urgent = urgent || self.last.is_none();
        let long = self.last.is_none_or(|last| now >= last + INTERVAL);
        // A source that doesn't answer is not asked all the time.
        let rest = if urgent { PATIENCE } else { INTERVAL };
        let rested = self.asked.is_none_or(|asked| now >= asked + rest);
        let ask = (urgent || long) && rested;
        if ask {
            self.asked = Some(now);
        }
        ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(t: u64) -> ClockTime {
        ClockTime::from_mseconds(t)
    }

    #[test]
    fn a_source_that_sends_keyframes_is_left_alone() {
        let mut keyframes = Keyframes::default();
        for second in 0..10 {
            keyframes.came(ms(second * 2_000));
            assert!(!keyframes.ask(ms(second * 2_000 + 1_900), false));
        }
    }

    #[test]
    fn one_that_does_not_is_asked_every_three_seconds() {
        let mut keyframes = Keyframes::default();
        keyframes.came(ms(0));
        let asked: Vec<u64> = (0..100)
            .map(|t| t * 100)
            .filter(|t| keyframes.ask(ms(*t), false))
            .collect();
        assert_eq!(asked, [3_000, 6_000, 9_000]);
    }

    #[test]
    fn a_new_source_is_asked_until_it_answers() {
        let mut keyframes = Keyframes::default();
        let asked: Vec<u64> = (0..12)
            .map(|t| t * 100)
            .filter(|t| keyframes.ask(ms(*t), false))
            .collect();
        assert_eq!(asked, [0, 500, 1_000]);
        keyframes.came(ms(1_200));
        assert!(!keyframes.ask(ms(3_000), false));
    }

    #[test]
    fn one_that_media_waits_for_is_asked_for_at_once_and_again() {
        let mut keyframes = Keyframes::default();
        keyframes.came(ms(0));
        let asked: Vec<u64> = (1..12)
            .map(|t| t * 100)
            .filter(|t| keyframes.ask(ms(*t), true))
            .collect();
        assert_eq!(asked, [100, 600, 1_100]);
        keyframes.came(ms(1_200));
        assert!(!keyframes.ask(ms(1_300), false));
    }
}
