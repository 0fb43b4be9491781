//! How fast a client may send requests.

use std::time::Instant;

/// So many requests a second, on average; as many more at once after a pause.
pub(crate) struct Pace {
    /// 0: no limit.
    most: usize,
    left: f64,
    at: Instant,
}

impl Pace {
    /// `most` requests a second; 0: no limit.
    pub(crate) fn new(most: usize) -> Pace {
        Pace {
            most,
            left: most as f64,
            at: Instant::now(),
        }
    }

    /// Whether another request may come now; counts it if so.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        if self.most == 0 {
            return true;
        }
        let most = self.most as f64;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * most).min(most);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }

    /// Requests a second.
    pub(crate) fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_worth_comes_at_once_and_then_as_many_a_second() {
        let mut pace = Pace::new(10);
        let begun = pace.at;
        let at = |ms: u64| begun + Duration::from_millis(ms);
        assert_eq!((0..100).filter(|_| pace.allows(at(0))).count(), 10);
        assert_eq!((0..1000).filter(|ms| pace.allows(at(*ms))).count(), 9);
        assert_eq!(
            (0..100).filter(|_| pace.allows(at(60_000))).count(),
            10,
            "a pause saves up no more"
        );
        let mut free = Pace::new(0);
        assert!((0..100_000).all(|_| free.allows(begun)));
    }
}
