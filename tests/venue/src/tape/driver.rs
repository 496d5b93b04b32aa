//! What moves a tape on with time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::floor::{Floor, Step};
use crate::options::Rate;

use super::batch::Batch;

/// Frames in one batch at most: enough to amortise a lock and a write, few enough to stay under a millisecond.
const BATCH_FRAMES: usize = 512;

/// Batches kept for use again.
const POOL: usize = 64;

/// How far behind its pace a tape may fall before it lets the lost time go.
const LARGEST_DEBT: Duration = Duration::from_secs(1);

/// How many frames are due, from a rate and the time. No clock inside.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: Rate,
    origin: Instant,
    emitted: u64,
}

impl Pace {
    /// A pace that starts now.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, origin: now, emitted: 0 }
    }

    /// The rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Forgets what was due: after a pause nothing is caught up.
    pub fn restart(&mut self, now: Instant) {
        (self.origin, self.emitted) = (now, 0);
    }

    /// Counts frames as played.
    pub fn played(&mut self, frames: usize) {
        self.emitted += frames as u64;
    }

    /// How many frames may be played now, at most [`BATCH_FRAMES`]; with none, when the next is due.
    pub fn due(&mut self, now: Instant) -> Result<usize, Instant> {
        let Rate::PerSecond(rate) = self.rate else { return Ok(BATCH_FRAMES) };
        let due = ((now - self.origin).as_secs_f64() * rate) as u64;
        if due > self.emitted {
            if (due - self.emitted) as f64 > rate * LARGEST_DEBT.as_secs_f64() + BATCH_FRAMES as f64 {
                self.restart(now);
                return Ok(1);
            }
            return Ok(((due - self.emitted) as usize).min(BATCH_FRAMES));
        }
        Err(self.origin + Duration::from_secs_f64((self.emitted + 1) as f64 / rate))
    }
}

/// Plays the floor's tape until the task is dropped.
pub async fn drive(floor: Arc<Floor>) {
    let mut pool: Vec<Arc<Batch>> = Vec::with_capacity(POOL);
    loop {
        let batch = fresh_batch(&mut pool);
        match floor.step(Instant::now(), batch) {
            Step::Played(batch) => {
                if pool.len() < POOL {
                    pool.push(batch);
                }
                tokio::task::yield_now().await;
            }
            Step::Wait { until, batch } => {
                if pool.len() < POOL {
                    pool.push(batch);
                }
                match until {
                    Some(until) => {
                        let _ = tokio::time::timeout_at(until, floor.moved()).await;
                    }
                    None => floor.moved().await,
                }
            }
        }
    }
}

/// A batch that no connection holds any more, or a new one.
fn fresh_batch(pool: &mut Vec<Arc<Batch>>) -> Arc<Batch> {
    match pool.iter().position(|batch| Arc::strong_count(batch) == 1) {
        Some(at) => pool.swap_remove(at),
        None => {
            // All are still on their way to a slow client: let go of the oldest rather than of room for new ones.
            if pool.len() == POOL {
                pool.remove(0);
            }
            Arc::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_owes_what_its_rate_says_and_not_more_than_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::PerSecond(100.0), start);
        assert_eq!(pace.due(start), Err(start + Duration::from_millis(10)));
        assert_eq!(pace.due(start + Duration::from_millis(55)), Ok(5));
        pace.played(5);
        assert_eq!(pace.due(start + Duration::from_millis(55)), Err(start + Duration::from_millis(60)));
        assert_eq!(pace.due(start + Duration::from_secs(600)), Ok(1));
    }
}
