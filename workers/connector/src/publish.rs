//! Publishing: envelopes go out on one channel, in order, at most [`WINDOW`] of them unconfirmed. Whatever ends a session with the broker (a lost
//! connection, a closed channel, an envelope that the broker could not keep), the next one begins with all that was not confirmed, in order, with the
//! same ids and the same bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind, PublisherConfirm};
use tapekeeper_market::envelope::{CONTENT_TYPE, MESSAGE_TYPE, REPUBLISHED};
use tapekeeper_market::{Envelope, Instrument, RoutingKey, Timestamp};
use tapekeeper_runtime::backoff::Backoff;
use tapekeeper_runtime::broker::{self, BrokerError};
use tapekeeper_runtime::credentials::Credentials;
use tokio::sync::mpsc;

use crate::assemble::Draft;
use crate::status::{Board, Reason, now};

/// Envelopes handed to the broker and not confirmed, at most.
pub const WINDOW: usize = 1_000;

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A session that lasted so long was a good one: the next retry is immediate again.
const STABLE: Duration = Duration::from_secs(10);
const PERSISTENT: u8 = 2;
/// The version of the envelope, as its headers say it.
const VERSION: &str = "1";

/// Where and as whom to publish.
#[derive(Debug, Clone)]
pub struct Target {
    /// The broker.
    pub credentials: Credentials,
    /// The virtual host.
    pub vhost: String,
    /// Certificate authorities beside the public ones.
    pub extra_ca_pem: Option<String>,
    /// The topic exchange.
    pub exchange: String,
    /// The connection's name in the broker's management.
    pub connection_name: String,
    /// The namespace of the feed.
    pub tenant: String,
    /// `binance`.
    pub venue: &'static str,
}

/// Why a session with the broker ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] BrokerError),
    #[error("the session with the broker broke: {0}")]
    Broken(#[from] lapin::Error),
    #[error("the broker could not keep envelope {0}")]
    Refused(String),
    #[error("the broker confirms nothing on this channel")]
    Unconfirmed,
}

impl SessionError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.reason(),
            Self::Broken(_) => "BrokerSessionBroken",
            Self::Refused(_) => "BrokerRefusedEnvelope",
            Self::Unconfirmed => "BrokerConfirmsNothing",
        }
    }
}

/// An envelope as it goes over the wire.
struct Message {
    id: String,
    slot: usize,
    timestamp: u64,
    received: Timestamp,
    body: Vec<u8>,
}

struct InFlight {
    message: Message,
    /// Whether an earlier session handed it to the broker.
    sent_before: bool,
    confirm: Option<PublisherConfirm>,
}

/// Publishes what the sockets read.
pub struct Publisher {
    target: Target,
    exchange: ShortString,
    /// The routing key of each slot.
    keys: Vec<ShortString>,
    source: ShortString,
    venue: Arc<str>,
    drafts: mpsc::Receiver<Draft>,
    window: VecDeque<InFlight>,
    board: Arc<Board>,
}

impl Publisher {
    /// A publisher of what comes through `drafts`, for a feed of `instruments`.
    #[must_use]
    pub fn new(target: Target, instruments: &[Instrument], drafts: mpsc::Receiver<Draft>, board: Arc<Board>) -> Self {
        let keys = instruments.iter().map(|instrument| ShortString::from(RoutingKey::new(target.venue, instrument).as_str())).collect();
        let exchange = ShortString::from(target.exchange.as_str());
        let source = ShortString::from(format!("connector.{}", target.venue));
        Self { exchange, keys, source, venue: Arc::from(target.venue), drafts, window: VecDeque::with_capacity(WINDOW), board, target }
    }

