//! Which time in the file media gets.

use gst::ClockTime;

/// Maps running times to times in the file. The file begins at 0 with the first media of any kind, and what comes while it is
/// paused has no place: it goes on where it was. All kinds share the mapping, so they stay in step.
#[derive(Debug, Default)]
pub(super) struct FileTime {
    /// Running time of file time 0, less all pauses; `None`: not begun, or paused. Can be negative after a restart of time.
    zero: Option<i128>,
    /// Running time of the first media since the beginning or the last pause.
    opened: ClockTime,
    /// Where in the file the last media of any kind ends.
    end: ClockTime,
}

impl FileTime {
    /// Media of this running time is the first of the file, or the first after a pause.
    pub(super) fn open_at(&mut self, running_time: ClockTime) {
        self.opened = running_time;
        self.zero = Some(i128::from(running_time.nseconds()) - i128::from(self.end.nseconds()));
    }

    /// What comes now has no place in the file.
    pub(super) fn pause(&mut self) {
        self.zero = None;
    }

    /// Where in the file this is; `None`: nowhere, for it is from before the beginning, or of a pause.
    pub(super) fn place(&self, running_time: ClockTime) -> Option<ClockTime> {
        let at = i128::from(running_time.nseconds()) - self.zero?;
        let at = u64::try_from(at).ok()?;
        (running_time >= self.opened).then(|| ClockTime::from_nseconds(at))
    }

    /// Where the first media since the beginning or the last pause is; `None`: not begun, or paused.
    pub(super) fn beginning(&self) -> Option<ClockTime> {
        self.place(self.opened)
    }

    /// Media of this running time comes directly behind what was written: what is missing in between is left out.
    pub(super) fn skip_to(&mut self, running_time: ClockTime) {
        if self.zero.is_some() {
            let opened = self.opened;
            self.open_at(running_time);
            // Of other kinds, what comes late has its place still.
            self.opened = opened;
        }
    }

    /// Where the last media of any kind ends.
    pub(super) fn end(&self) -> ClockTime {
        self.end
    }

    /// Media was written that ends there.
    pub(super) fn wrote_until(&mut self, end: ClockTime) {
        self.end = self.end.max(end);
    }
}

/// Two buffers of a kind are at least this far apart: the unit of time in Matroska and FLV.
const STEP: ClockTime = ClockTime::from_mseconds(1);

/// Where one kind of media is in the file. Its times never go back, which muxers would take amiss.
#[derive(Debug, Default)]
pub(super) struct TrackTime {
    /// Decoding time of the last buffer.
    last: Option<ClockTime>,
    /// Where the last buffer ends.
    end: ClockTime,
}

/// Times of one buffer in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// When it is shown.
    pub(super) pts: ClockTime,
    /// When it is decoded.
    pub(super) dts: ClockTime,
}

impl TrackTime {
    /// Times for the next buffer, which would like these.
    pub(super) fn next(&mut self, wanted: Times, duration: ClockTime) -> Times {
        let dts = self.last.map_or(wanted.dts, |last| wanted.dts.max(last + STEP));
        let times = Times {
            pts: wanted.pts.max(dts),
            dts,
        };
        self.last = Some(dts);
        self.end = self.end.max(times.pts + duration);
        times
    }

    /// Where its last buffer ends; 0 before the first.
    pub(super) fn end(&self) -> ClockTime {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(t: u64) -> ClockTime {
        ClockTime::from_mseconds(t)
    }

    #[test]
    fn the_file_begins_at_zero_with_its_first_media() {
        let mut time = FileTime::default();
        assert_eq!(time.place(ms(5_000)), None, "nothing has begun");
        time.open_at(ms(5_000));
        assert_eq!(time.place(ms(5_000)), Some(ms(0)));
        assert_eq!(time.place(ms(5_040)), Some(ms(40)), "the other kind, in step");
        assert_eq!(time.place(ms(4_999)), None, "before the beginning");
    }

    #[test]
    fn pauses_are_left_out() {
        let mut time = FileTime::default();
        time.open_at(ms(5_000));
        time.wrote_until(ms(2_000));
        time.wrote_until(ms(1_980));
        time.pause();
        assert_eq!(time.place(ms(8_000)), None);
        time.open_at(ms(60_000));
        assert_eq!(time.place(ms(60_000)), Some(ms(2_000)));
        assert_eq!(time.place(ms(59_990)), None, "media of the pause");
        time.wrote_until(ms(3_000));
        time.pause();
        time.open_at(ms(61_500));
        assert_eq!(time.place(ms(61_600)), Some(ms(3_100)));
    }

    #[test]
    fn a_pause_longer_than_the_time_before_it_is_no_matter() {
        let mut time = FileTime::default();
        time.open_at(ms(0));
        time.wrote_until(ms(9_000));
        time.pause();
        time.open_at(ms(100));
        assert_eq!(time.place(ms(200)), Some(ms(9_100)));
    }

    #[test]
    fn decoding_times_never_go_back_and_nothing_is_shown_before_it_is_decoded() {
        let mut track = TrackTime::default();
        let at = |pts, dts| Times {
            pts: ms(pts),
            dts: ms(dts),
        };
        assert_eq!(track.next(at(80, 0), ms(40)), at(80, 0));
        assert_eq!(track.next(at(40, 40), ms(40)), at(40, 40));
        assert_eq!(track.end(), ms(120), "the end is that of what is shown last");
        assert_eq!(track.next(at(20, 20), ms(40)), at(41, 41));
    }
}
