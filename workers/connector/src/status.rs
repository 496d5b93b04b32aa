//! What the connector knows of itself: its metrics, and the board that `/readyz` and `/status` read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets_range};
use prometheus_client::registry::{Registry, Unit};
use tapekeeper_contract::status::{ConnectionStatus, ConnectorStatus, InstrumentStatus, Subscription, WorkerStatus};
use tapekeeper_market::{Event, Instrument, Timestamp};
use tapekeeper_runtime::health::Probe;

use crate::assemble::Draft;

/// Over so long the rate of ticks is taken.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Channels that are counted by name; a venue that invents more is counted under `other`.
const MAX_CHANNELS: usize = 32;
const NEVER: i64 = i64::MIN;

/// Why something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The word for it.
    pub reason: &'static str,
}

/// A venue's channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabel {
    /// The venue's name of it.
    pub channel: String,
}

/// The connector's metrics, all under `tapekeeper_connector_`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Frames read.
    pub frames: Counter,
    /// Trades read.
    pub trades: Counter,
    /// Quotes read.
    pub quotes: Counter,
    /// Frames of channels that are not taken.
    pub frames_ignored: Family<ChannelLabel, Counter>,
    /// Frames not understood.
    pub frames_rejected: Family<Reason, Counter>,
    /// Connections to the venue that ended, or could not be made.
    pub disconnects: Family<Reason, Counter>,
    /// Sockets that are up.
    pub sockets: Gauge,
    /// Envelopes handed to the broker, each time that they were.
    pub published: Counter,
    /// Envelopes handed to the broker again, because it had not confirmed them.
    pub republished: Counter,
    /// Envelopes confirmed.
    pub confirmed: Counter,
    /// Envelopes that no queue and no alternate exchange took.
    pub returned: Counter,
    /// Envelopes given up at the end of the process, unconfirmed.
    pub abandoned: Counter,
    /// Envelopes handed to the broker and not confirmed yet.
    pub in_flight: Gauge,
    /// Envelopes that wait for the publisher.
    pub waiting: Gauge,
    /// Microseconds for which sockets were not read, because the broker did not keep up.
    pub backpressure_micros: Counter,
    /// Connections to the broker that ended, or could not be made.
    pub broker_disconnects: Family<Reason, Counter>,
    /// From the socket read that brought an envelope's first event to the broker's confirm.
    pub confirm_seconds: Histogram,
}

impl Metrics {
    /// Metrics that `registry` shows.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            frames: Counter::default(),
            trades: Counter::default(),
            quotes: Counter::default(),
            frames_ignored: Family::default(),
            frames_rejected: Family::default(),
            disconnects: Family::default(),
            sockets: Gauge::default(),
            published: Counter::default(),
            republished: Counter::default(),
            confirmed: Counter::default(),
            returned: Counter::default(),
            abandoned: Counter::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            backpressure_micros: Counter::default(),
            broker_disconnects: Family::default(),
            confirm_seconds: Histogram::new(exponential_buckets_range(0.000_1, 10.0, 41)),
        };
        let registry = registry.sub_registry_with_prefix("connector");
        registry.register("frames", "Frames read", metrics.frames.clone());
        registry.register("trades", "Trades read", metrics.trades.clone());
        registry.register("quotes", "Quotes read", metrics.quotes.clone());
        registry.register("frames_ignored", "Frames of channels that are not taken", metrics.frames_ignored.clone());
        registry.register("frames_rejected", "Frames that were not understood", metrics.frames_rejected.clone());
        registry.register("disconnects", "Connections to the venue that ended or could not be made", metrics.disconnects.clone());
        registry.register("sockets", "Sockets that are up", metrics.sockets.clone());
        registry.register("envelopes_published", "Envelopes handed to the broker, each time that they were", metrics.published.clone());
        registry.register("envelopes_republished", "Envelopes handed to the broker again", metrics.republished.clone());
        registry.register("envelopes_confirmed", "Envelopes that the broker confirmed", metrics.confirmed.clone());
        registry.register("envelopes_returned", "Envelopes that neither a queue nor the alternate exchange took: lost", metrics.returned.clone());
        registry.register("envelopes_abandoned", "Envelopes still unconfirmed when the process ended: perhaps lost", metrics.abandoned.clone());
        registry.register("envelopes_in_flight", "Envelopes handed to the broker and not confirmed yet", metrics.in_flight.clone());
        registry.register("envelopes_waiting", "Envelopes that wait for the publisher", metrics.waiting.clone());
        registry.register(
            "backpressure_microseconds",
            "Time for which sockets were not read because the broker did not keep up",
            metrics.backpressure_micros.clone(),
        );
        registry.register("broker_disconnects", "Connections to the broker that ended or could not be made", metrics.broker_disconnects.clone());
        registry.register_with_unit("confirm", "From the socket read to the broker's confirm", Unit::Seconds, metrics.confirm_seconds.clone());
        metrics
    }
}

