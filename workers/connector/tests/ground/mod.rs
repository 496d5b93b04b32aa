//! A connector between the tests' venue and a real RabbitMQ. The product is given nothing but settings and files; that the venue's host name leads to
//! loopback is arranged by who dials.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::future::BoxFuture;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ExchangeKind};
use tapekeeper_connector::socket::Dial;
use tapekeeper_connector::{ConnectorError, run_on};
use tapekeeper_contract::settings::{Broker, Channel, ConnectorSettings, ObjectName};
use tapekeeper_contract::status::{ConnectorStatus, WorkerStatus};
use tapekeeper_contract::{HumanDuration, Venue as VenueName};
use tapekeeper_market::{Envelope, Event};
use tapekeeper_runtime::credentials::Credentials;
use tapekeeper_runtime::shutdown::Shutdown;
use tapekeeper_runtime::{broker, tls};
use tapekeeper_test_ground::{RabbitMq, RabbitMqOptions};
use tapekeeper_test_venue::{Rate, Seeded, Source, StartMode, TestCertificate, Venue, VenueOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const EXCHANGE: &str = "crypto.ticks";
pub(crate) const QUEUE: &str = "tape";
const PATIENCE: Duration = Duration::from_secs(90);

/// One broker at a time: a machine with two cores has no room for several.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Every name leads to the tests' venue.
#[derive(Debug)]
pub(crate) struct ToVenue(pub(crate) SocketAddr);

impl Dial for ToVenue {
    fn dial<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(self.0))
    }
}

pub(crate) fn seeded(symbols: &[&str], quotes_per_trade: u32, length: Option<u64>) -> Source {
    let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
    Source::Seeded(Seeded { seed: 7, symbols, quotes_per_trade, length, start: StartMode::OnFirstSubscriber })
}

pub(crate) struct Ground {
    pub(crate) broker: RabbitMq,
    pub(crate) venue: Venue,
    pub(crate) settings: ConnectorSettings,
    pub(crate) http: Option<SocketAddr>,
    running: Option<(Shutdown, JoinHandle<Result<(), ConnectorError>>)>,
    folder: TempDir,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl Ground {
    /// A broker with an exchange and a queue behind it, a venue that plays `source`, and settings for a connector between the two.
    pub(crate) async fn new(instruments: &[&str], channels: &[Channel], source: Source, rate: Rate) -> Result<Self> {
        let turn = ONE_AT_A_TIME.lock().await;
        tls::install_provider();
        let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
        let certificate = TestCertificate::for_binance()?;
        let mut options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), source);
        options.rate = rate;
        options.settle = Duration::from_millis(1_500);
        let venue = Venue::start(options).await?;
        let folder = tempfile::tempdir()?;
        let secret = folder.path().join("broker");
        std::fs::create_dir(&secret)?;
        let uri = format!("amqps://{}:{}", broker.host(), broker.ports().amqps);
        for (key, value) in
            [("uri", uri.as_str()), ("username", broker.user()), ("password", broker.password()), ("ca.crt", broker.authority().ca_pem())]
        {
            std::fs::write(secret.join(key), value)?;
        }
        let extra_ca = folder.path().join("extra-ca.pem");
        std::fs::write(&extra_ca, &certificate.ca_pem)?;
        let settings = ConnectorSettings {
            environment: "production".to_owned(),
            feed: ObjectName { namespace: "market-data".to_owned(), name: "binance".to_owned() },
            venue: VenueName::Binance,
            endpoint: VenueName::Binance.default_endpoint().to_owned(),
            instruments: instruments.iter().map(|&name| name.to_owned()).collect(),
            channels: channels.to_vec(),
            max_streams: 1_024,
            idle_timeout: HumanDuration::from_secs(30),
            broker: Broker { kind: "RabbitMQ".to_owned(), credentials: secret, vhost: broker.vhost().to_owned() },
            exchange: EXCHANGE.to_owned(),
            extra_ca_certificates: Some(extra_ca),
        };
        let ground = Self { broker, venue, settings, http: None, running: None, folder, _turn: turn };
        ground.declare().await?;
        Ok(ground)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn connect(&self) -> Result<Connection> {
        let credentials = Credentials::read_broker(&self.settings.broker.credentials)?;
        Ok(broker::connect(&credentials, &self.settings.broker.vhost, None, "the test").await?)
    }

