//! What a venue is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything that a venue needs to start.
#[derive(Debug, Clone)]
pub struct VenueOptions {
    /// Addresses of the TLS listeners. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Address of the plain HTTP control listener; none for in-process use.
    pub control: Option<SocketAddr>,
    /// The certificate chain, PEM text. It must name the hosts that the venue plays.
    pub certificate_pem: String,
    /// The private key, PEM text.
    pub key_pem: String,
    /// What is played.
    pub source: Source,
    /// The pace of the tape.
    pub rate: Rate,
    /// How long the venue waits between the subscription that starts a tape and its first frame, so that a client
    /// that subscribes in several messages misses nothing.
    pub settle: Duration,
    /// The limits that the venue enforces.
    pub limits: Limits,
}

impl VenueOptions {
    /// A venue on one free loopback port, at rest until somebody subscribes, without a control listener.
    pub fn on_loopback(certificate_pem: String, key_pem: String, source: Source) -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            control: None,
            certificate_pem,
            key_pem,
            source,
            rate: Rate::PerSecond(1_000.0),
            settle: Duration::from_millis(50),
            limits: Limits::default(),
        }
    }
}

/// Where the frames come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A tape drawn from a seed.
    Seeded(Seeded),
    /// Recorded frames in combined envelopes, one a line: files, or folders whose `*.jsonl` are taken in name order.
    Recorded(Vec<PathBuf>),
}

/// A tape drawn from a seed.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// The seed. The same seed gives each symbol the same ids, prices, quantities and sides, whatever else is played.
    pub seed: u64,
    /// Venue symbols in upper case, such as `BTCUSDT`.
    pub symbols: Vec<String>,
    /// Quotes that follow each trade.
    pub quotes_per_trade: u32,
    /// Trades per symbol after which the tape ends; none runs for ever.
    pub length: Option<u64>,
    /// When a symbol's tape begins.
    pub start: StartMode,
}

/// When a seeded tape begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StartMode {
    /// With the venue, whether or not anyone listens.
    Immediately,
    /// Each symbol on its own, with the first subscription to any of its streams: then nothing of it can be missed.
    OnFirstSubscriber,
}

/// The pace of a tape. As JSON: a number, or `"max"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RateText", into = "RateText")]
pub enum Rate {
    /// Frames per second over all symbols; positive.
    PerSecond(f64),
    /// As fast as the slowest subscriber takes them; stands still while nobody listens.
    Max,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RateText {
    Number(f64),
    Word(String),
}

impl TryFrom<RateText> for Rate {
    type Error = String;

    fn try_from(text: RateText) -> Result<Self, String> {
        match text {
            RateText::Number(number) => number.to_string().parse(),
            RateText::Word(word) => word.parse(),
        }
    }
}

impl From<Rate> for RateText {
    fn from(rate: Rate) -> Self {
        match rate {
            Rate::PerSecond(number) => Self::Number(number),
            Rate::Max => Self::Word("max".to_owned()),
        }
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `max`, `0` (the same), or frames per second.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(0.0) => Ok(Self::Max),
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Self::PerSecond(rate)),
            _ => Err(format!("'{text}' is neither `max` nor a positive number of frames per second")),
        }
    }
}

/// The limits that the venue enforces on its clients. The default is what Binance spot publishes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Streams that one connection may hold.
    pub streams_per_connection: usize,
    /// Incoming frames (text, ping and pong alike) in any one second, past which the connection is closed with 1008.
    pub messages_per_second: usize,
    /// Handshakes of one IP address in any five minutes, past which it gets HTTP 429.
    pub connections_per_five_minutes: usize,
    /// How long a connection lives.
    pub life: Duration,
    /// How long before the end of its life a connection is told so.
    pub shutdown_notice: Duration,
    /// The time between two pings of the server.
    pub ping_every: Duration,
    /// How long a ping may stay without its pong before the connection is dropped.
    pub pong_within: Duration,
    /// Bytes that may wait for a subscriber of a paced tape before it is closed as too slow.
    pub backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_per_connection: 1_024,
            messages_per_second: 5,
            connections_per_five_minutes: 300,
            life: Duration::from_secs(24 * 3_600),
            shutdown_notice: Duration::from_secs(600),
            ping_every: Duration::from_secs(20),
            pong_within: Duration::from_secs(60),
            backlog: 32 << 20,
        }
    }
}
