//! Which envelopes were seen lately. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tapekeeper_market::EnvelopeId;

/// The ids of the newest envelopes, so many of them.
#[derive(Debug)]
pub struct Recent {
    ids: HashSet<EnvelopeId>,
    order: VecDeque<EnvelopeId>,
    capacity: usize,
}

impl Recent {
    /// Remembers the newest `capacity` ids.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { ids: HashSet::with_capacity(capacity), order: VecDeque::with_capacity(capacity), capacity }
    }

    /// Remembers `id`; `false` when it was remembered already.
    pub fn insert(&mut self, id: &EnvelopeId) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id.clone());
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    /// Forgets `id`, so that it counts as new when it comes again.
    pub fn remove(&mut self, id: &EnvelopeId) {
        if self.ids.remove(id) {
            self.order.retain(|other| other != id);
        }
    }
}

/// Epochs of one feed that are remembered. A feed has one live epoch per connection.
const EPOCHS: usize = 64;

/// The highest sequence that one queue has delivered, by feed and epoch. A connector publishes an epoch's envelopes in order, so one that is not higher than
/// this was published again, and its first copy may be in the table.
#[derive(Debug, Default)]
pub struct HighWater {
    feeds: HashMap<Arc<str>, VecDeque<(u64, u64)>>,
}

impl HighWater {
    /// Notes the envelope's delivery; `true` when it, or one behind it, was delivered before.
    pub fn passed(&mut self, id: &EnvelopeId) -> bool {
        if !self.feeds.contains_key(&*id.feed) {
            self.feeds.insert(Arc::clone(&id.feed), VecDeque::new());
        }
        let Some(epochs) = self.feeds.get_mut(&*id.feed) else { return false };
        match epochs.iter_mut().find(|(epoch, _)| *epoch == id.epoch) {
            Some((_, highest)) if id.sequence <= *highest => true,
            Some((_, highest)) => {
                *highest = id.sequence;
                false
            }
            None => {
                epochs.push_back((id.epoch, id.sequence));
                if epochs.len() > EPOCHS {
                    epochs.pop_front();
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, sequence: u64) -> EnvelopeId {
        EnvelopeId { feed: Arc::from("md/binance"), epoch, sequence }
    }

    #[test]
    fn the_newest_ids_are_remembered_and_the_oldest_forgotten() {
        let mut recent = Recent::new(2);
        assert!(recent.insert(&id(1, 0)) && recent.insert(&id(1, 1)));
        assert!(!recent.insert(&id(1, 0)));
        assert!(recent.insert(&id(1, 2)));
        assert!(recent.insert(&id(1, 0)), "the oldest of three had to go");
        assert!(!recent.insert(&id(1, 2)));
        recent.remove(&id(1, 2));
        assert!(recent.insert(&id(1, 2)));
    }

    #[test]
    fn an_envelope_that_is_not_ahead_of_its_epoch_was_published_before() {
        let mut water = HighWater::default();
        assert_eq!([id(1, 0), id(1, 4), id(2, 0), id(1, 9)].map(|id| water.passed(&id)), [false; 4]);
        assert_eq!([id(1, 9), id(1, 3), id(2, 0)].map(|id| water.passed(&id)), [true; 3]);
        assert!(!water.passed(&id(2, 1)));
    }
}
