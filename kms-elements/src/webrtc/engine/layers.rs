//! Which simulcast layer a viewer gets. A plain structure; `now` is passed in.

use std::time::{Duration, Instant};

/// A higher layer is taken only when this much of the available bitrate stays free, and...
const HEADROOM: f64 = 1.15;
/// ...when it has fitted for this long, so that a viewer does not go up and down all the time.
const UPGRADE_AFTER: Duration = Duration::from_secs(2);

/// Chooses among layers; index 0 is the lowest.
#[derive(Debug, Default)]
pub(super) struct LayerSelector {
    fits_since: Option<(u8, Instant)>,
}

impl LayerSelector {
    /// The layer to aim for. `bitrates`: of each layer, lowest first, bits a second, 0 where nothing arrives; `available`:
    /// what the viewer can take, `None` if not known, which means all of it; `current`: the layer it gets now.
    pub(super) fn choose(
        &mut self,
        bitrates: &[u64],
        available: Option<u64>,
        current: Option<u8>,
        now: Instant,
    ) -> u8 {
        let active = |layer: &usize| bitrates[*layer] > 0;
        let layers = || (0..bitrates.len()).filter(active);
        let lowest = layers().next().unwrap_or(0) as u8;
        let Some(available) = available else {
            return layers().next_back().map_or(lowest, |l| l as u8);
        };
        let fitting = |headroom: f64| {
            let fits = |layer: &usize| bitrates[*layer] as f64 * headroom <= available as f64;
            layers().rfind(fits).map_or(lowest, |l| l as u8)
        };
        let Some(current) = current.filter(|c| bitrates.get(usize::from(*c)).is_some_and(|b| *b > 0)) else {
            return fitting(HEADROOM);
        };
        let affordable = fitting(1.0);
        if affordable < current {
            self.fits_since = None;
            return affordable;
        }
        let wanted = fitting(HEADROOM);
        if wanted <= current {
            self.fits_since = None;
            return current;
        }
        match self.fits_since {
            Some((layer, since)) if layer == wanted => {
                if now.saturating_duration_since(since) < UPGRADE_AFTER {
                    return current;
                }
                self.fits_since = None;
                wanted
            }
            _ => {
                self.fits_since = Some((wanted, now));
                current
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [u64; 3] = [150_000, 500_000, 1_500_000];

    #[test]
    fn without_an_estimate_the_best_layer_that_arrives_is_taken() {
        let (mut selector, now) = (LayerSelector::default(), Instant::now());
        assert_eq!(selector.choose(&LAYERS, None, None, now), 2);
        assert_eq!(
            selector.choose(&[150_000, 500_000, 0], None, Some(2), now),
            1,
            "the best layer was stopped"
        );
        assert_eq!(selector.choose(&[0, 0, 0], None, None, now), 0);
    }

    #[test]
    fn it_goes_down_at_once_and_up_only_after_a_while() {
        let (mut selector, t0) = (LayerSelector::default(), Instant::now());
        assert_eq!(selector.choose(&LAYERS, Some(600_000), Some(2), t0), 1);
        assert_eq!(
            selector.choose(&LAYERS, Some(100_000), Some(1), t0),
            0,
            "the lowest, even if it does not fit"
        );
        assert_eq!(selector.choose(&LAYERS, Some(2_000_000), Some(0), t0), 0);
        assert_eq!(
            selector.choose(&LAYERS, Some(2_000_000), Some(0), t0 + Duration::from_secs(1)),
            0
        );
        assert_eq!(
            selector.choose(&LAYERS, Some(2_000_000), Some(0), t0 + UPGRADE_AFTER),
            2
        );
    }

    #[test]
    fn an_estimate_at_the_edge_does_not_swing() {
        let (mut selector, t0) = (LayerSelector::default(), Instant::now());
        for second in 0..20 {
            let available = if second % 2 == 0 { 510_000 } else { 560_000 };
            let layer = selector.choose(
                &LAYERS,
                Some(available),
                Some(1),
                t0 + Duration::from_secs(second),
            );
            assert_eq!(
                layer, 1,
                "510 kbit/s carries the layer, though it would not be enough to go up to it"
            );
        }
    }
}