    /// Declares the exchange, and the queue behind it.
    pub(crate) async fn declare(&self) -> Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await?;
        channel.queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), QueueBindOptions::default(), FieldTable::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Deletes the exchange.
    pub(crate) async fn undeclare(&self) -> Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        channel.exchange_delete(EXCHANGE.into(), ExchangeDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Starts the connector.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        self.http = Some(listener.local_addr()?);
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run_on(self.settings.clone(), shutdown.clone(), listener, Arc::new(ToVenue(self.venue.addr()))));
        self.running = Some((shutdown, running));
        Ok(())
    }

    /// Tells the connector to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let (shutdown, running) = self.running.take().context("not running")?;
        shutdown.trigger();
        Ok(running.await??)
    }

    /// Status and body of `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.http.context("not started")?).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: connector\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).context("no status")?.parse()?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok((status, body.to_owned()))
    }

    pub(crate) async fn status(&self) -> Result<ConnectorStatus> {
        match serde_json::from_str(&self.get("/status").await?.1)? {
            WorkerStatus::Connector(status) => Ok(status),
            other => bail!("{other:?}"),
        }
    }

    /// Waits until the status is as `wanted`.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&ConnectorStatus) -> bool) -> Result<ConnectorStatus> {
        let started = tokio::time::Instant::now();
        loop {
            let status = self.status().await?;
            if wanted(&status) {
                return Ok(status);
            }
            ensure!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the tape is over and the broker has confirmed all that the venue says was heard of it.
    pub(crate) async fn until_all_heard_is_confirmed(&self) -> Result<ConnectorStatus> {
        self.until("all that was heard is confirmed", |status| {
            let truth = self.venue.truth();
            truth.state == tapekeeper_test_venue::TapeState::Finished
                && status.ticks >= truth.trades_heard + truth.quotes_heard
                && status.envelopes_in_flight == 0
        })
        .await
    }

    /// All messages of the queue, in order.
    pub(crate) async fn take_all(&self) -> Result<Vec<(BasicProperties, Envelope)>> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel.basic_consume(QUEUE.into(), "test".into(), options, FieldTable::default()).await?;
        let mut messages = Vec::new();
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(1_500), consumer.next()).await {
            let delivery = delivery?;
            let id = delivery.properties.message_id().clone().context("no message id")?;
            let envelope = Envelope::decode(id.as_str(), &delivery.data)?;
            ensure!(
                delivery.routing_key.as_str() == format!("binance.{}.{}", envelope.instrument.base(), envelope.instrument.quote()),
                "{} came under {}",
                envelope.instrument,
                delivery.routing_key
            );
            messages.push((delivery.properties, envelope));
        }
        connection.close(200, "done".into()).await?;
        Ok(messages)
    }
}

/// Messages without those that came before under the same id, whose bytes must be the same.
pub(crate) fn once_each(messages: Vec<(BasicProperties, Envelope)>) -> Result<Vec<Envelope>> {
    let mut seen: BTreeMap<String, Envelope> = BTreeMap::new();
    let mut kept = Vec::new();
    for (properties, envelope) in messages {
        let id = envelope.id.to_string();
        match seen.get(&id) {
            Some(before) => {
                ensure!(*before == envelope, "{id} came twice with different content");
                let republished = properties.headers().as_ref().and_then(|headers| headers.inner().get("republished").cloned());
                ensure!(republished == Some(AMQPValue::Boolean(true)), "{id} came twice without saying so");
            }
            None => {
                seen.insert(id, envelope.clone());
                kept.push(envelope);
            }
        }
    }
    Ok(kept)
}

/// Checks what holds of every run: sequences without a hole, every instrument's events in the order of the wire.
pub(crate) fn check_order(envelopes: &[Envelope]) -> Result<()> {
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    for envelope in envelopes {
        let next = next.entry(envelope.id.epoch).or_default();
        ensure!(envelope.id.sequence == *next, "epoch {} jumps from {next} to {}", envelope.id.epoch, envelope.id.sequence);
        *next += 1;
        ensure!(envelope.published >= envelope.received, "{} was published before it was received", envelope.id);
    }
    Ok(())
}

/// The trade ids of an instrument, as they came.
pub(crate) fn trade_ids(envelopes: &[Envelope], symbol: &str) -> Vec<u64> {
    let of_symbol = envelopes.iter().filter(|envelope| envelope.instrument.symbol() == symbol);
    of_symbol
        .flat_map(|envelope| &envelope.events)
        .filter_map(|event| if let Event::Trade(trade) = event { Some(trade.trade_id) } else { None })
        .collect()
}

/// What the venue says was heard of a stream, one by one.
pub(crate) fn heard(venue: &Venue, stream: &str) -> Vec<u64> {
    let truth = venue.truth();
    let tally = &truth.stream(stream).expect("the venue has the stream").heard;
    tally.ids.ranges().iter().flat_map(|(first, last)| *first..=*last).collect()
}

/// The names of an instrument's feed events, in order.
pub(crate) fn feed_events(envelopes: &[Envelope], symbol: &str) -> Vec<&'static str> {
    let of_symbol = envelopes.iter().filter(|envelope| envelope.instrument.symbol() == symbol);
    of_symbol.flat_map(|envelope| &envelope.events).filter_map(|event| event.as_feed().map(|(kind, _)| kind.as_str())).collect()
}