/// What the connector's tasks write down, and the HTTP endpoint reads.
#[derive(Debug)]
pub struct Board {
    /// The metrics.
    pub metrics: Metrics,
    feed: String,
    exchange: &'static str,
    instruments: Vec<InstrumentBoard>,
    connections: Vec<Mutex<ConnectionStatus>>,
    last_tick: AtomicI64,
    lag_micros: AtomicI64,
    broker_problem: Mutex<Option<String>>,
    channels: Mutex<Vec<String>>,
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

#[derive(Debug)]
struct InstrumentBoard {
    instrument: Instrument,
    subscription: AtomicU8,
    last_tick: AtomicI64,
}

const STATES: [Subscription; 3] = [Subscription::Pending, Subscription::Confirmed, Subscription::Refused];

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is written down is whole at any moment, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shown(micros: &AtomicI64) -> Option<String> {
    match micros.load(Ordering::Relaxed) {
        NEVER => None,
        micros => Timestamp::from_micros(micros).ok().map(|time| time.to_string()),
    }
}

impl Board {
    /// A board on which nothing has happened yet. `streams` is the number of streams of each connection.
    #[must_use]
    pub fn new(metrics: Metrics, feed: String, exchange: &'static str, instruments: &[Instrument], streams: &[usize]) -> Self {
        let instruments = instruments.iter().map(|instrument| InstrumentBoard {
            instrument: instrument.clone(),
            subscription: AtomicU8::new(0),
            last_tick: AtomicI64::new(NEVER),
        });
        let connection = |(id, streams): (usize, &usize)| {
            let (id, streams) = (u32::try_from(id).unwrap_or(u32::MAX), u32::try_from(*streams).unwrap_or(u32::MAX));
            Mutex::new(ConnectionStatus { id, connected: false, since: None, reconnects: 0, streams, last_error: None })
        };
        Self {
            metrics,
            feed,
            exchange,
            instruments: instruments.collect(),
            connections: streams.iter().enumerate().map(connection).collect(),
            last_tick: AtomicI64::new(NEVER),
            lag_micros: AtomicI64::new(NEVER),
            broker_problem: Mutex::new(Some("not connected to the broker yet".to_owned())),
            channels: Mutex::new(Vec::new()),
            samples: Mutex::new(VecDeque::new()),
        }
    }

    /// An envelope is on its way to the publisher.
    pub fn read(&self, draft: &Draft) {
        let trades = draft.events.iter().filter(|event| matches!(event, Event::Trade(_))).count() as u64;
        let quotes = draft.events.iter().filter(|event| matches!(event, Event::Quote(_))).count() as u64;
        if trades + quotes == 0 {
            return;
        }
        self.metrics.trades.inc_by(trades);
        self.metrics.quotes.inc_by(quotes);
        let received = draft.received.as_micros();
        self.last_tick.fetch_max(received, Ordering::Relaxed);
        self.instruments[draft.slot].last_tick.fetch_max(received, Ordering::Relaxed);
        let newest = draft.events.iter().rev().find_map(|event| event.as_feed().is_none().then(|| event.timestamp()).flatten());
        if let Some(newest) = newest {
            self.lag_micros.store(draft.received.micros_since(newest), Ordering::Relaxed);
        }
    }

    /// A frame of a channel that is not taken.
    pub fn ignored(&self, channel: &str) {
        let mut channels = locked(&self.channels);
        let label = if channels.iter().any(|known| known == channel) {
            channel
        } else if channels.len() < MAX_CHANNELS {
            channels.push(channel.to_owned());
            channel
        } else {
            "other"
        };
        self.metrics.frames_ignored.get_or_create(&ChannelLabel { channel: label.to_owned() }).inc();
    }

    /// A connection is up.
    pub fn connected(&self, connection: usize, now: Timestamp) {
        self.metrics.sockets.inc();
        let mut status = locked(&self.connections[connection]);
        status.connected = true;
        status.since = Some(now.to_string());
    }

    /// A connection is down, or could not be made, and with it the subscriptions of `slots`.
    pub fn disconnected(&self, connection: usize, slots: &[usize], reason: &'static str, detail: &str, now: Timestamp) {
        self.metrics.disconnects.get_or_create(&Reason { reason }).inc();
        let mut status = locked(&self.connections[connection]);
        if status.connected {
            self.metrics.sockets.dec();
            status.since = Some(now.to_string());
        }
        status.connected = false;
        status.reconnects += 1;
        status.last_error = Some(detail.to_owned());
        for &slot in slots {
            self.subscription(slot, Subscription::Pending);
        }
    }

