//! When a camera that was lost is tried again.

use std::time::Duration;

/// Without media for this long a camera counts as lost.
pub(super) const SILENCE: Duration = Duration::from_secs(4);
/// How often it is looked for silence.
pub(super) const CHECK: Duration = Duration::from_millis(500);

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_millis(500);

/// Waits that double: a quarter of a second at first, for most losses are short, and half a second at most, so that a camera that comes
/// back after a day is seen at once. An attempt at a camera that is off costs a packet.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.attempts.min(16));
        self.attempts += 1;
        wait.min(LONGEST)
    }

    /// There is media again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next().as_millis() as u64).collect();
        assert_eq!(waits, [250, 500, 500, 500, 500, 500, 500]);
        for _ in 0..100 {
            assert_eq!(backoff.next(), LONGEST);
        }
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
