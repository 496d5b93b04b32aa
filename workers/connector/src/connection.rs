//! One socket's life, again and again: connect, subscribe, read until it ends, say so in the stream, wait, connect.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tapekeeper_contract::settings::Channel;
use tapekeeper_contract::status::Subscription;
use tapekeeper_market::{Event, FeedEvent, Instrument, Timestamp};
use tapekeeper_runtime::backoff::Backoff;
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_rustls::rustls;
use tokio_tungstenite::tungstenite::{self, Message};
use url::Url;

use crate::assemble::{Assembler, Draft};
use crate::socket::{self, Dial, ReadStamp, Socket};
use crate::status::{Board, Reason, now};
use crate::subscribe::Subscriptions;
use crate::venues::{Frame, Limits, Protocol};

/// The second retry waits about so long, each further one twice as long …
const RETRY_MIN: Duration = Duration::from_millis(250);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next retry is immediate again.
const STABLE: Duration = Duration::from_secs(60);
/// A message to the venue is written within this time, or the connection is as good as dead.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Frames read in a row before timers and shutdown get a look.
const BURST: u32 = 2_048;
/// A complaint about frames is logged so often at most; all are counted.
const LOGGED_REJECTIONS: u32 = 20;

/// What all sockets of a feed share.
pub struct Feed {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// The venue's protocol.
    pub protocol: &'static dyn Protocol,
    /// Where its stream is read.
    pub endpoint: Url,
    /// All instruments; a slot is an index into them.
    pub instruments: Vec<Instrument>,
    /// What is taken of each.
    pub channels: Vec<Channel>,
    /// A socket that brings no market data for so long is made anew.
    pub idle_timeout: Duration,
    /// How TCP connections are made.
    pub dial: Arc<dyn Dial>,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// How often a connection may be made.
    pub connects: DefaultDirectRateLimiter,
    /// The epochs of this process.
    pub epochs: Epochs,
    /// Where to write down what happens.
    pub board: Arc<Board>,
}

/// Gives each connection an epoch of its own: the microsecond at which it was made, and later than any epoch before it.
#[derive(Debug, Default)]
pub struct Epochs(AtomicU64);

impl Epochs {
    /// The epoch of a connection made at `now`.
    pub fn next(&self, now: Timestamp) -> u64 {
        let now = u64::try_from(now.as_micros()).unwrap_or(0);
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1))).unwrap_or_default();
        now.max(before + 1)
    }
}

/// How often connections may be made under `limits`: a tenth of them at once, the rest evenly spaced.
#[must_use]
pub fn connect_limiter(limits: &Limits) -> DefaultDirectRateLimiter {
    let at_once = NonZeroU32::new(limits.connections / 10).unwrap_or(NonZeroU32::MIN);
    let spacing = limits.connections_within / limits.connections.max(1);
    RateLimiter::direct(Quota::with_period(spacing).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(at_once))
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("no market data for {} s", .0.as_secs_f64())]
    Idle(Duration),
    #[error("the venue did not answer a subscription")]
    Unanswered,
    #[error("the venue closed the connection: {0}")]
    Closed(String),
    #[error("the connection broke: {0}")]
    Broken(Box<tungstenite::Error>),
    #[error("a message could not be sent within {} s", SEND_WITHIN.as_secs())]
    SendTimedOut,
    #[error("near the end of the life that the venue gives a connection")]
    Aged,
    #[error("the connector is ending")]
    Shutdown,
    #[error("the publisher has ended")]
    PublisherGone,
}

impl End {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Idle(_) => "Idle",
            Self::Unanswered => "SubscriptionUnanswered",
            Self::Closed(_) => "ClosedByVenue",
            Self::Broken(_) => "Broken",
            Self::SendTimedOut => "SendTimedOut",
            Self::Aged => "Aged",
            Self::Shutdown => "Shutdown",
            Self::PublisherGone => "PublisherGone",
        }
    }
}