    /// Where the subscription of the instrument in `slot` stands.
    pub fn subscription(&self, slot: usize, state: Subscription) {
        let number = STATES.iter().position(|known| *known == state).unwrap_or(0);
        self.instruments[slot].subscription.store(u8::try_from(number).unwrap_or(0), Ordering::Relaxed);
    }

    /// Why the broker can't be published to; `None` when it can.
    pub fn broker(&self, problem: Option<String>) {
        *locked(&self.broker_problem) = problem;
    }

    /// Takes a sample of the tick counter, for the rate. To be called once a second.
    pub fn sample(&self, now: Instant) {
        let mut samples = locked(&self.samples);
        samples.push_back((now, self.ticks()));
        while samples.len() > 2 && now.duration_since(samples[1].0) >= RATE_OVER {
            samples.pop_front();
        }
    }

    fn ticks(&self) -> u64 {
        self.metrics.trades.get() + self.metrics.quotes.get()
    }

    fn rate(&self) -> f64 {
        let samples = locked(&self.samples);
        match (samples.front(), samples.back()) {
            (Some((since, before)), Some((until, after))) if until > since => (after - before) as f64 / until.duration_since(*since).as_secs_f64(),
            _ => 0.0,
        }
    }

    fn state(&self, instrument: &InstrumentBoard) -> Subscription {
        STATES[usize::from(instrument.subscription.load(Ordering::Relaxed)).min(STATES.len() - 1)]
    }

    fn with_state(&self, state: Subscription) -> Vec<&str> {
        self.instruments.iter().filter(|instrument| self.state(instrument) == state).map(|instrument| instrument.instrument.symbol()).collect()
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = locked(&self.broker_problem).clone() {
            return Some(problem);
        }
        let down = self.connections.iter().map(locked).find(|status| !status.connected);
        if let Some(status) = down {
            let why = status.last_error.as_deref().unwrap_or("not connected yet");
            return Some(format!("connection {} to the venue is down: {why}", status.id));
        }
        match self.with_state(Subscription::Refused) {
            refused if refused.is_empty() => None,
            refused => Some(format!("the venue refused {}", some_of(&refused))),
        }
    }

    /// The body of `/status`.
    #[must_use]
    pub fn connector_status(&self) -> ConnectorStatus {
        let instruments = self.instruments.iter().map(|instrument| InstrumentStatus {
            symbol: instrument.instrument.to_string(),
            subscription: self.state(instrument),
            last_tick: shown(&instrument.last_tick),
        });
        let lag = self.lag_micros.load(Ordering::Relaxed);
        ConnectorStatus {
            feed: self.feed.clone(),
            exchange: self.exchange.to_owned(),
            instruments: instruments.collect(),
            connections: self.connections.iter().map(|status| locked(status).clone()).collect(),
            ticks: self.ticks(),
            ticks_per_second: self.rate(),
            last_tick: shown(&self.last_tick),
            lag_ms: (lag != NEVER).then(|| lag.div_euclid(1_000)),
            envelopes_confirmed: self.metrics.confirmed.get(),
            envelopes_in_flight: u64::try_from(self.metrics.in_flight.get()).unwrap_or(0),
            frames_rejected: REJECTIONS
                .iter()
                .filter_map(|&reason| self.metrics.frames_rejected.get(&Reason { reason }).map(|count| count.get()))
                .sum(),
            problem: self.problem(),
        }
    }
}

/// Every reason for which a frame is rejected.
pub const REJECTIONS: &[&str] = &["FrameMalformed", "FrameFieldInvalid", "FrameUnknown", "FrameBinary", "SymbolNotSubscribed"];

/// At most five names, and how many more there are.
fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown} and {} more", names.len() - 5) } else { shown }
}

impl Probe for Board {
    /// Always: a task that ends takes the process with it, and waiting for the venue or the broker is no reason to be started anew.
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(problem) = locked(&self.broker_problem).clone() {
            return Err(problem);
        }
        match self.with_state(Subscription::Pending) {
            pending if pending.is_empty() => Ok(()),
            pending => Err(format!("the venue has not answered the subscription of {}", some_of(&pending))),
        }
    }

    fn status(&self) -> serde_json::Value {
        // Plain data always has a JSON form.
        serde_json::to_value(WorkerStatus::Connector(self.connector_status())).unwrap_or_default()
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
