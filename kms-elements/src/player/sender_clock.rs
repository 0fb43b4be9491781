//! When the media of a camera was made, in the server's time.
//!
//! Each stream of a camera has a clock of its own, in its RTP times. Sender reports say how these belong together (RFC 3550, section 6.4.1);
//! when packets come says how they belong to the server's time. All streams get one and the same place in it, so what late packets do to
//! it can't bring them apart.

/// A stream that comes so much earlier or later than the others is placed by its arrival: the camera told nonsense about when it begins.
const MOST_APART: i64 = 2_000_000_000;
/// Times that jump further begin anew where they arrive: a camera that has set its clock.
const JUMP: i64 = 5_000_000_000;
/// A sender report that moves its stream further is not believed: its camera is about to set its clock.
const MOST_MOVED: i64 = 3_000_000_000;
/// One that moves it less is one of many, of which each is a little wrong.
const STEADY: i64 = 50_000_000;
/// How much of a small difference is taken over at once.
const SHARE: i64 = 8;
/// The fastest packet of so long a time says how far the clocks have come apart.
const WINDOW: i64 = 10_000_000_000;
/// By how much that is followed each time: a thousandth, more than any clock is wrong.
const STEP: i64 = WINDOW / 1_000;

/// Maps times of a camera's streams to running time. All times are in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct SenderClock {
    streams: Vec<Stream>,
    /// Running time less the camera's.
    offset: Option<i64>,
    /// When the window began, and the least that it saw of running time less the camera's.
    window: Option<(i64, i64)>,
}

#[derive(Debug, Default)]
struct Stream {
    begun: bool,
    /// Where its times were moved, because they did not fit those of the others or jumped.
    moved: i64,
    /// By its last sender report, wall-clock time less its own.
    wall: Option<i64>,
    /// What sender reports add to its times, to be in step with the first stream that has some.
    in_step: i64,
}

impl SenderClock {
    /// One of so many streams.
    pub(super) fn new(streams: usize) -> SenderClock {
        SenderClock {
            streams: (0..streams).map(|_| Stream::default()).collect(),
            ..SenderClock::default()
        }
    }

    /// A sender report: this time of a stream is this moment of the camera's wall clock.
    pub(super) fn report(&mut self, stream: usize, time: i64, wall: i64) {
        let Some(reported) = self.streams.get_mut(stream) else {
            return;
        };
        reported.wall = wall.checked_sub(time);
        let apart = |s: &Stream| s.wall.and_then(|wall| wall.checked_sub(s.moved));
        let Some(first) = self.streams.iter().find_map(apart) else {
            return;
        };
        for stream in &mut self.streams {
            let Some(apart) = apart(stream).and_then(|apart| apart.checked_sub(first)) else {
                continue;
            };
            let by = apart - stream.in_step;
            if apart.saturating_abs() <= MOST_MOVED {
                stream.in_step += if by.abs() < STEADY { by / SHARE } else { by };
            }
        }
    }

    /// The running time of a stream's time that arrived at `now`.
    pub(super) fn running_time(&mut self, stream: usize, time: i64, now: i64) -> gst::ClockTime {
        let Some(stream) = self.streams.get_mut(stream) else {
            return gst::ClockTime::from_nseconds(now.unsigned_abs());
        };
        let mut late = now - (time + stream.moved + stream.in_step);
        let offset = *self.offset.get_or_insert(late);
        let most = if stream.begun { JUMP } else { MOST_APART };
        stream.begun = true;
        if (late - offset).abs() > most {
            stream.moved += late - offset;
            late = offset;
        }
        // Nothing arrives before it was made.
        let offset = offset.min(late);
        self.offset = Some(self.follow(offset, late, now));
        let at = now - late + offset;
        gst::ClockTime::from_nseconds(u64::try_from(at).unwrap_or_default())
    }

