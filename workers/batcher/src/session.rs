//! One connection to the broker: what its consumers bring is collected, inserted and acknowledged. All state that belongs to deliveries lives here and ends
//! with the connection, because the broker delivers everything again that was not acknowledged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{FuturesOrdered, StreamExt};
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use lapin::{Channel, Connection};
use tapekeeper_runtime::broker::{self, BrokerError};
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::batch::{Batch, Closed, Origin};
use crate::config::{Config, DRAIN, FLIGHTS, HELD_ENVELOPES};
use crate::consume::{self, Arrived, Reader};
use crate::insert::{Inserter, Refused};
use crate::lookup::Lookup;
use crate::recent::{HighWater, Recent};
use crate::status::State;

/// How long the broker may take to accept an acknowledgement, to open a channel, or to close.
const BROKER_ANSWER: Duration = Duration::from_secs(10);
/// Chunks of deliveries between the readers and the batch.
const CHUNKS: usize = 4;
/// How often the loop goes round when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] BrokerError),
    /// A queue can't be consumed.
    #[error("queue {queue}: {source}")]
    Queue {
        /// The queue.
        queue: String,
        /// What the broker answered.
        source: lapin::Error,
    },
    /// A consumer failed.
    #[error("a consumer failed: {0}")]
    Consumer(lapin::Error),
    /// The broker cancelled a consumer, for example because its queue was deleted.
    #[error("the broker cancelled a consumer")]
    Cancelled,
    /// A delivery can't be acknowledged.
    #[error("deliveries can't be acknowledged: {0}")]
    Acknowledge(lapin::Error),
    /// The connection is not up any more.
    #[error("the connection to the broker was lost")]
    Lost,
    /// The broker did not answer in time.
    #[error("the broker did not answer within {} s", BROKER_ANSWER.as_secs())]
    TimedOut,
    /// A task of the session panicked.
    #[error("a task ended: {0}")]
    Task(#[from] JoinError),
}

impl SessionError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.reason(),
            Self::Queue { .. } => "QueueUnavailable",
            Self::Consumer(_) | Self::Cancelled => "ConsumerEnded",
            Self::Acknowledge(_) | Self::Lost | Self::TimedOut => "BrokerLost",
            Self::Task(_) => "TaskEnded",
        }
    }
}

/// Runs one session after the other, keeping what must outlive them.
pub struct Session<'a> {
    config: &'a Config,
    state: Arc<State>,
    lookup: Arc<Lookup>,
    high_water: Vec<Arc<Mutex<HighWater>>>,
    acknowledged: bool,
}

/// A batch under way; its inserts end when it is dropped.
type Flight = AbortOnDropHandle<Landed>;

/// A batch whose rows are in.
struct Landed {
    tags: Vec<Vec<u64>>,
    refused: Vec<Refused>,
}

impl<'a> Session<'a> {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(config: &'a Config, state: Arc<State>) -> Self {
        let lookup = Arc::new(Lookup::new(&config.database, &config.settings.database.name));
        let high_water = config.settings.queues.iter().map(|_| Arc::default()).collect();
        Self { config, state, lookup, high_water, acknowledged: false }
    }

    /// Whether the last session got as far as acknowledging something.
    #[must_use]
    pub const fn acknowledged_anything(&self) -> bool {
        self.acknowledged
    }

    /// Connects, consumes, inserts and acknowledges until `shutdown` is raised and what is held was flushed, or until the broker fails.
    ///
    /// # Errors
    /// Why the session ended. Everything not acknowledged comes back from the broker.
    pub async fn run(&mut self, shutdown: &Shutdown) -> Result<(), SessionError> {
        self.acknowledged = false;
        self.state.heart.beat();
        let settings = &self.config.settings;
        let name = format!("tapekeeper-batcher {} {}", settings.sink, std::env::var("HOSTNAME").unwrap_or_default());
        let connection = broker::connect(&self.config.broker, &settings.broker.vhost, self.config.extra_authorities.as_deref(), &name).await?;
        let result = self.on(&connection, shutdown).await;
        // Deliveries go back at once when the connection is closed rather than forgotten.
        drop(tokio::time::timeout(BROKER_ANSWER, connection.close(200, "done".into())).await);
        result
    }

    async fn on(&mut self, connection: &Connection, shutdown: &Shutdown) -> Result<(), SessionError> {
        let settings = &self.config.settings;
        let inserter = Arc::new(Inserter::new(&self.config.database, &settings.database.name, &settings.sink, Arc::clone(&self.state)));
        let (sender, arrived) = mpsc::channel(CHUNKS);
        let mut readers = JoinSet::new();
        let mut channels = Vec::with_capacity(settings.queues.len());
        for (queue, name) in settings.queues.iter().enumerate() {
            let opened = tokio::time::timeout(BROKER_ANSWER, consume::open(connection, name, self.config.prefetch)).await;
            let (channel, consumer) =
                opened.map_err(|_| SessionError::TimedOut)?.map_err(|source| SessionError::Queue { queue: name.clone(), source })?;
            let reader = Reader {
                queue,
                high_water: Arc::clone(&self.high_water[queue]),
                lookup: Arc::clone(&self.lookup),
                inserter: Arc::clone(&inserter),
                state: Arc::clone(&self.state),
            };
            readers.spawn(reader.run(consumer, sender.clone()));
            channels.push(channel);
        }
        self.state.consuming(&settings.queues);
        tracing::info!(queues = settings.queues.len(), prefetch = self.config.prefetch, "consuming");
        let mut collector = Collector {
            state: Arc::clone(&self.state),
            inserter,
            channels,
            batch: Batch::new(settings.queues.len(), self.config.limits),
            recent: Recent::new(2 * usize::from(HELD_ENVELOPES)),
            waiting: VecDeque::new(),
            flights: FuturesOrdered::new(),
            acknowledged: &mut self.acknowledged,
        };
        collector.collect(connection, arrived, &mut readers, shutdown).await?;
        readers.abort_all();
        collector.drain().await
    }
}

