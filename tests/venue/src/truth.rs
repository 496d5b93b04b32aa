//! What the venue knows about its own tape: the oracle that a table is compared with.

use serde::{Serialize, Serializer};

use crate::tape::random::mix;
use crate::tape::{Event, StreamInfo, Trade};

/// A set of ids, held as closed ranges: a contiguous tape of any length is one range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdSet {
    ranges: Vec<(u64, u64)>,
    count: u64,
}

impl IdSet {
    /// Adds an id.
    pub fn insert(&mut self, id: u64) {
        if let Some((_, last)) = self.ranges.last_mut() {
            if *last < u64::MAX && id == *last + 1 {
                *last = id;
                self.count += 1;
                return;
            }
            if id <= *last {
                self.insert_within(id);
                return;
            }
        }
        self.ranges.push((id, id));
        self.count += 1;
    }

    fn insert_within(&mut self, id: u64) {
        let at = self.ranges.partition_point(|(_, last)| *last < id);
        if self.ranges[at].0 <= id {
            return;
        }
        let joins_left = at > 0 && self.ranges[at - 1].1 + 1 == id;
        let joins_right = self.ranges[at].0 == id + 1;
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = id,
            (false, true) => self.ranges[at].0 = id,
            (false, false) => self.ranges.insert(at, (id, id)),
        }
        self.count += 1;
    }

    /// Whether it holds an id.
    pub fn contains(&self, id: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < id);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= id)
    }

    /// How many ids it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Its closed ranges, ascending.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }
}

/// The share of one trade in a checksum. The checksum of a set of trades is the wrapping sum of their shares, so it
/// doesn't depend on order, and a duplicate changes it. Price and quantity are in units of 10⁻⁸.
pub fn share(id: u64, price: u64, quantity: u64) -> u64 {
    mix(mix(mix(id).wrapping_add(price)).wrapping_add(quantity))
}

/// Counts over the frames of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// The smallest id: trade id of a trade, update id of a quote.
    pub first_id: Option<u64>,
    /// The largest id.
    pub last_id: Option<u64>,
    /// Different trade ids; 0 for streams without trades.
    pub distinct_ids: u64,
    /// Sum of the prices of all trades, an exact decimal.
    #[serde(serialize_with = "as_decimal")]
    pub price_sum: u128,
    /// Sum of the quantities of all trades, an exact decimal.
    #[serde(serialize_with = "as_decimal")]
    pub quantity_sum: u128,
    /// Wrapping sum of [`share`] over all trades, as 16 hexadecimal digits.
    #[serde(serialize_with = "as_hex")]
    pub checksum: u64,
    /// The trade ids as closed ranges.
    #[serde(rename = "ranges", serialize_with = "as_ranges")]
    pub ids: IdSet,
}

impl Tally {
    /// Counts one frame.
    pub fn record(&mut self, event: &Event) {
        self.frames += 1;
        match event {
            Event::Trade(Trade { id, price, quantity, .. }) => {
                self.widen(*id);
                self.ids.insert(*id);
                self.distinct_ids = self.ids.count();
                self.price_sum += u128::from(*price);
                self.quantity_sum += u128::from(*quantity);
                self.checksum = self.checksum.wrapping_add(share(*id, *price, *quantity));
            }
            Event::Quote(id) => self.widen(*id),
            Event::Other => {}
        }
    }

    fn widen(&mut self, id: u64) {
        self.first_id = Some(self.first_id.map_or(id, |first| first.min(id)));
        self.last_id = Some(self.last_id.map_or(id, |last| last.max(id)));
    }
}

/// The truth about one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamTruth {
    /// Which stream.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// Connections that hold it now.
    pub listeners: u32,
    /// Everything that the tape ran past.
    pub played: Tally,
    /// What of it was sent to at least one connection.
    pub heard: Tally,
}

/// The truth about the whole venue at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// Which venue it plays.
    pub venue: &'static str,
    /// Where the tape stands.
    pub state: TapeState,
    /// Trades played, over all streams of single trades.
    pub trades: u64,
    /// Quotes played.
    pub quotes: u64,
    /// Trades sent to at least one connection.
    pub trades_heard: u64,
    /// Quotes sent to at least one connection.
    pub quotes_heard: u64,
    /// Connections closed because they took a paced tape too slowly: what waited for them was lost on the way.
    pub too_slow: u64,
    /// Each stream.
    pub streams: Vec<StreamTruth>,
}

impl Truth {
    /// The truth about one stream.
    pub fn stream(&self, name: &str) -> Option<&StreamTruth> {
        self.streams.iter().find(|stream| stream.info.stream == name)
    }
}

/// Where a tape stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TapeState {
    /// Waits for a subscriber or a start.
    Waiting,
    /// Runs (some symbols may still wait).
    Running,
    /// Held by a script.
    Paused,
    /// All of it has been played.
    Finished,
}

/// A fixed-point integer in units of 10⁻⁸ as decimal text.
pub fn decimal(units: u128) -> String {
    format!("{}.{:08}", units / 100_000_000, units % 100_000_000)
}

fn as_decimal<S: Serializer>(units: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&decimal(*units))
}

fn as_hex<S: Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{bits:016x}"))
}

fn as_ranges<S: Serializer>(ids: &IdSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.ranges())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_set_joins_ranges_in_whatever_order_ids_come() {
        let mut ids = IdSet::default();
        for id in [5, 6, 9, 8, 7, 1, 5, 9, 3, 12] {
            ids.insert(id);
        }
        assert_eq!(ids.ranges(), [(1, 1), (3, 3), (5, 9), (12, 12)]);
        assert_eq!(ids.count(), 8);
        assert_eq!([0, 1, 2, 7, 10, 12, 13].map(|id| ids.contains(id)), [false, true, false, true, false, true, false]);
    }

    #[test]
    fn a_duplicate_changes_the_checksum_and_the_order_does_not() {
        let trade = |id| Event::Trade(Trade { id, price: 3, quantity: 4, time: 0, buyer_is_maker: true });
        let tally = |ids: &[u64]| {
            let mut tally = Tally::default();
            ids.iter().for_each(|id| tally.record(&trade(*id)));
            tally.checksum
        };
        assert_eq!(tally(&[1, 2]), tally(&[2, 1]));
        assert_ne!(tally(&[1, 2]), tally(&[1, 2, 2]));
        assert_ne!(share(1, 2, 3), share(1, 3, 2));
    }
}
