//! A real RabbitMQ and a real ClickHouse, queues and tables as the operator would declare them, a tape with known truth, and a batcher in this process.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by test binaries, none of which uses all of it")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection};
use tapekeeper_batcher::{BatcherError, run_on};
use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::{BatchLimits, BatcherSettings, Broker, Database, ObjectName};
use tapekeeper_contract::status::BatcherStatus;
use tapekeeper_contract::tables::{DEDUPLICATION_WINDOW, Table};
use tapekeeper_market::envelope::{CONTENT_TYPE, MESSAGE_TYPE, REPUBLISHED};
use tapekeeper_market::{Decimal, Envelope, EnvelopeId, Event, Quote, Side, Timestamp, TopOfBook, Trade};
use tapekeeper_runtime::credentials::Credentials;
use tapekeeper_runtime::{broker, shutdown::Shutdown};
use tapekeeper_test_ground::{Authority, ClickHouse, ClickHouseOptions, RabbitMq, RabbitMqOptions};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

pub(crate) const DATABASE: &str = "tape";
pub(crate) const DEAD_LETTERS: &str = "dead";
/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Two cores carry one broker and one database at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(crate) struct Ground {
    pub(crate) broker: RabbitMq,
    pub(crate) database: ClickHouse,
    pub(crate) queues: Vec<String>,
    secrets: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    pub(crate) async fn with_queues(queues: &[&str]) -> Result<Self> {
        let turn = ONE_AT_A_TIME.lock().await;
        tapekeeper_runtime::telemetry::init("batcher-tests");
        let authority = Authority::new("Batcher tests")?;
        let broker = RabbitMq::start(RabbitMqOptions { authority: Some(authority.clone()), ..RabbitMqOptions::default() }).await?;
        let database = ClickHouse::start(ClickHouseOptions { authority: Some(authority.clone()), ..ClickHouseOptions::default() }).await?;
        let secrets = tempfile::tempdir()?;
        for (name, uri, user, password) in [
            ("broker", format!("amqps://{}:{}", broker.host(), broker.ports().amqps), broker.user(), broker.password()),
            ("database", database.https_uri(), database.user(), database.password()),
        ] {
            let folder = secrets.path().join(name);
            std::fs::create_dir(&folder)?;
            for (key, value) in [("uri", uri.as_str()), ("username", user), ("password", password)] {
                std::fs::write(folder.join(key), value)?;
            }
        }
        std::fs::write(secrets.path().join("ca.pem"), authority.ca_pem())?;
        let ground = Self { broker, database, queues: queues.iter().map(|queue| (*queue).to_owned()).collect(), secrets, _turn: turn };
        ground.database.query(&format!("CREATE DATABASE {DATABASE}")).await?;
        for table in Table::ALL {
            ground.create(*table).await?;
        }
        ground.declare().await?;
        Ok(ground)
    }

    pub(crate) async fn create(&self, table: Table) -> Result<()> {
        let columns: Vec<_> = table.columns().iter().map(|column| format!("{} {} CODEC({})", column.name, column.kind, column.codec)).collect();
        self.database
            .query(&format!(
                "CREATE TABLE {DATABASE}.{} ({}) ENGINE = MergeTree PARTITION BY {} ORDER BY ({}) SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
                table.name(),
                columns.join(", "),
                table.partition_by(),
                table.order_by()
            ))
            .await?;
        Ok(())
    }

    async fn declare(&self) -> Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let text = |value: &str| AMQPValue::LongString(value.into());
        let arguments = |pairs: &[(&str, AMQPValue)]| {
            let mut table = FieldTable::default();
            for (name, value) in pairs {
                table.insert((*name).into(), value.clone());
            }
            table
        };
        channel.queue_declare(DEAD_LETTERS.into(), durable, arguments(&[("x-queue-type", text("quorum"))])).await?;
        for queue in &self.queues {
            let shard = arguments(&[
                ("x-queue-type", text("quorum")),
                ("x-single-active-consumer", AMQPValue::Boolean(true)),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(DEAD_LETTERS)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text("reject-publish")),
            ]);
            channel.queue_declare(queue.as_str().into(), durable, shard).await?;
        }
        connection.close(200, "declared".into()).await?;
        Ok(())
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let credentials = Credentials::read_broker(&self.secrets.path().join("broker"))?;
        Ok(broker::connect(&credentials, self.broker.vhost(), Some(self.broker.authority().ca_pem()), "tests").await?)
    }

    /// Connects as soon as the broker lets it.
    pub(crate) async fn connect_patiently(&self) -> Result<Connection> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    pub(crate) fn settings(&self, batch: BatchLimits) -> BatcherSettings {
        BatcherSettings {
            environment: "production".to_owned(),
            sink: ObjectName { namespace: "market-data".to_owned(), name: "tape".to_owned() },
            broker: Broker { kind: "RabbitMQ".to_owned(), credentials: self.secrets.path().join("broker"), vhost: self.broker.vhost().to_owned() },
            queues: self.queues.clone(),
            database: Database { kind: "ClickHouse".to_owned(), credentials: self.secrets.path().join("database"), name: DATABASE.to_owned() },
            batch,
            extra_ca_certificates: Some(self.secrets.path().join("ca.pem")),
        }
    }

    pub(crate) async fn batcher(&self, batch: BatchLimits) -> Result<Batcher> {
        Batcher::start(self.settings(batch)).await
    }

    /// Publishes each envelope to its queue until the broker has confirmed it, again after a failure, as a connector does.
    pub(crate) async fn publish(&self, envelopes: &[(String, Envelope)]) -> Result<()> {
        let mut left: Vec<_> = envelopes.iter().map(|(queue, envelope)| (queue, envelope, false)).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !left.is_empty() {
            if tokio::time::Instant::now() > deadline {
                bail!("{} envelopes were never confirmed", left.len());
            }
            let connection = self.connect_patiently().await?;
            while !left.is_empty() {
                let window = left.len().min(50);
                let confirmed = publish_window(&connection, &left[..window]).await;
                let failed = confirmed < window;
                left.drain(..confirmed);
                if failed {
                    for (_, _, again) in left.iter_mut().take(window) {
                        *again = true;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    break;
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn publish_raw(&self, queue: &str, properties: BasicProperties, body: &[u8]) -> Result<()> {
        let connection = self.connect_patiently().await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let confirm = channel.basic_publish("".into(), queue.into(), BasicPublishOptions::default(), body, properties).await?.await?;
        if !matches!(confirm, Confirmation::Ack(None)) {
            bail!("not confirmed: {confirm:?}");
        }
        Ok(())
    }

    /// Messages that wait for a consumer. While there is one, those that it holds are not among them.
    pub(crate) async fn depth(&self, queue: &str) -> Result<u32> {
        let connection = self.connect_patiently().await?;
        let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let channel = connection.create_channel().await?;
        let depth = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count();
        connection.close(200, "seen".into()).await?;
        Ok(depth)
    }

    pub(crate) async fn until_depth(&self, queue: &str, depth: u32) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.depth(queue).await {
                Ok(seen) if seen == depth => return Ok(()),
                seen if tokio::time::Instant::now() > deadline => bail!("{queue} has {seen:?} messages, not {depth}"),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Everything was delivered to `batcher`, inserted and acknowledged.
    pub(crate) async fn until_settled(&self, batcher: &Batcher) -> Result<()> {
        for queue in &self.queues {
            self.until_depth(queue, 0).await?;
        }
        // What the broker has sent is counted a moment later.
        tokio::time::sleep(Duration::from_millis(500)).await;
        batcher.until("/metrics", |_, text| text.contains("tapekeeper_batcher_envelopes_held 0\n")).await.map(drop)
    }

    /// Nothing is left in any queue. Only without a batcher does that say that everything was acknowledged.
    pub(crate) async fn assert_drained(&self) -> Result<()> {
        // What a consumer held when its connection closed comes back first.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for queue in &self.queues {
            assert_eq!((queue, self.depth(queue).await?), (queue, 0));
        }
        Ok(())
    }

    pub(crate) async fn rows(&self, table: Table) -> Result<u64> {
        Ok(self.database.query(&format!("SELECT count() FROM {DATABASE}.{}", table.name())).await?.trim().parse()?)
    }

    pub(crate) async fn until_rows(&self, table: Table, rows: u64) -> Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.rows(table).await {
                Ok(seen) if seen >= rows => return Ok(()),
                seen if tokio::time::Instant::now() > deadline => bail!("{seen:?} of {rows} rows in {}", table.name()),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// The tables hold exactly what was published, each row once.
    pub(crate) async fn assert_is(&self, envelopes: &[(String, Envelope)]) -> Result<()> {
        let ticks = self
            .database
            .query(&format!(
                "SELECT feed, epoch, sequence, position, symbol, toUnixTimestamp64Micro(timestamp), trade_id, toString(price), toString(volume), side \
                 FROM {DATABASE}.ticks ORDER BY feed, epoch, sequence, position"
            ))
            .await?;
        let quotes = self
            .database
            .query(&format!(
                "SELECT feed, epoch, sequence, position, symbol, toUnixTimestamp64Micro(timestamp), update_id, toString(bid_price), toString(ask_volume), flags \
                 FROM {DATABASE}.quotes ORDER BY feed, epoch, sequence, position"
            ))
            .await?;
        let (expected_ticks, expected_quotes) = truth(envelopes);
        compare("ticks", &ticks, &expected_ticks);
        compare("quotes", &quotes, &expected_quotes);
        Ok(())
    }
}

fn compare(table: &str, seen: &str, expected: &[String]) {
    let seen: Vec<_> = seen.lines().collect();
    let first = seen.iter().zip(expected).position(|(seen, expected)| seen != expected);
    let at = first.unwrap_or(seen.len().min(expected.len()));
    assert!(
        first.is_none() && seen.len() == expected.len(),
        "{table}: {} rows, {} expected; the first difference is row {at}: {:?}, expected {:?}",
        seen.len(),
        expected.len(),
        seen.get(at),
        expected.get(at)
    );
}

fn truth(envelopes: &[(String, Envelope)]) -> (Vec<String>, Vec<String>) {
    let mut all: Vec<_> = envelopes.iter().map(|(_, envelope)| envelope).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let (mut ticks, mut quotes) = (Vec::new(), Vec::new());
    for envelope in all {
        for (position, event) in envelope.events.iter().enumerate() {
            let EnvelopeId { feed, epoch, sequence } = &envelope.id;
            let head = format!("{feed}\t{epoch}\t{sequence}\t{position}\t{}", envelope.instrument);
            match event {
                Event::Trade(trade) => ticks.push(format!(
                    "{head}\t{}\t{}\t{}\t{}\t{}",
                    trade.timestamp.as_micros(),
                    trade.trade_id,
                    trade.price.normalize(),
                    trade.volume.normalize(),
                    trade.side.as_str()
                )),
                Event::Quote(quote) => quotes.push(format!(
                    "{head}\t{}\t{}\t{}\t{}\t{}",
                    quote.timestamp.unwrap_or(envelope.received).as_micros(),
                    quote.update_id.unwrap_or_default(),
                    quote.top.bid_price.normalize(),
                    quote.top.ask_volume.normalize(),
                    u8::from(quote.timestamp.is_none())
                )),
                Event::Connected(_) | Event::Disconnected(_) => {}
            }
        }
    }
    (ticks, quotes)
}

/// How many of the window, from its beginning, were confirmed.
async fn publish_window(connection: &Connection, window: &[(&String, &Envelope, bool)]) -> usize {
    let Ok(channel) = connection.create_channel().await else { return 0 };
    if channel.confirm_select(ConfirmSelectOptions::default()).await.is_err() {
        return 0;
    }
    let mut confirms = Vec::new();
    for (queue, envelope, again) in window {
        let mut body = Vec::new();
        envelope.encode(&mut body);
        let sent =
            channel.basic_publish("".into(), queue.as_str().into(), BasicPublishOptions::default(), &body, properties(&envelope.id, *again)).await;
        let Ok(confirm) = sent else { break };
        confirms.push(confirm);
    }
    let mut confirmed = 0;
    for confirm in confirms {
        match tokio::time::timeout(Duration::from_secs(10), confirm).await {
            Ok(Ok(Confirmation::Ack(None))) => confirmed += 1,
            _ => return confirmed,
        }
    }
    drop(channel.close(200, "done".into()).await);
    confirmed
}

pub(crate) fn properties(id: &EnvelopeId, again: bool) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_message_id(id.to_string().into())
        .with_type(MESSAGE_TYPE.into())
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(2);
    if !again {
        return properties;
    }
    let mut headers = FieldTable::default();
    headers.insert(REPUBLISHED.into(), AMQPValue::Boolean(true));
    properties.with_headers(headers)
}

/// `count` envelopes of `per` events each, over the queues in turn: two trades to one quote, half a second apart, beginning a minute before midnight.
pub(crate) fn tape(queues: &[String], epoch: u64, count: u64, per: u64) -> Vec<(String, Envelope)> {
    let midnight = 1_769_904_000_000_000_i64;
    let time = |offset: u64| Timestamp::from_micros(midnight - 60_000_000 + i64::try_from(offset).unwrap()).unwrap();
    (0..count)
        .map(|sequence| {
            let shard = usize::try_from(sequence).unwrap() % queues.len();
            let received = time(sequence * 500_000 + 900);
            let events = (0..per).map(|event| {
                let id = sequence * per + event;
                let price = Decimal::new(6_183_763 + i64::try_from(id % 997).unwrap(), 2);
                let volume = Decimal::new(1 + i64::try_from(id % 31).unwrap(), 8);
                if event % 3 == 2 {
                    let top = TopOfBook { bid_price: price, bid_volume: volume, ask_price: price + Decimal::ONE, ask_volume: volume };
                    Event::Quote(Quote { timestamp: None, update_id: Some(id), top })
                } else {
                    let side = if id.is_multiple_of(2) { Side::Buy } else { Side::Sell };
                    let timestamp = time(sequence * 500_000 + event);
                    Event::Trade(Trade { timestamp, trade_id: id, price, volume, side, prevailing: None })
                }
            });
            let envelope = Envelope {
                id: EnvelopeId { feed: Arc::from("market-data/binance"), epoch, sequence },
                exchange: Arc::from("binance"),
                instrument: format!("COIN{shard}/USDT").parse().unwrap(),
                received,
                published: received,
                events: events.collect(),
            };
            (queues[shard].clone(), envelope)
        })
        .collect()
}

pub(crate) fn limits(max_rows: u64, max_delay: Duration) -> BatchLimits {
    BatchLimits { max_rows, max_bytes: 64 << 20, max_delay: HumanDuration(max_delay) }
}

/// A batcher in this process.
pub(crate) struct Batcher {
    pub(crate) shutdown: Shutdown,
    address: std::net::SocketAddr,
    task: JoinHandle<Result<(), BatcherError>>,
}

impl Batcher {
    pub(crate) async fn start(settings: BatcherSettings) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run_on(listener, settings, shutdown.clone()));
        Ok(Self { shutdown, address, task })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        http_get(self.address, path).await
    }

    pub(crate) async fn status(&self) -> Result<BatcherStatus> {
        Ok(serde_json::from_str(&self.get("/status").await?.1)?)
    }

    pub(crate) async fn until_ready(&self) -> Result<()> {
        self.until("/readyz", |status, _| status == 200).await.map(drop)
    }

    pub(crate) async fn until(&self, path: &str, holds: impl Fn(u16, &str) -> bool) -> Result<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.get(path).await {
                Ok((status, text)) if holds(status, &text) => return Ok(text),
                seen if tokio::time::Instant::now() > deadline => bail!("{path} says {seen:?}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// As SIGTERM would.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        Ok(tokio::time::timeout(Duration::from_secs(40), self.task).await.context("the batcher does not end")???)
    }

    /// As SIGKILL would, as far as a task can: nothing of it runs any further.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// One plain HTTP request.
async fn http_get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await?;
    socket.write_all(format!("GET {path} HTTP/1.0\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    socket.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