struct Collector<'a> {
    state: Arc<State>,
    inserter: Arc<Inserter>,
    channels: Vec<Channel>,
    batch: Batch,
    recent: Recent,
    waiting: VecDeque<(Origin, crate::encode::EncodedEnvelope)>,
    flights: FuturesOrdered<Flight>,
    acknowledged: &'a mut bool,
}

impl Collector<'_> {
    /// Until `shutdown` is raised or the broker fails.
    async fn collect(
        &mut self,
        connection: &Connection,
        mut arrived: mpsc::Receiver<Vec<Arrived>>,
        readers: &mut JoinSet<Result<(), SessionError>>,
        shutdown: &Shutdown,
    ) -> Result<(), SessionError> {
        let mut tick = tokio::time::interval(TICK);
        loop {
            self.state.heart.beat();
            let may_fly = self.flights.len() < FLIGHTS;
            let due = self.batch.due();
            tokio::select! {
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => self.acknowledge(landed?).await?,
                // Nothing is taken while something waits: that is how a database that is down reaches the broker.
                Some(chunk) = arrived.recv(), if self.waiting.is_empty() => self.take(chunk).await?,
                () = until(due), if may_fly && due.is_some() => self.launch(),
                Some(ended) = readers.join_next() => return ended?.and(Err(SessionError::Cancelled)),
                _ = tick.tick() => {
                    if !connection.status().connected() {
                        return Err(SessionError::Lost);
                    }
                }
                () = shutdown.triggered() => return Ok(()),
            }
            self.fill();
        }
    }

    async fn take(&mut self, chunk: Vec<Arrived>) -> Result<(), SessionError> {
        for arrived in chunk {
            match arrived {
                Arrived::Unfit(origin, unfit) => {
                    self.state.rejected(unfit.reason());
                    self.reject(origin).await?;
                }
                Arrived::Envelope(origin, mut envelope) => {
                    // A second copy behind a first that this session holds, or has just inserted: no look-up could have seen it.
                    if !self.recent.insert(&envelope.id) {
                        self.state.skipped(u64::from(!envelope.parts.is_empty()));
                        envelope.parts.clear();
                    }
                    self.waiting.push_back((origin, envelope));
                }
            }
        }
        Ok(())
    }

    /// Moves what waits into the batch, launching it whenever it is full and another may be under way.
    fn fill(&mut self) {
        while let Some((origin, envelope)) = self.waiting.pop_front() {
            if !self.batch.takes(&envelope) {
                if self.flights.len() >= FLIGHTS {
                    self.waiting.push_front((origin, envelope));
                    return;
                }
                self.launch();
            }
            self.batch.push(origin, envelope, Instant::now());
        }
        if self.batch.is_full() && self.flights.len() < FLIGHTS {
            self.launch();
        }
    }

    fn launch(&mut self) {
        let Some(Closed { blocks, tags }) = self.batch.close() else { return };
        let inserter = Arc::clone(&self.inserter);
        self.flights.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
            let refused = join_all(blocks.into_iter().map(|block| inserter.insert(block))).await;
            Landed { tags, refused: refused.into_iter().flatten().collect() }
        })));
    }

    /// Batches land in the order in which they were launched, so everything of a queue up to its last tag is in or was rejected.
    async fn acknowledge(&mut self, landed: Landed) -> Result<(), SessionError> {
        let Landed { tags, mut refused } = landed;
        // An envelope may be refused by more than one table.
        refused.sort_by_key(|refused| refused.origin);
        refused.dedup_by_key(|refused| refused.origin);
        for Refused { origin, id } in &refused {
            self.state.rejected("RefusedByDatabase");
            // Published again from the dead letters, it deserves another try.
            self.recent.remove(id);
            self.reject(*origin).await?;
        }
        for (queue, tags) in tags.iter().enumerate() {
            let accepted = |tag: &&u64| !refused.iter().any(|refused| refused.origin == Origin { queue, tag: **tag });
            if let Some(last) = tags.iter().rev().find(accepted) {
                in_time(self.channels[queue].basic_ack(*last, BasicAckOptions { multiple: true })).await?;
            }
            self.state.held(-(tags.iter().filter(accepted).count() as i64));
        }
        *self.acknowledged = true;
        Ok(())
    }

    async fn reject(&self, origin: Origin) -> Result<(), SessionError> {
        self.state.held(-1);
        in_time(self.channels[origin.queue].basic_reject(origin.tag, BasicRejectOptions { requeue: false })).await
    }

    /// Inserts and acknowledges what is held, for as long as a drain may take.
    async fn drain(&mut self) -> Result<(), SessionError> {
        let drained = tokio::time::timeout(DRAIN, async {
            loop {
                self.fill();
                if self.flights.len() < FLIGHTS {
                    self.launch();
                }
                self.state.heart.beat();
                match self.flights.next().await {
                    Some(landed) => self.acknowledge(landed?).await?,
                    None => return Ok(()),
                }
            }
        });
        drained.await.unwrap_or_else(|_| {
            tracing::warn!("not everything held could be inserted in time: it goes back to the queues");
            Ok(())
        })
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn in_time(answer: impl Future<Output = Result<(), lapin::Error>>) -> Result<(), SessionError> {
    tokio::time::timeout(BROKER_ANSWER, answer).await.map_err(|_| SessionError::TimedOut)?.map_err(SessionError::Acknowledge)
}
