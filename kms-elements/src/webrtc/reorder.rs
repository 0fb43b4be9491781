//! Puts packets back into the order they were sent in: a packet that was lost and sent again comes after those that followed it.
//! A plain structure; `now` is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long later packets wait for one that is missing: a retransmission takes a round trip or two.
const PATIENCE: Duration = Duration::from_millis(300);
/// Packets that may wait: at 5 Mbit/s what comes in that time.
const MOST_WAITING: usize = 512;

/// Packets by sequence number.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    next: Option<u64>,
    waiting: BTreeMap<u64, (Instant, T)>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Reorder {
            next: None,
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Reorder<T> {
    /// Takes a packet, and gives those that are due, in order. With each: whether some before it are missing and given up.
    pub(super) fn push(&mut self, sequence: u64, packet: T, now: Instant) -> Vec<(T, bool)> {
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            return Vec::new(); // too late
        }
        self.waiting.insert(sequence, (now, packet));
        let mut due = Vec::new();
        while let Some((&first, (since, _))) = self.waiting.first_key_value() {
            let next = self.next.unwrap_or(first);
            let given_up =
                now.saturating_duration_since(*since) >= PATIENCE || self.waiting.len() > MOST_WAITING;
            if first != next && !given_up {
                break;
            }
            if let Some((_, (_, packet))) = self.waiting.pop_first() {
                due.push((packet, first != next));
            }
            self.next = Some(first + 1);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(due: Vec<(u64, bool)>) -> Vec<u64> {
        due.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn what_comes_late_is_put_in_its_place() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        assert_eq!(numbers(reorder.push(5, 5, now)), [5]);
        assert!(reorder.push(7, 7, now).is_empty());
        assert!(reorder.push(8, 8, now).is_empty());
        assert_eq!(numbers(reorder.push(6, 6, now)), [6, 7, 8]);
        assert!(reorder.push(6, 6, now).is_empty(), "a copy");
    }

    #[test]
    fn what_never_comes_is_given_up_after_a_while_and_told() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        reorder.push(1, 1, now);
        assert!(reorder.push(3, 3, now).is_empty());
        assert!(reorder.push(4, 4, now + PATIENCE / 2).is_empty());
        assert_eq!(
            reorder.push(5, 5, now + PATIENCE),
            [(3, true), (4, false), (5, false)]
        );
        assert!(reorder.push(2, 2, now + PATIENCE).is_empty(), "too late");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let (mut reorder, now) = (Reorder::default(), Instant::now());
        reorder.push(0, 0, now);
        let given: usize = (2..3_000).map(|n| reorder.push(n, n, now).len()).sum();
        assert!(given > 0 && reorder.waiting.len() <= MOST_WAITING);
    }
}
