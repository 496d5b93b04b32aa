//! Where the subscriptions of one connection stand: asked for in batches, each answered under its number, a refused batch asked again in halves
//! until it is known which stream the venue does not want.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tapekeeper_contract::status::Subscription;

/// The venue has so long to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The subscriptions of one connection.
#[derive(Debug)]
pub struct Subscriptions {
    streams: Vec<Stream>,
    instruments: Vec<Subscription>,
    to_ask: VecDeque<Vec<usize>>,
    asked: HashMap<u64, (Vec<usize>, Instant)>,
    next_request: u64,
}

#[derive(Debug)]
struct Stream {
    name: String,
    instrument: usize,
    state: Subscription,
}

/// An instrument's subscription is no longer pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The instrument's place on this connection.
    pub instrument: usize,
    /// How it was settled.
    pub state: Subscription,
}

/// The next message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number.
    pub number: u64,
    /// The streams to ask for.
    pub streams: Vec<&'a str>,
}

impl Subscriptions {
    /// Subscriptions that are still to be asked for: each instrument's streams, at most `per_message` in one message.
    #[must_use]
    pub fn new(instruments: Vec<Vec<String>>, per_message: usize) -> Self {
        let states = vec![Subscription::Pending; instruments.len()];
        let streams: Vec<Stream> = instruments
            .into_iter()
            .enumerate()
            .flat_map(|(instrument, names)| names.into_iter().map(move |name| Stream { name, instrument, state: Subscription::Pending }))
            .collect();
        let all: Vec<usize> = (0..streams.len()).collect();
        let to_ask = all.chunks(per_message.max(1)).map(<[usize]>::to_vec).collect();
        Self { streams, instruments: states, to_ask, asked: HashMap::new(), next_request: 1 }
    }

    /// How many streams there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a message is waiting to be sent.
    #[must_use]
    pub fn has_request(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// The next message, taken as sent at `now`.
    pub fn next_request(&mut self, now: Instant) -> Option<Request<'_>> {
        let batch = self.to_ask.pop_front()?;
        let number = self.next_request;
        self.next_request += 1;
        let streams = batch.iter().map(|&stream| self.streams[stream].name.as_str()).collect();
        self.asked.insert(number, (batch, now));
        Some(Request { number, streams })
    }

    /// Takes the venue's answer to a request, and gives the instruments that it settles. An answer to what was not asked settles nothing.
    pub fn answer(&mut self, request: u64, accepted: bool) -> Vec<Settled> {
        let Some((mut batch, _)) = self.asked.remove(&request) else { return Vec::new() };
        if !accepted && batch.len() > 1 {
            let rest = batch.split_off(batch.len() / 2);
            self.to_ask.push_front(rest);
            self.to_ask.push_front(batch);
            return Vec::new();
        }
        for &stream in &batch {
            self.streams[stream].state = if accepted { Subscription::Confirmed } else { Subscription::Refused };
        }
        let mut settled = Vec::new();
        for instrument in batch.into_iter().map(|stream| self.streams[stream].instrument) {
            let state = self.state_of(instrument);
            if state != self.instruments[instrument] {
                self.instruments[instrument] = state;
                settled.push(Settled { instrument, state });
            }
        }
        settled
    }

    /// An instrument is confirmed when all its streams are, and refused when one of them is.
    fn state_of(&self, instrument: usize) -> Subscription {
        let mut states = self.streams.iter().filter(|stream| stream.instrument == instrument).map(|stream| stream.state);
        if states.clone().any(|state| state == Subscription::Refused) {
            Subscription::Refused
        } else if states.all(|state| state == Subscription::Confirmed) {
            Subscription::Confirmed
        } else {
            Subscription::Pending
        }
    }

    /// The instruments whose subscription is confirmed.
    pub fn confirmed(&self) -> impl Iterator<Item = usize> + '_ {
        self.instruments.iter().enumerate().filter(|(_, state)| **state == Subscription::Confirmed).map(|(instrument, _)| instrument)
    }

    /// Whether the venue owes an answer for longer than it may.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.asked.values().any(|(_, asked)| now.saturating_duration_since(*asked) > ANSWER_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriptions(per_message: usize) -> Subscriptions {
        let streams = |symbol: &str| vec![format!("{symbol}@trade"), format!("{symbol}@bookTicker")];
        Subscriptions::new(vec![streams("a"), streams("b")], per_message)
    }

    fn settled(instrument: usize, state: Subscription) -> Settled {
        Settled { instrument, state }
    }

    #[test]
    fn an_instrument_is_confirmed_with_the_last_of_its_streams() {
        let (mut subject, now) = (subscriptions(3), Instant::now());
        assert_eq!(subject.next_request(now), Some(Request { number: 1, streams: vec!["a@trade", "a@bookTicker", "b@trade"] }));
        assert_eq!(subject.next_request(now), Some(Request { number: 2, streams: vec!["b@bookTicker"] }));
        assert_eq!(subject.next_request(now), None);
        assert_eq!(subject.answer(1, true), vec![settled(0, Subscription::Confirmed)]);
        assert_eq!(subject.answer(1, true), vec![]);
        assert_eq!(subject.answer(77, true), vec![]);
        assert_eq!(subject.answer(2, true), vec![settled(1, Subscription::Confirmed)]);
        assert_eq!(subject.confirmed().collect::<Vec<_>>(), vec![0, 1]);
    }

    #[test]
    fn one_stream_that_is_refused_does_not_take_the_others_of_its_message_with_it() {
        let (mut subject, now) = (subscriptions(4), Instant::now());
        let mut asked = Vec::new();
        while let Some(request) = subject.next_request(now) {
            let (number, refused) = (request.number, request.streams.contains(&"b@trade"));
            asked.push(request.streams.join(" "));
            subject.answer(number, !refused);
        }
        assert_eq!(asked, ["a@trade a@bookTicker b@trade b@bookTicker", "a@trade a@bookTicker", "b@trade b@bookTicker", "b@trade", "b@bookTicker"]);
        assert_eq!(subject.instruments, [Subscription::Confirmed, Subscription::Refused]);
    }

    #[test]
    fn a_venue_that_does_not_answer_is_overdue() {
        let (mut subject, now) = (subscriptions(4), Instant::now());
        assert!(!subject.is_overdue(now + 2 * ANSWER_WITHIN));
        let number = subject.next_request(now).unwrap().number;
        assert!(!subject.is_overdue(now + ANSWER_WITHIN));
        assert!(subject.is_overdue(now + 2 * ANSWER_WITHIN));
        subject.answer(number, true);
        assert!(!subject.is_overdue(now + 2 * ANSWER_WITHIN));
    }
}
