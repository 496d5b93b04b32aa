//! From events to envelopes: everything of one instrument that the socket had ready becomes one. Pure: time is passed in.

use std::collections::VecDeque;
use std::sync::Arc;

use tapekeeper_market::envelope::MAX_EVENTS;
use tapekeeper_market::{EnvelopeId, Event, Instrument, Timestamp, TopOfBook};

/// An event waits no longer than so many microseconds for others to join it.
pub const MAX_WAIT_MICROS: i64 = 2_000;

/// An envelope that nobody has published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its identity.
    pub id: EnvelopeId,
    /// The instrument's index in the feed.
    pub slot: usize,
    /// The instrument.
    pub instrument: Instrument,
    /// When the socket read returned that brought its first event.
    pub received: Timestamp,
    /// In the order of the wire.
    pub events: Vec<Event>,
}

/// Collects the events of one connection epoch.
#[derive(Debug)]
pub struct Assembler {
    feed: Arc<str>,
    epoch: u64,
    sequence: u64,
    attach_top: bool,
    pending: Vec<Pending>,
    /// The instruments that have events waiting, in the order of their first.
    waiting: VecDeque<usize>,
}

#[derive(Debug)]
struct Pending {
    slot: usize,
    instrument: Instrument,
    events: Vec<Event>,
    received: Timestamp,
    top: Option<TopOfBook>,
    /// How many events the last envelope had: the next one is likely to be as long.
    likely: usize,
}

impl Assembler {
    /// An assembler for `instruments`, each with its index in the feed. With `attach_top`, a trade carries the last quote of its instrument.
    #[must_use]
    pub fn new(feed: Arc<str>, epoch: u64, instruments: impl IntoIterator<Item = (usize, Instrument)>, attach_top: bool) -> Self {
        let received = Timestamp::default();
        let pending = instruments
            .into_iter()
            .map(|(slot, instrument)| Pending { slot, instrument, events: Vec::new(), received, top: None, likely: 1 })
            .collect();
        Self { feed, epoch, sequence: 0, attach_top, pending, waiting: VecDeque::new() }
    }

    /// Takes an event of the instrument at `place` on this connection. Gives an envelope when that makes it full.
    pub fn push(&mut self, place: usize, mut event: Event, received: Timestamp) -> Option<Draft> {
        let pending = &mut self.pending[place];
        if self.attach_top {
            match &mut event {
                Event::Trade(trade) => trade.prevailing = pending.top,
                Event::Quote(quote) => pending.top = Some(quote.top),
                Event::Connected(_) | Event::Disconnected(_) => {}
            }
        }
        if pending.events.is_empty() {
            pending.received = received;
            pending.events.reserve(pending.likely);
            self.waiting.push_back(place);
        }
        pending.events.push(event);
        if pending.events.len() < MAX_EVENTS {
            return None;
        }
        self.waiting.retain(|&other| other != place);
        Some(self.finish(place))
    }

    /// The next envelope of those that wait, whether full or not.
    pub fn pop(&mut self) -> Option<Draft> {
        let place = self.waiting.pop_front()?;
        Some(self.finish(place))
    }

