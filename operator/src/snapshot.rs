//! When a status' figures are worth a write: pure, with the time passed in.
//!
//! Figures move all the time and conditions seldom. Writing each move would have the operator write for ever, so a status holds a snapshot with the time at which
//! it was taken, and a new one is taken only with a change of conditions, or when the old one has become misleading.

use std::time::Duration;

use jiff::Timestamp;

/// A figure, before and now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Something per second. It is misleading when it is off by more than a factor of two.
    Rate(Option<i64>, Option<i64>),
    /// Something that adds up or piles up. It is misleading when it is off by more than a factor of ten.
    Total(Option<i64>, Option<i64>),
    /// A small number that means something by itself, such as the sockets that are up.
    Count(Option<i64>, Option<i64>),
}

/// Below this, rates and totals are noise.
const NOISE: i64 = 10;
/// The first snapshot after a change is taken while rates still rise, so it is soon replaced.
const SETTLING: Duration = Duration::from_secs(60);
/// A settled snapshot lasts at least so long.
const SETTLED: Duration = Duration::from_secs(600);

impl Figure {
    fn is_misleading(self) -> bool {
        match self {
            Self::Rate(old, new) => is_off(old, new, 2),
            Self::Total(old, new) => is_off(old, new, 10),
            Self::Count(old, new) => old != new,
        }
    }
}

fn is_off(old: Option<i64>, new: Option<i64>, factor: i64) -> bool {
    match (old, new) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => {
            let (low, high) = (old.min(new).max(0), old.max(new).max(0));
            high - low > NOISE && high > low.saturating_mul(factor)
        }
    }
}

/// When a snapshot was taken, and since when the conditions are what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// When the snapshot was taken.
    pub at: Timestamp,
    /// When a condition changed last.
    pub conditions_since: Timestamp,
}

/// Whether the snapshot must be replaced though no condition changed.
#[must_use]
pub fn is_outdated(taken: Option<Taken>, figures: &[Figure], now: Timestamp) -> bool {
    let Some(taken) = taken else { return figures.iter().any(|figure| figure.is_misleading()) };
    elapsed(taken.at, now) >= lifetime(taken) && figures.iter().any(|figure| figure.is_misleading())
}

/// How long from now until the snapshot may be replaced; none when it may be already.
#[must_use]
pub fn settles_in(taken: Option<Taken>, now: Timestamp) -> Option<Duration> {
    let taken = taken?;
    let lifetime = lifetime(taken);
    if lifetime == SETTLED { None } else { lifetime.checked_sub(elapsed(taken.at, now)).filter(|left| !left.is_zero()) }
}

fn lifetime(taken: Taken) -> Duration {
    if elapsed(taken.conditions_since, taken.at) < SETTLING { SETTLING } else { SETTLED }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn taken(at_second: i64, conditions_since: i64) -> Option<Taken> {
        Some(Taken { at: at(at_second), conditions_since: at(conditions_since) })
    }

    #[test]
    fn a_rate_is_misleading_beyond_a_factor_of_two_and_a_total_beyond_ten() {
        for (figure, misleading) in [
            (Figure::Rate(Some(100), Some(199)), false),
            (Figure::Rate(Some(100), Some(201)), true),
            (Figure::Rate(Some(100), Some(49)), true),
            (Figure::Rate(Some(1), Some(9)), false),
            (Figure::Rate(Some(100), Some(0)), true),
            (Figure::Rate(Some(100), None), false),
            (Figure::Rate(None, Some(0)), true),
            (Figure::Total(Some(1_000), Some(9_999)), false),
            (Figure::Total(Some(1_000), Some(10_001)), true),
            (Figure::Count(Some(1), Some(2)), true),
            (Figure::Count(Some(2), Some(2)), false),
        ] {
            assert_eq!(figure.is_misleading(), misleading, "{figure:?}");
        }
    }

    #[test]
    fn a_snapshot_taken_right_after_a_change_is_replaced_a_minute_later_and_then_lasts() {
        let doubled = [Figure::Rate(Some(100), Some(1_000))];
        assert!(!is_outdated(taken(100, 100), &doubled, at(130)));
        assert_eq!(settles_in(taken(100, 100), at(130)), Some(Duration::from_secs(30)));
        assert!(is_outdated(taken(100, 100), &doubled, at(160)));
        assert!(!is_outdated(taken(160, 100), &doubled, at(300)));
        assert_eq!(settles_in(taken(160, 100), at(300)), None);
        assert!(is_outdated(taken(160, 100), &doubled, at(760)));
    }

    #[test]
    fn steady_figures_are_never_written_again() {
        assert!(!is_outdated(taken(100, 100), &[Figure::Rate(Some(100), Some(120)), Figure::Total(Some(1_000), Some(5_000))], at(1_000_000)));
    }
}
