//! When an object is reconciled again: pure, with the dice passed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const RESYNC: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(300)];
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);
const LAST_ERROR_RETRY: Duration = Duration::from_secs(300);

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As the spec says: look again at the resync.
    Settled,
    /// Somebody must change something. It may be a Secret, and Secrets are not watched, so look again now and then.
    Stalled,
    /// Something must pass that no watch may tell of.
    Waiting,
    /// It broke off.
    Failed,
}

/// How long until the next reconcile, after `attempts` endings like this in a row. `dice` lies in 0..1.
#[must_use]
pub fn next(ending: Ending, attempts: u32, dice: f64) -> Duration {
    match ending {
        Ending::Settled => RESYNC[0] + (RESYNC[1] - RESYNC[0]).mul_f64(dice),
        Ending::Stalled => jittered(LAST_RETRY, dice),
        Ending::Waiting => jittered(exponential(attempts, LAST_RETRY), dice),
        Ending::Failed => jittered(exponential(attempts, LAST_ERROR_RETRY), dice),
    }
}

fn exponential(attempts: u32, last: Duration) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(last)
}

fn jittered(duration: Duration, dice: f64) -> Duration {
    duration.mul_f64(0.8 + 0.4 * dice)
}

/// Counts, for each object, how often in a row it did not settle. A new generation starts over: somebody changed something.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<String, (Option<i64>, u32)>>);

impl Attempts {
    /// Notes an ending and returns how many like it came before.
    pub fn note(&self, object: &str, generation: Option<i64>, ending: Ending) -> u32 {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ending {
            Ending::Settled | Ending::Stalled => {
                attempts.remove(object);
                0
            }
            Ending::Waiting | Ending::Failed => {
                let (of, count) = attempts.entry(object.to_owned()).or_insert((generation, 0));
                if *of != generation {
                    (*of, *count) = (generation, 0);
                }
                let before = *count;
                *count = count.saturating_add(1);
                before
            }
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_to_a_minute_and_failing_to_five() {
        let seconds = |ending| [0, 1, 2, 4, 5, 30].map(|attempts| next(ending, attempts, 0.5).as_secs());
        assert_eq!(seconds(Ending::Waiting), [2, 4, 8, 32, 60, 60]);
        assert_eq!(seconds(Ending::Failed), [2, 4, 8, 32, 64, 300]);
    }

    #[test]
    fn the_resync_is_spread_over_two_to_five_minutes() {
        assert_eq!([0.0, 0.5, 1.0].map(|dice| next(Ending::Settled, 9, dice).as_secs()), [120, 210, 300]);
    }

    #[test]
    fn what_waits_for_somebody_is_looked_at_once_a_minute() {
        assert_eq!([0.0, 0.5, 1.0].map(|dice| next(Ending::Stalled, 9, dice).as_secs()), [48, 60, 72]);
    }

    #[test]
    fn an_object_that_settles_or_is_changed_starts_over() {
        let attempts = Attempts::default();
        let endings =
            [(1, Ending::Waiting), (1, Ending::Waiting), (1, Ending::Settled), (1, Ending::Waiting), (1, Ending::Waiting), (2, Ending::Waiting)];
        assert_eq!(endings.map(|(generation, ending)| attempts.note("a", Some(generation), ending)), [0, 1, 0, 0, 1, 0]);
    }
}
