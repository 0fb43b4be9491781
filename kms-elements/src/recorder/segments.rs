//! When a recording goes on in a new file, and what is done about gaps.

use gst::ClockTime;
use protocol::{Code, Error, remote_enum};

remote_enum! { "elements"
    /// What is done when media is missing from a recording, for packets were lost or a camera was away.
    pub enum GapsFixMethod {
        /// Media keeps its times. A kind that is missing for more than 1.5 s is written as silence, or as a picture that stands
        /// still; so are gaps in sound of more than 300 ms.
        None = "NONE",
        /// What is missing of all kinds for more than 500 ms is left out: the file is shorter than the time it was recorded in.
        Genpts = "GENPTS",
        /// As NONE. In kinds that are transcoded for this file every gap of more than 50 ms is filled.
        FillIfTranscoding = "FILL_IF_TRANSCODING",
    }
}

/// A file that ends this much too early ends at the right keyframe: cameras' are not quite regular.
const TOLERANCE: ClockTime = ClockTime::from_mseconds(100);
/// Shorter files would be little more than their headers.
const SHORTEST_MS: i64 = 1_000;
const SMALLEST: i64 = 65_536;

/// How long and how large a file may become; `None`: without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Segments {
    duration: Option<ClockTime>,
    size: Option<u64>,
}

impl Segments {
    /// From a client: milliseconds and bytes, 0 for no bound.
    pub(super) fn new(duration_ms: i64, size: i64) -> Result<Segments, Error> {
        let refused = |message: &str| Error::new(Code::IllegalParam, message);
        let in_range = |value: i64, least: i64| value == 0 || value >= least;
        if !in_range(duration_ms, SHORTEST_MS) || duration_ms > i64::from(i32::MAX) {
            return Err(refused(
                "segmentDuration is 0, or 1000 to 2147483647 milliseconds",
            ));
        }
        if !in_range(size, SMALLEST) {
            return Err(refused("segmentSize is 0, or at least 65536 bytes"));
        }
        let bound = |value: i64| u64::try_from(value).ok().filter(|v| *v > 0);
        Ok(Segments {
            duration: bound(duration_ms).map(ClockTime::from_mseconds),
            size: bound(size),
        })
    }

    /// One file for all.
    pub(super) fn is_none(self) -> bool {
        self == Segments::default()
    }

    /// Whether a file of that length and size is to be followed by the next.
    pub(super) fn are_over(self, length: ClockTime, size: u64) -> bool {
        self.duration.is_some_and(|most| length + TOLERANCE >= most)
            || self.size.is_some_and(|most| size >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_end_by_time_or_size_whichever_comes_first() {
        let s = ClockTime::from_seconds;
        let both = Segments::new(10_000, 1_000_000).expect("bounds");
        assert!(!both.are_over(s(9), 999_999));
        assert!(both.are_over(ClockTime::from_mseconds(9_960), 0));
        assert!(both.are_over(s(1), 1_000_000));
        let none = Segments::new(0, 0).expect("no bounds");
        assert!(none.is_none() && !none.are_over(s(1_000_000), u64::MAX));
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for (duration, size) in [(-1, 0), (999, 0), (1 << 40, 0), (0, -1), (0, 100)] {
            let error = Segments::new(duration, size).expect_err("refused");
            assert_eq!(error.code, Code::IllegalParam);
        }
    }
}
