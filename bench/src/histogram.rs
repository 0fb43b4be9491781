//! Counts of values, from which percentiles are read.

/// Values below this are counted exactly; above, every power of two is cut into this many steps (an error under 1.6%).
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Enough for every `u64`.
const SLOTS: usize = (64 - STEP_BITS as usize + 1) * STEPS as usize;

/// A histogram of whole numbers, of whatever unit. Recording allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32]>,
    total: u64,
    largest: u64,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new() -> Histogram {
        Histogram {
            counts: vec![0; SLOTS].into_boxed_slice(),
            total: 0,
            largest: 0,
        }
    }

    /// Counts a value.
    pub(crate) fn record(&mut self, value: u64) {
        let count = &mut self.counts[slot(value)];
        *count = count.saturating_add(1);
        self.total += 1;
        self.largest = self.largest.max(value);
    }

    /// How many values were counted.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// The smallest value that at least this share (0 to 1) of all values don't exceed; `None` if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(upper_end(slot).min(self.largest));
            }
        }
        None
    }

    /// The values that half, and 99 of 100, don't exceed.
    pub(crate) fn p50_p99(&self) -> Option<(u64, u64)> {
        self.quantile(0.50).zip(self.quantile(0.99))
    }
}

fn slot(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    // The upper bits without the leading one say which step of the power of two it is.
    ((shift as usize + 1) << STEP_BITS) + ((value >> shift) - STEPS) as usize
}

/// The largest value that is counted in a slot.
fn upper_end(slot: usize) -> u64 {
    let (power, step) = (slot >> STEP_BITS, (slot as u64) % STEPS);
    match power {
        0 => step,
        _ => {
            let shift = power as u32 - 1;
            ((STEPS + step) << shift) + ((1 << shift) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_a_slot_that_ends_at_or_just_above_it() {
        for value in (0..2_000).chain([65_535, 65_536, 1 << 40, u64::MAX]) {
            let end = upper_end(slot(value));
            assert!(
                end >= value && end - value <= value / STEPS,
                "{value} is counted up to {end}"
            );
        }
        assert!(slot(u64::MAX) < SLOTS);
    }

    #[test]
    fn percentiles_of_one_to_a_thousand() {
        let mut histogram = Histogram::new();
        (1..=1_000).for_each(|v| histogram.record(v));
        let (p50, p99) = histogram.p50_p99().expect("it has values");
        assert!((500..=508).contains(&p50), "{p50}");
        assert!((990..=1_000).contains(&p99), "{p99}");
        assert_eq!(histogram.quantile(1.0), Some(1_000));
        assert_eq!(histogram.len(), 1_000);
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        assert_eq!(Histogram::new().p50_p99(), None);
    }

    #[test]
    fn of_a_single_value_all_percentiles_are_that_value() {
        let mut histogram = Histogram::new();
        histogram.record(123_456);
        assert_eq!(histogram.p50_p99(), Some((123_456, 123_456)));
    }
}
