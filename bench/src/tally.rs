//! Counting what the peers sent and received.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// What was counted over a window of time.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Zero of the clock that packets are stamped with.
    base: Instant,
    window: Option<Window>,
    /// Media packets sent in the window.
    pub(crate) sent: u64,
    /// Media packets received in the window.
    pub(crate) received: u64,
    /// Media packets received that were sent in the window, whenever they came.
    pub(crate) arrived: u64,
    /// Last packets of pictures received in the window, whoever made them.
    pub(crate) pictures: u64,
    /// From sending a packet to receiving it, in microseconds.
    pub(crate) latency: Histogram,
    /// How much later than due packets were sent, in microseconds: a load generator that lags measures itself.
    pub(crate) lag: Histogram,
    /// Time in the window in which the load generator was not waiting.
    pub(crate) busy: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: u64,
    end: Option<u64>,
}

impl Window {
    fn has(&self, time: u64) -> bool {
        time >= self.start && self.end.is_none_or(|end| time < end)
    }
}

impl Tally {
    /// Nothing is counted until a window begins.
    pub(crate) fn new(base: Instant) -> Tally {
        Tally {
            base,
            window: None,
            sent: 0,
            received: 0,
            arrived: 0,
            pictures: 0,
            latency: Histogram::new(),
            lag: Histogram::new(),
            busy: Duration::ZERO,
        }
    }

    /// A moment on the clock that packets are stamped with, in nanoseconds.
    pub(crate) fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.base).as_nanos() as u64
    }

    /// Begins to count, from zero.
    pub(crate) fn begin(&mut self, now: Instant) {
        let start = self.nanos(now);
        *self = Tally::new(self.base);
        self.window = Some(Window { start, end: None });
    }

    /// Ends the window. Packets of it that come later still count as arrived.
    pub(crate) fn end(&mut self, now: Instant) {
        let now = self.nanos(now);
        if let Some(window) = &mut self.window {
            window.end = Some(now);
        }
    }

    fn is_open_at(&self, time: u64) -> bool {
        self.window.is_some_and(|w| w.has(time))
    }

    /// A packet was sent at `now` that was due at `due`.
    pub(crate) fn count_sent(&mut self, due: Instant, now: Instant) {
        if self.is_open_at(self.nanos(now)) {
            self.sent += 1;
            self.lag
                .record(now.saturating_duration_since(due).as_micros() as u64);
        }
    }

    /// A packet came at `now` that is stamped with the time it was sent.
    pub(crate) fn count_received(&mut self, sent_at: u64, now: Instant) {
        let now = self.nanos(now);
        self.received += u64::from(self.is_open_at(now));
        if self.is_open_at(sent_at) {
            self.arrived += 1;
            self.latency.record(now.saturating_sub(sent_at) / 1_000);
        }
    }

    /// The last packet of a picture came.
    pub(crate) fn count_picture(&mut self, now: Instant) {
        self.pictures += u64::from(self.is_open_at(self.nanos(now)));
    }

    /// The load generator was busy for a while until `now`.
    pub(crate) fn count_busy(&mut self, time: Duration, now: Instant) {
        if self.is_open_at(self.nanos(now)) {
            self.busy += time;
        }
    }

    /// Share (0 to 1) of the packets that never came, if each one sent should come `copies` times.
    pub(crate) fn loss(&self, copies: u64) -> f64 {
        let expected = self.sent * copies;
        match expected {
            0 => 0.0,
            _ => expected.saturating_sub(self.arrived) as f64 / expected as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(base: Instant, ms: u32) -> Instant {
        base + MS * ms
    }

    #[test]
    fn only_what_is_sent_in_the_window_counts_as_sent() {
        let base = Instant::now();
        let mut tally = Tally::new(base);
        tally.count_sent(at(base, 1), at(base, 1));
        tally.begin(at(base, 10));
        tally.count_sent(at(base, 10), at(base, 12));
        tally.end(at(base, 20));
        tally.count_sent(at(base, 20), at(base, 20));
        assert_eq!(tally.sent, 1);
        assert_eq!(tally.lag.quantile(0.5), Some(2_000));
    }

    #[test]
    fn a_packet_that_comes_after_the_window_is_late_but_not_lost() {
        let base = Instant::now();
        let mut tally = Tally::new(base);
        tally.begin(at(base, 10));
        for _ in 0..4 {
            tally.count_sent(at(base, 15), at(base, 15));
        }
        let sent = tally.nanos(at(base, 15));
        tally.count_received(sent, at(base, 16));
        tally.end(at(base, 20));
        tally.count_received(sent, at(base, 30));
        assert_eq!((tally.received, tally.arrived), (1, 2));
        assert_eq!(tally.loss(1), 0.5);
        assert_eq!(tally.latency.quantile(1.0), Some(15_000));
    }

    #[test]
    fn a_packet_from_before_the_window_is_received_but_tells_no_latency() {
        let base = Instant::now();
        let mut tally = Tally::new(base);
        tally.begin(at(base, 10));
        tally.count_received(tally.nanos(at(base, 5)), at(base, 11));
        assert_eq!((tally.received, tally.arrived, tally.latency.len()), (1, 0, 0));
    }

    #[test]
    fn every_viewer_should_get_a_copy() {
        let base = Instant::now();
        let mut tally = Tally::new(base);
        tally.begin(base);
        tally.count_sent(base, base);
        let sent = tally.nanos(base);
        (0..3).for_each(|_| tally.count_received(sent, at(base, 1)));
        assert_eq!(tally.loss(4), 0.25);
        assert_eq!(tally.loss(3), 0.0);
    }
}