/// One socket of a feed.
pub struct Connection {
    /// Its number within the feed.
    pub id: usize,
    /// The feed.
    pub feed: Arc<Feed>,
    /// Its instruments.
    pub slots: Vec<usize>,
    /// Where envelopes go. Bounded: while it is full, the socket is not read.
    pub drafts: mpsc::Sender<Draft>,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl Connection {
    /// Keeps the socket up until shutdown, or until the publisher is gone.
    pub async fn run(self) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let url = self.feed.protocol.socket_url(&self.feed.endpoint);
        while !self.shutdown.is_triggered() {
            let opened = tokio::select! {
                biased;
                () = self.shutdown.triggered() => return,
                opened = async {
                    self.feed.connects.until_ready().await;
                    socket::open(&url, &*self.feed.dial, Arc::clone(&self.feed.tls)).await
                } => opened,
            };
            match opened {
                Ok((socket, stamp)) => {
                    let opened_at = Instant::now();
                    let end = Session::new(&self, socket, stamp).run().await;
                    tracing::info!(connection = self.id, reason = end.reason(), "connection ended: {end}");
                    self.feed.board.disconnected(self.id, &self.slots, end.reason(), &end.to_string(), now());
                    if matches!(end, End::Shutdown | End::PublisherGone) {
                        return;
                    }
                    if opened_at.elapsed() >= STABLE {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    tracing::warn!(connection = self.id, reason = error.reason(), "{error}");
                    self.feed.board.disconnected(self.id, &self.slots, error.reason(), &error.to_string(), now());
                }
            }
            tokio::select! {
                () = self.shutdown.triggered() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }
}

/// One epoch of a connection.
struct Session<'c> {
    connection: &'c Connection,
    socket: Socket,
    stamp: ReadStamp,
    epoch: u64,
    assembler: Assembler,
    subscriptions: Subscriptions,
    /// The venue's symbols and their places in `connection.slots`.
    places: HashMap<String, usize>,
    opened: Instant,
    last_data: Instant,
    /// Whether events came since `last_data` was set.
    data: bool,
    rejections: u32,
}

impl<'c> Session<'c> {
    fn new(connection: &'c Connection, socket: Socket, stamp: ReadStamp) -> Self {
        let feed = &connection.feed;
        let epoch = feed.epochs.next(now());
        let instruments: Vec<(usize, Instrument)> = connection.slots.iter().map(|&slot| (slot, feed.instruments[slot].clone())).collect();
        let places = instruments.iter().enumerate().map(|(place, (_, instrument))| (feed.protocol.symbol(instrument), place)).collect();
        let streams =
            instruments.iter().map(|(_, instrument)| feed.channels.iter().map(|&channel| feed.protocol.stream(instrument, channel)).collect());
        let subscriptions = Subscriptions::new(streams.collect(), feed.protocol.limits().streams_per_message);
        let assembler = Assembler::new(Arc::clone(&feed.name), epoch, instruments, feed.channels.contains(&Channel::Quotes));
        let opened = Instant::now();
        Self { connection, socket, stamp, epoch, assembler, subscriptions, places, opened, last_data: opened, data: false, rejections: 0 }
    }

    fn board(&self) -> &Board {
        &self.connection.feed.board
    }

    async fn run(mut self) -> End {
        self.board().connected(self.connection.id, now());
        tracing::info!(connection = self.connection.id, epoch = self.epoch, streams = self.subscriptions.streams(), "connected to the venue");
        let end = self.read().await;
        let lost: Vec<usize> = self.subscriptions.confirmed().collect();
        for place in lost {
            let event = Event::Disconnected(FeedEvent { timestamp: now(), detail: end.to_string() });
            if self.push(place, event, now()).await.is_err() {
                return End::PublisherGone;
            }
        }
        if self.flush().await.is_err() {
            return End::PublisherGone;
        }
        if !matches!(end, End::Broken(_)) {
            // Polite, but nothing depends on it.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.socket.close(None)).await;
        }
        end
    }

    async fn read(&mut self) -> End {
        match self.read_until_it_ends().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn read_until_it_ends(&mut self) -> Result<std::convert::Infallible, End> {
        let connection = self.connection;
        let limits = connection.feed.protocol.limits();
        let idle_timeout = connection.feed.idle_timeout;
        let life = life(limits.connection_life, connection.id);
        let mut shutdown = pin!(connection.shutdown.triggered());
        // One deadline, moved only when it is reached: a timer that started over with every frame would cost a frame's time and never fire early.
        let mut idle = pin!(sleep_until(self.last_data + idle_timeout));
        // Frames are evenly spaced: a bucket of n per second would let 2n-1 through in one second.
        let mut may_send = pin!(sleep_until(self.opened));
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut burst = 0_u32;
        loop {
            // All that is there already belongs together; only then is it handed on, and waited for more.
            if burst < BURST
                && !self.assembler.is_due(self.stamp.last())
                && let Some(message) = self.socket.next().now_or_never()
            {
                burst += 1;
                self.message(message).await?;
                continue;
            }
            burst = 0;
            self.flush().await?;
            if std::mem::take(&mut self.data) {
                self.last_data = Instant::now();
            }
            tokio::select! {
                biased;
                () = &mut shutdown => return Err(End::Shutdown),
                () = &mut idle => {
                    let deadline = self.last_data + idle_timeout;
                    if deadline <= Instant::now() {
                        return Err(End::Idle(idle_timeout));
                    }
                    idle.as_mut().reset(deadline);
                }
                () = &mut may_send, if self.subscriptions.has_request() => {
                    self.ask().await?;
                    may_send.as_mut().reset(Instant::now() + limits.message_spacing);
                }
                _ = every_second.tick() => {
                    if self.subscriptions.is_overdue(std::time::Instant::now()) {
                        return Err(End::Unanswered);
                    }
                    if self.opened.elapsed() >= life {
                        return Err(End::Aged);
                    }
                }
                message = self.socket.next() => self.message(message).await?,
            }
        }
    }

    async fn ask(&mut self) -> Result<(), End> {
        let Some(request) = self.subscriptions.next_request(std::time::Instant::now()) else { return Ok(()) };
        let text = self.connection.feed.protocol.subscribe(&request.streams, request.number);
        match tokio::time::timeout(SEND_WITHIN, self.socket.send(Message::text(text))).await {
            Ok(sent) => sent.map_err(|error| End::Broken(Box::new(error))),
            Err(_) => Err(End::SendTimedOut),
        }
    }

    async fn message(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Text(text))) => self.frame(&text).await,
            Some(Ok(Message::Binary(bytes))) => {
                self.reject("FrameBinary", &format!("{} bytes of binary data", bytes.len()), "");
                Ok(())
            }
            // The answer to a ping goes out with the next read; neither is a sign that market data still flows.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Ok(Message::Close(frame))) => Err(End::Closed(
                frame
                    .map_or_else(|| "without a code".to_owned(), |frame| format!("{} {}", u16::from(frame.code), frame.reason).trim_end().to_owned()),
            )),
            Some(Err(error)) => Err(End::Broken(Box::new(error))),
            None => Err(End::Closed("without a close frame".to_owned())),
        }
    }

    async fn frame(&mut self, text: &str) -> Result<(), End> {
        let feed = &self.connection.feed;
        feed.board.metrics.frames.inc();
        match feed.protocol.parse(text) {
            Ok(Frame::Events(events)) => {
                let received = self.stamp.last();
                self.data = true;
                for happened in events {
                    match self.places.get(&*happened.symbol) {
                        Some(&place) => self.push(place, happened.event, received).await?,
                        None => self.reject("SymbolNotSubscribed", &happened.symbol, text),
                    }
                }
            }
            Ok(Frame::Answer { request, refusal }) => {
                if let Some(refusal) = &refusal {
                    tracing::warn!(connection = self.connection.id, request, "the venue refused a subscription: {refusal}");
                }
                for settled in self.subscriptions.answer(request, refusal.is_none()) {
                    let slot = self.connection.slots[settled.instrument];
                    feed.board.subscription(slot, settled.state);
                    if settled.state == Subscription::Confirmed {
                        let event = FeedEvent { timestamp: now(), detail: format!("connection {}", self.connection.id) };
                        self.push(settled.instrument, Event::Connected(event), now()).await?;
                    } else {
                        tracing::error!(instrument = %feed.instruments[slot], "the venue refuses this instrument");
                    }
                }
            }
            Ok(Frame::Ignored { channel }) => feed.board.ignored(&channel),
            Ok(Frame::Closing) => tracing::info!(connection = self.connection.id, "the venue will close this connection soon"),
            Ok(Frame::Complaint(complaint)) => tracing::warn!(connection = self.connection.id, "the venue complains: {complaint}"),
            Err(error) => self.reject(error.reason(), &error.to_string(), text),
        }
        Ok(())
    }

    #[cold]
    fn reject(&mut self, reason: &'static str, why: &str, frame: &str) {
        self.board().metrics.frames_rejected.get_or_create(&Reason { reason }).inc();
        self.rejections = self.rejections.saturating_add(1);
        if self.rejections <= LOGGED_REJECTIONS {
            let frame: String = frame.chars().take(300).collect();
            tracing::warn!(connection = self.connection.id, reason, frame, "frame not understood: {why}");
        }
    }

    async fn push(&mut self, place: usize, event: Event, received: Timestamp) -> Result<(), End> {
        match self.assembler.push(place, event, received) {
            Some(draft) => self.hand_on(draft).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        while let Some(draft) = self.assembler.pop() {
            self.hand_on(draft).await?;
        }
        Ok(())
    }

    async fn hand_on(&mut self, draft: Draft) -> Result<(), End> {
        let metrics = &self.board().metrics;
        self.board().read(&draft);
        metrics.waiting.inc();
        match self.connection.drafts.try_send(draft) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(End::PublisherGone),
            Err(mpsc::error::TrySendError::Full(draft)) => {
                let since = Instant::now();
                let sent = self.connection.drafts.send(draft).await;
                metrics.backpressure_micros.inc_by(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
                sent.map_err(|_| End::PublisherGone)
            }
        }
    }
}

/// A connection is renewed before the venue cuts it, and no two of a feed at the same time.
fn life(venue: Duration, connection: usize) -> Duration {
    let early = 1 + u32::try_from(connection % 20).unwrap_or(0);
    venue.saturating_sub(venue / 200 * early)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_even_when_the_clock_stands_still_or_goes_back() {
        let epochs = Epochs::default();
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        assert_eq!([epochs.next(at(100)), epochs.next(at(100)), epochs.next(at(50)), epochs.next(at(1_000))], [100, 101, 102, 1_000]);
    }

    #[test]
    fn connections_are_renewed_one_after_the_other_and_all_before_the_venue_cuts_them() {
        let day = Duration::from_secs(86_400);
        let lives: Vec<Duration> = (0..20).map(|connection| life(day, connection)).collect();
        assert!(lives.windows(2).all(|pair| pair[0] - pair[1] >= Duration::from_secs(400)));
        assert!(lives.iter().all(|life| *life < day && *life > day * 8 / 10));
    }
}
