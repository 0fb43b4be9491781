//! What all RTP endpoints have carried, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has gone one way since the start.
#[derive(Debug, Default)]
pub struct Carried {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    keyframe_requests: AtomicU64,
}

impl Carried {
    /// RTP packets.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their bytes, with their headers, without what encrypts them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets that never came.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Requests for keyframes.
    pub fn keyframe_requests(&self) -> u64 {
        self.keyframe_requests.load(Ordering::Relaxed)
    }

    pub(super) fn packet(&self, bytes: usize) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn loses(&self, packets: u16) {
        self.lost.fetch_add(packets.into(), Ordering::Relaxed);
    }

    pub(super) fn keyframe_request(&self) {
        self.keyframe_requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// Both ways, of all endpoints.
#[derive(Debug, Default)]
pub struct Counters {
    /// From remotes. Packets that are out of order by more than 200 ms are lost.
    pub received: Carried,
    /// To remotes.
    pub sent: Carried,
}

/// With a larger gap a stream is taken to begin anew (`MAX_DROPOUT` of RFC 3550, appendix A.1).
const LARGEST_GAP: u16 = 3_000;

/// The packets after this one that are missing before that one; none if it begins anew or is older.
pub(super) fn missing_between(last: u16, next: u16) -> u16 {
    let gap = next.wrapping_sub(last).wrapping_sub(1);
    if gap < LARGEST_GAP { gap } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_over_the_end_of_the_numbers_and_a_new_beginning_is_none() {
        assert_eq!(missing_between(7, 8), 0);
        assert_eq!(missing_between(7, 10), 2);
        assert_eq!(missing_between(65_534, 1), 2);
        assert_eq!(missing_between(8, 7), 0);
        assert_eq!(missing_between(8, 8), 0);
        assert_eq!(missing_between(8, 2_509), 2_500, "seconds without a network");
        assert_eq!(missing_between(8, 40_000), 0);
        assert_eq!(missing_between(300, 100), 0);
    }
}