    /// The offset from now on: a camera whose clock is slow falls behind, and so does even the fastest of its packets.
    fn follow(&mut self, offset: i64, late: i64, now: i64) -> i64 {
        let (began, least) = self.window.unwrap_or((now, late));
        let least = least.min(late);
        if now - began < WINDOW {
            self.window = Some((began, least));
            return offset;
        }
        self.window = None;
        offset + (least - offset).clamp(0, STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const VIDEO: usize = 0;
    const AUDIO: usize = 1;

    fn at(clock: &mut SenderClock, stream: usize, time: i64, now: i64) -> i64 {
        clock.running_time(stream, time * MS, now * MS).mseconds() as i64
    }

    #[test]
    fn late_packets_change_nothing_and_early_ones_all_streams() {
        let mut clock = SenderClock::new(2);
        assert_eq!(at(&mut clock, VIDEO, 0, 1_000), 1_000);
        assert_eq!(at(&mut clock, VIDEO, 40, 1_300), 1_040, "late by 260 ms");
        assert_eq!(at(&mut clock, AUDIO, 40, 1_301), 1_040);
        assert_eq!(
            at(&mut clock, VIDEO, 80, 1_070),
            1_070,
            "the first was late by 10 ms"
        );
        assert_eq!(at(&mut clock, AUDIO, 80, 1_090), 1_070);
    }

    #[test]
    fn streams_are_in_step_by_their_sender_reports() {
        let mut clock = SenderClock::new(2);
        at(&mut clock, VIDEO, 0, 1_000);
        assert_eq!(at(&mut clock, AUDIO, 0, 1_000), 1_000);
        // What the camera said when it began was wrong by 120 ms.
        clock.report(VIDEO, 100 * MS, 500_100 * MS);
        assert_eq!(at(&mut clock, AUDIO, 20, 1_020), 1_020, "one report says nothing");
        clock.report(AUDIO, 100 * MS, 499_980 * MS);
        assert_eq!(at(&mut clock, VIDEO, 200, 1_200), 1_200);
        assert_eq!(at(&mut clock, AUDIO, 320, 1_200), 1_200);
        // Small differences are noise, unless they stay.
        clock.report(AUDIO, 1_000 * MS, 500_888 * MS);
        assert_eq!(at(&mut clock, AUDIO, 1_119, 2_000), 2_000);
        for _ in 0..60 {
            clock.report(AUDIO, 1_000 * MS, 500_888 * MS);
        }
        let followed = at(&mut clock, AUDIO, 1_212, 2_100);
        assert!((2_099..=2_100).contains(&followed), "{followed}");
        // A camera that sets its clock: its streams say so one after the other.
        clock.report(VIDEO, 2_000 * MS, 9_000_000 * MS);
        assert_eq!(at(&mut clock, AUDIO, 1_312, 2_200), followed + 100);
        clock.report(AUDIO, 2_112 * MS, 9_000_000 * MS);
        assert_eq!(at(&mut clock, AUDIO, 1_412, 2_300), followed + 200);
    }

    #[test]
    fn streams_that_begin_at_odd_times_or_jump_are_placed_by_their_arrival() {
        let mut clock = SenderClock::new(2);
        at(&mut clock, VIDEO, 0, 1_000);
        assert_eq!(at(&mut clock, AUDIO, 7_000_000, 1_010), 1_010);
        assert_eq!(at(&mut clock, AUDIO, 7_000_020, 1_031), 1_030);
        assert_eq!(at(&mut clock, VIDEO, -900_000, 1_040), 1_040, "set back");
        assert_eq!(at(&mut clock, VIDEO, -899_960, 1_081), 1_080);
        assert_eq!(
            at(&mut clock, VIDEO, i64::MAX / MS / 4, 1_120),
            1_120,
            "and far ahead"
        );
    }

    #[test]
    fn a_slow_clock_is_followed() {
        let mut clock = SenderClock::new(1);
        // 200 parts in a million, and up to 7 ms of jitter.
        let mut last = 0;
        for step in 0..90_000 {
            let (now, jitter) = (step * 40, step * 7_919 % 8);
            let time = now - now * 200 / 1_000_000;
            last = now + jitter - at(&mut clock, VIDEO, time, now + jitter);
            assert!((0..=15).contains(&last), "{last} ms behind after {now} ms");
        }
        assert!(last < 15);
    }
}
