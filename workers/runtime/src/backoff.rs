//! How long to wait before trying again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Capped exponential delays with jitter, without an end: the first retry is immediate, the next waits about `min`, each further one about twice as long,
/// none longer than `max`.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    max: Duration,
    delays: Option<ExponentialBackoff>,
}

impl Backoff {
    /// Delays from `min` to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        // backon adds up to the delay itself as jitter; halved, the sum stays within the cap and still varies once the cap is reached.
        let builder = ExponentialBuilder::new().with_min_delay(min / 2).with_max_delay(max / 2).without_max_times().with_jitter();
        Self { builder, max, delays: None }
    }

    /// The delay before the next try.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator to collect")]
    pub fn next(&mut self) -> Duration {
        match &mut self.delays {
            None => {
                self.delays = Some(self.builder.build());
                Duration::ZERO
            }
            Some(delays) => delays.next().unwrap_or(self.max).min(self.max),
        }
    }

    /// Starts over: the next retry is immediate again. To be called after a success that lasted, or a broken peer is retried in a hot loop.
    pub fn reset(&mut self) {
        self.delays = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_immediate_and_the_rest_grow_to_the_cap_and_stay_there() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max);
        assert_eq!(backoff.next(), Duration::ZERO);
        let mut floor = min / 2;
        for _ in 0..100 {
            let delay = backoff.next();
            assert!(delay >= floor && delay <= max, "{delay:?} is not within {floor:?}..={max:?}");
            floor = (floor * 2).min(max / 2);
        }
        backoff.reset();
        assert_eq!(backoff.next(), Duration::ZERO);
    }
}
