//! One outgoing track: makes packets of changing sources one continuous stream.
//!
//! The receiver sees one SSRC whose sequence numbers have no gap that nobody can fill and whose time never jumps, whatever
//! source or simulcast layer feeds it. A plain structure; `now` is passed in.

use std::time::{Duration, Instant};

/// Where a packet comes from: the peer it was received from and the simulcast layer (0 without simulcast).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Feed {
    /// Number of the peer.
    pub(super) peer: u64,
    /// Index of the layer.
    pub(super) layer: u8,
}

/// Sequence number and time that a packet leaves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Extended sequence number.
    pub(super) sequence: u64,
    /// RTP time.
    pub(super) time: u32,
}

/// How numbers of the present feed become ours.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    feed: Feed,
    first_in: u64,
    first_out: u64,
    time_offset: u32,
}

/// State of an outgoing track.
#[derive(Debug)]
pub(super) struct OutTrack {
    clock_rate: u32,
    mapping: Option<Mapping>,
    next_sequence: u64,
    last_time: u32,
    last_sent: Option<Instant>,
}

impl OutTrack {
    /// A track of this clock rate that has sent nothing. The first sequence number must be below 65536.
    pub(super) fn new(clock_rate: u32, first_sequence: u16) -> OutTrack {
        OutTrack {
            clock_rate,
            mapping: None,
            next_sequence: u64::from(first_sequence),
            last_time: 0,
            last_sent: None,
        }
    }

    /// What comes next has this clock rate.
    pub(super) fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// The feed that is being sent.
    pub(super) fn feed(&self) -> Option<Feed> {
        self.mapping.map(|m| m.feed)
    }

    /// The source was taken away or left out packets: what comes next begins anew, without a gap.
    pub(super) fn interrupt(&mut self) {
        self.mapping = None;
    }

    /// Where a packet of `feed` belongs. A new feed begins with it. `None`: it is older than the switch and is dropped.
    pub(super) fn place(&mut self, feed: Feed, sequence: u64, time: u32, now: Instant) -> Option<Position> {
        let mapping = match self.mapping {
            Some(mapping) if mapping.feed == feed => mapping,
            _ => self.begin(feed, sequence, time, now),
        };
        let position = Position {
            sequence: mapping.first_out + sequence.checked_sub(mapping.first_in)?,
            time: time.wrapping_add(mapping.time_offset),
        };
        if position.sequence >= self.next_sequence {
            self.next_sequence = position.sequence + 1;
            self.last_time = position.time;
            self.last_sent = Some(now);
        }
        Some(position)
    }

    fn begin(&mut self, feed: Feed, sequence: u64, time: u32, now: Instant) -> Mapping {
        let time_offset = match self.last_sent {
            // The time that passed since the last packet, so that nothing is shown early or late after a switch.
            Some(last) => {
                let passed = now.saturating_duration_since(last).max(Duration::from_millis(1));
                let ticks = (passed.as_micros() * u128::from(self.clock_rate) / 1_000_000) as u32;
                self.last_time.wrapping_add(ticks.max(1)).wrapping_sub(time)
            }
            None => 0,
        };
        let mapping = Mapping {
            feed,
            first_in: sequence,
            first_out: self.next_sequence,
            time_offset,
        };
        self.mapping = Some(mapping);
        mapping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Feed = Feed { peer: 1, layer: 0 };
    const B: Feed = Feed { peer: 2, layer: 0 };

    #[test]
    fn sequence_numbers_are_contiguous_over_a_switch_and_time_goes_on() {
        let (mut track, t0) = (OutTrack::new(90_000, 100), Instant::now());
        assert_eq!(
            track.place(A, 5_000, 1_000, t0),
            Some(Position {
                sequence: 100,
                time: 1_000
            })
        );
        assert_eq!(track.place(A, 5_001, 1_000, t0).map(|p| p.sequence), Some(101));
        let later = t0 + Duration::from_millis(100);
        let switched = track.place(B, 70_000, 4_000_000_000, later);
        assert_eq!(
            switched,
            Some(Position {
                sequence: 102,
                time: 1_000 + 9_000
            })
        );
        assert_eq!(
            track.place(B, 70_001, 4_000_003_000, later),
            Some(Position {
                sequence: 103,
                time: 13_000
            })
        );
    }

    #[test]
    fn what_the_network_lost_keeps_its_place_for_a_retransmission() {
        let (mut track, t0) = (OutTrack::new(90_000, 0), Instant::now());
        track.place(A, 10, 0, t0);
        assert_eq!(track.place(A, 12, 0, t0).map(|p| p.sequence), Some(2));
        assert_eq!(
            track.place(A, 11, 0, t0).map(|p| p.sequence),
            Some(1),
            "it came late"
        );
        assert_eq!(track.place(A, 13, 0, t0).map(|p| p.sequence), Some(3));
    }

    #[test]
    fn packets_from_before_a_switch_are_dropped_and_left_out_packets_leave_no_gap() {
        let (mut track, t0) = (OutTrack::new(90_000, 0), Instant::now());
        track.place(A, 10, 0, t0);
        track.interrupt();
        assert_eq!(track.place(A, 20, 900, t0).map(|p| p.sequence), Some(1));
        assert_eq!(track.place(A, 19, 800, t0), None);
    }
}