    /// Whether an event has waited as long as it may.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.waiting.front().is_some_and(|&place| now.micros_since(self.pending[place].received) >= MAX_WAIT_MICROS)
    }

    fn finish(&mut self, place: usize) -> Draft {
        let sequence = self.sequence;
        self.sequence += 1;
        let pending = &mut self.pending[place];
        let events = std::mem::take(&mut pending.events);
        pending.likely = events.len();
        Draft {
            id: EnvelopeId { feed: Arc::clone(&self.feed), epoch: self.epoch, sequence },
            slot: pending.slot,
            instrument: pending.instrument.clone(),
            received: pending.received,
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapekeeper_market::{Quote, Side, Trade, exact};

    use super::*;

    fn assembler(instruments: usize, attach_top: bool) -> Assembler {
        let instruments = (0..instruments).map(|slot| (slot + 10, format!("A{slot}/USDT").parse().unwrap()));
        Assembler::new(Arc::from("md/binance"), 7, instruments, attach_top)
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn trade(trade_id: u64) -> Trade {
        Trade { timestamp: at(1), trade_id, price: exact("2").unwrap(), volume: exact("3").unwrap(), side: Side::Buy, prevailing: None }
    }

    fn top(bid: &str) -> TopOfBook {
        let number = |text| exact(text).unwrap();
        TopOfBook { bid_price: number(bid), bid_volume: number("1"), ask_price: number("9"), ask_volume: number("1") }
    }

    #[test]
    fn an_envelope_has_the_time_of_its_first_event_and_a_number_of_its_epoch() {
        let mut subject = assembler(2, false);
        assert_eq!(subject.push(1, Event::Trade(trade(1)), at(100)), None);
        assert_eq!(subject.push(0, Event::Trade(trade(2)), at(150)), None);
        assert_eq!(subject.push(1, Event::Trade(trade(3)), at(200)), None);
        let draft = |sequence, slot, name: &str, received, ids: &[u64]| Draft {
            id: EnvelopeId { feed: Arc::from("md/binance"), epoch: 7, sequence },
            slot,
            instrument: name.parse().unwrap(),
            received: at(received),
            events: ids.iter().map(|&id| Event::Trade(trade(id))).collect(),
        };
        assert_eq!(subject.pop(), Some(draft(0, 11, "A1/USDT", 100, &[1, 3])));
        assert_eq!(subject.pop(), Some(draft(1, 10, "A0/USDT", 150, &[2])));
        assert_eq!(subject.pop(), None);
    }

    #[test]
    fn an_event_is_due_after_two_milliseconds() {
        let mut subject = assembler(1, false);
        assert!(!subject.is_due(at(1_000_000)));
        subject.push(0, Event::Trade(trade(1)), at(100));
        assert!(!subject.is_due(at(2_099)));
        assert!(subject.is_due(at(2_100)));
    }

    #[test]
    fn a_trade_carries_the_top_of_the_book_that_stood_before_it() {
        let mut subject = assembler(2, true);
        let quote = Quote { timestamp: None, update_id: Some(1), top: top("5") };
        for event in [Event::Trade(trade(1)), Event::Quote(quote), Event::Trade(trade(2))] {
            subject.push(0, event, at(1));
        }
        subject.push(1, Event::Trade(trade(3)), at(1));
        let with_top = Trade { prevailing: Some(top("5")), ..trade(2) };
        assert_eq!(subject.pop().unwrap().events, vec![Event::Trade(trade(1)), Event::Quote(quote), Event::Trade(with_top)]);
        assert_eq!(subject.pop().unwrap().events, vec![Event::Trade(trade(3))]);
    }

    #[test]
    fn without_quotes_a_trade_carries_no_top() {
        let mut subject = assembler(1, false);
        subject.push(0, Event::Quote(Quote { timestamp: None, update_id: None, top: top("5") }), at(1));
        subject.push(0, Event::Trade(trade(1)), at(1));
        assert_eq!(subject.pop().unwrap().events[1], Event::Trade(trade(1)));
    }

    proptest! {
        #[test]
        fn no_event_is_lost_or_overtakes_another_of_its_instrument(
            steps in proptest::collection::vec((0_usize..3, any::<bool>()), 0..2_000),
        ) {
            let mut subject = assembler(3, false);
            let mut sent = vec![Vec::new(); 3];
            let mut drafts = Vec::new();
            for (id, (place, flush)) in steps.into_iter().enumerate() {
                let id = id as u64;
                sent[place].push(id);
                drafts.extend(subject.push(place, Event::Trade(trade(id)), at(i64::try_from(id).unwrap())));
                // A flush now and then, so that full and partial envelopes alternate.
                if flush && id.is_multiple_of(97) {
                    drafts.extend(std::iter::from_fn(|| subject.pop()));
                }
            }
            drafts.extend(std::iter::from_fn(|| subject.pop()));
            prop_assert!(drafts.iter().all(|draft| (1..=MAX_EVENTS).contains(&draft.events.len())));
            prop_assert_eq!(drafts.iter().map(|draft| draft.id.sequence).collect::<Vec<_>>(), (0..drafts.len() as u64).collect::<Vec<_>>());
            for (place, sent) in sent.iter().enumerate() {
                let arrived: Vec<u64> = drafts.iter().filter(|draft| draft.slot == place + 10).flat_map(|draft| &draft.events).map(|event| match event {
                    Event::Trade(trade) => trade.trade_id,
                    other => panic!("{other:?}"),
                }).collect();
                prop_assert_eq!(&arrived, sent);
            }
        }
    }
}