    /// Publishes until every sender is gone and everything is confirmed. Tries for ever: whoever can't wait drops it.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let started = Instant::now();
            let Err(error) = self.session().await else { return };
            self.board.broker(Some(error.to_string()));
            self.board.metrics.broker_disconnects.get_or_create(&Reason { reason: error.reason() }).inc();
            tracing::warn!(reason = error.reason(), unconfirmed = self.window.len(), "{error}");
            for in_flight in &mut self.window {
                in_flight.confirm = None;
            }
            if started.elapsed() >= STABLE {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn session(&mut self) -> Result<(), SessionError> {
        let target = &self.target;
        let connection = broker::connect(&target.credentials, &target.vhost, target.extra_ca_pem.as_deref(), &target.connection_name).await?;
        let result = self.publish_on(&connection).await;
        // What ended it is known; a polite goodbye must not hold up the next session.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.close(200, ShortString::from("done"))).await;
        result
    }

    async fn publish_on(&mut self, connection: &Connection) -> Result<(), SessionError> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        // An exchange that is not there yet is known before there is anything to publish, and the connector is not ready until it is.
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, passive, FieldTable::default()).await?;
        tracing::info!(exchange = %self.exchange, again = self.window.len(), "connected to the broker");
        self.board.broker(None);
        for place in 0..self.window.len() {
            self.hand_over(&channel, place).await?;
        }
        let mut check = tokio::time::interval(Duration::from_secs(1));
        let mut open = true;
        while open || !self.window.is_empty() {
            tokio::select! {
                biased;
                confirmed = poll_fn(|cx| poll_front(&mut self.window, cx)), if !self.window.is_empty() => self.confirmed(confirmed?)?,
                draft = self.drafts.recv(), if open && self.window.len() < WINDOW => match draft {
                    Some(draft) => {
                        self.board.metrics.waiting.dec();
                        let message = self.encode(draft);
                        self.window.push_back(InFlight { message, sent_before: false, confirm: None });
                        self.board.metrics.in_flight.inc();
                        self.hand_over(&channel, self.window.len() - 1).await?;
                    }
                    None => open = false,
                },
                // With nothing to publish, only this notices that the broker is gone.
                _ = check.tick() => if !connection.status().connected() || !channel.status().connected() {
                    return Err(SessionError::Broken(lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed).into()));
                },
            }
        }
        Ok(())
    }

    fn encode(&self, draft: Draft) -> Message {
        let published = now();
        let envelope = Envelope {
            id: draft.id,
            exchange: Arc::clone(&self.venue),
            instrument: draft.instrument,
            received: draft.received,
            published,
            events: draft.events,
        };
        let mut body = Vec::with_capacity(256 + 192 * envelope.events.len());
        envelope.encode(&mut body);
        let timestamp = u64::try_from(published.as_micros() / 1_000_000).unwrap_or(0);
        Message { id: envelope.id.to_string(), slot: draft.slot, timestamp, received: draft.received, body }
    }

    async fn hand_over(&mut self, channel: &Channel, place: usize) -> Result<(), SessionError> {
        let in_flight = &mut self.window[place];
        let again = std::mem::replace(&mut in_flight.sent_before, true);
        let message = &in_flight.message;
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        headers.insert("event_id".into(), text(&message.id));
        headers.insert("event_type".into(), text(MESSAGE_TYPE));
        headers.insert("tenant_id".into(), text(&self.target.tenant));
        headers.insert("source".into(), text(self.source.as_str()));
        headers.insert("version".into(), text(VERSION));
        self.board.metrics.published.inc();
        if again {
            headers.insert(REPUBLISHED.into(), AMQPValue::Boolean(true));
            self.board.metrics.republished.inc();
        }
        let properties = BasicProperties::default()
            .with_message_id(message.id.as_str().into())
            .with_type(MESSAGE_TYPE.into())
            .with_content_type(CONTENT_TYPE.into())
            .with_timestamp(message.timestamp)
            .with_app_id(self.source.clone())
            .with_delivery_mode(PERSISTENT)
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm = channel.basic_publish(self.exchange.clone(), self.keys[message.slot].clone(), options, &message.body, properties).await?;
        self.window[place].confirm = Some(confirm);
        Ok(())
    }

    /// Takes the confirm of the oldest envelope in the window.
    fn confirmed(&mut self, confirmation: Confirmation) -> Result<(), SessionError> {
        let Some(oldest) = self.window.front() else { return Ok(()) };
        match confirmation {
            Confirmation::Ack(returned) => {
                let metrics = &self.board.metrics;
                if let Some(returned) = returned {
                    metrics.returned.inc();
                    let (id, why) = (&oldest.message.id, returned.reply_text.as_str());
                    tracing::error!(id, why, "no queue and no alternate exchange took an envelope: is the exchange declared whole?");
                }
                metrics.confirmed.inc();
                metrics.in_flight.dec();
                let micros = now().micros_since(oldest.message.received);
                metrics.confirm_seconds.observe(Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64());
                self.window.pop_front();
                Ok(())
            }
            Confirmation::Nack(_) => Err(SessionError::Refused(oldest.message.id.clone())),
            Confirmation::NotRequested => Err(SessionError::Unconfirmed),
        }
    }
}

/// The confirm of the oldest envelope. Waiting for the oldest only is enough: the window is bounded, and the broker confirms nearly in order.
fn poll_front(window: &mut VecDeque<InFlight>, cx: &mut std::task::Context<'_>) -> Poll<lapin::Result<Confirmation>> {
    let Some(InFlight { confirm: Some(confirm), .. }) = window.front_mut() else { return Poll::Pending };
    Poll::Ready(ready!(Pin::new(confirm).poll(cx)))
}
