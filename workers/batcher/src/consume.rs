//! One shard queue: deliveries are decoded, encoded, and looked up where they may have been inserted before, all in their order.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clickhouse::error::Error;
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use tapekeeper_market::envelope::{MESSAGE_TYPE, REPUBLISHED};
use tapekeeper_market::{Envelope, EnvelopeError};
use tapekeeper_runtime::backoff::Backoff;
use tokio::sync::mpsc;

use crate::batch::Origin;
use crate::encode::{self, EncodeError, EncodedEnvelope};
use crate::insert::Inserter;
use crate::lookup::{Found, Lookup, Suspect};
use crate::recent::HighWater;
use crate::session::SessionError;
use crate::status::{State, brief};

/// Deliveries that are handled together, when so many are there.
const CHUNK: usize = 256;
/// The shortest and the longest wait between two tries of a look-up.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A message that is not an envelope that the tables can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its type is another.
    #[error("its type is `{0}`, not `{MESSAGE_TYPE}`")]
    Type(String),
    /// It can't be read.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A number in it is too large.
    #[error(transparent)]
    Number(#[from] EncodeError),
}

impl Unfit {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Type(_) => "NotAnEnvelope",
            Self::Envelope(error) => error.reason(),
            Self::Number(_) => "NumberTooLarge",
        }
    }
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Arrived {
    /// Rows to insert; none when all of them are in their tables already.
    Envelope(Origin, EncodedEnvelope),
    /// To be rejected.
    Unfit(Origin, Unfit),
}

/// One queue's reader.
pub struct Reader {
    /// The queue's place in the settings.
    pub queue: usize,
    /// What was delivered on it before, in this session or an earlier one.
    pub high_water: Arc<Mutex<HighWater>>,
    /// Looks envelopes up.
    pub lookup: Arc<Lookup>,
    /// The session's inserts.
    pub inserter: Arc<Inserter>,
    /// The process's state.
    pub state: Arc<State>,
}

/// A channel of its own for `queue`, with a consumer on it.
///
/// # Errors
/// What the broker answered, for example that the queue is not there, or not ready after a restart.
pub async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<(Channel, Consumer), lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let tag = format!("tapekeeper-batcher.{queue}");
    let consumer = channel.basic_consume(queue.into(), tag.as_str().into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    Ok((channel, consumer))
}

impl Reader {
    /// Reads until the consumer ends, which is always an error, or until nobody takes what was read.
    ///
    /// # Errors
    /// Why the consumer ended.
    pub async fn run(self, consumer: Consumer, arrived: mpsc::Sender<Vec<Arrived>>) -> Result<(), SessionError> {
        let mut chunks = consumer.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut deliveries = Vec::with_capacity(chunk.len());
            let mut failed = None;
            for delivery in chunk {
                match delivery {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(error) => failed = Some(error),
                }
            }
            let ready = self.prepare(deliveries).await;
            if arrived.send(ready).await.is_err() {
                return Ok(());
            }
            if let Some(error) = failed {
                return Err(SessionError::Consumer(error));
            }
        }
        Err(SessionError::Cancelled)
    }

    async fn prepare(&self, deliveries: Vec<Delivery>) -> Vec<Arrived> {
        self.state.held(deliveries.len() as i64);
        let mut arrived = Vec::with_capacity(deliveries.len());
        let mut suspects = Vec::new();
        let mut taken_over = false;
        for delivery in deliveries {
            let origin = Origin { queue: self.queue, tag: delivery.delivery_tag };
            match decode(&delivery) {
                Ok((envelope, encoded)) => {
                    let passed = self.high_water.lock().unwrap_or_else(PoisonError::into_inner).passed(&envelope.id);
                    let again = delivery.redelivered || republished(&delivery.properties);
                    taken_over |= again;
                    if passed || again {
                        suspects.push((arrived.len(), envelope));
                    }
                    arrived.push(Arrived::Envelope(origin, encoded));
                }
                Err(unfit) => {
                    let message = delivery.properties.message_id().as_ref().map(|id| id.as_str());
                    tracing::error!(message, queue = self.queue, reason = unfit.reason(), error = %unfit, "a message that the tables can't hold: it goes to the dead letters");
                    arrived.push(Arrived::Unfit(origin, unfit));
                }
            }
        }
        if !suspects.is_empty() {
            if taken_over {
                let queries = self.inserter.queries();
                self.until_answered(|| async { self.lookup.predecessors_ended(queries).await }).await;
            }
            self.skip_what_is_in(&suspects, &mut arrived).await;
        }
        arrived
    }

    /// Takes the parts out of `arrived` that are in their tables already.
    async fn skip_what_is_in(&self, suspects: &[(usize, Envelope)], arrived: &mut [Arrived]) {
        let found = self.find(suspects, arrived).await;
        let mut skipped = 0;
        for (index, envelope) in suspects {
            if let Some(Arrived::Envelope(_, encoded)) = arrived.get_mut(*index) {
                let before = encoded.parts.len();
                encoded.parts.retain(|part| !found.contains(&(part.table, part.day, envelope.id.clone())));
                skipped += u64::from(encoded.parts.len() < before);
            }
        }
        self.state.skipped(skipped);
        tracing::info!(queue = self.queue, looked_up = suspects.len(), skipped, "envelopes that came again were looked up");
    }

    async fn find(&self, suspects: &[(usize, Envelope)], arrived: &[Arrived]) -> HashSet<Found> {
        let asked: Vec<Suspect<'_>> = suspects
            .iter()
            .filter_map(|(index, envelope)| match arrived.get(*index) {
                Some(Arrived::Envelope(_, encoded)) => {
                    Some(Suspect { exchange: &envelope.exchange, symbol: envelope.instrument.symbol(), envelope: encoded })
                }
                _ => None,
            })
            .collect();
        self.until_answered(|| async { self.lookup.find(&asked).await }).await
    }

    async fn until_answered<T, F: Future<Output = Result<T, Error>>>(&self, ask: impl Fn() -> F) -> T {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match ask().await {
                Ok(answer) => {
                    self.state.looked_up();
                    return answer;
                }
                Err(error) => {
                    self.state.lookup_failed(&error);
                    tracing::warn!(
                        queue = self.queue,
                        error = brief(&error),
                        "a look-up failed: it is tried again, and nothing of this queue is inserted until then"
                    );
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }
}

fn decode(delivery: &Delivery) -> Result<(Envelope, EncodedEnvelope), Unfit> {
    let kind = delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    if kind != MESSAGE_TYPE {
        return Err(Unfit::Type(kind.chars().take(64).collect()));
    }
    let id = delivery.properties.message_id().as_ref().map_or("", |id| id.as_str());
    let envelope = Envelope::decode(id, &delivery.data)?;
    let encoded = encode::envelope(&envelope)?;
    Ok((envelope, encoded))
}

fn republished(properties: &BasicProperties) -> bool {
    let headers = properties.headers().as_ref();
    headers.is_some_and(|headers| matches!(headers.inner().get(REPUBLISHED), Some(AMQPValue::Boolean(true))))
}
