//! The tests' venue, asked for its truth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tapekeeper_test_ground::kubernetes::Venue as Place;
use tapekeeper_test_ground::process::{Launch, Lifetime, Process};

use crate::cluster::eventually;

/// A trade as the venue told it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trade {
    /// Its id.
    pub id: u64,
    /// Units of 10⁻⁸.
    pub price: u64,
    /// Units of 10⁻⁸.
    pub quantity: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// Whether the buyer was the maker, that is, the taker sold.
    pub taker_sold: bool,
}

impl Trade {
    pub(crate) fn from_row(row: &[&str]) -> Result<Self> {
        let [id, price, quantity, time, taker_sold] = row else { bail!("five columns expected: {row:?}") };
        Ok(Self {
            id: id.parse()?,
            price: units(price)?,
            quantity: units(quantity)?,
            time: time.parse()?,
            taker_sold: matches!(*taker_sold, "true" | "1"),
        })
    }
}

/// A decimal number with at most eight digits behind the point, in units of 10⁻⁸.
fn units(text: &str) -> Result<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 8 {
        bail!("`{text}` has more than eight digits behind the point");
    }
    format!("{whole}{fraction:0<8}").parse().with_context(|| text.to_owned())
}

/// What the venue plays.
#[derive(Debug)]
pub enum Tape<'a> {
    /// A seeded walk of these symbols (`BTCUSDT`), each from its first listener on.
    Seeded {
        /// The seed.
        seed: u64,
        /// Venue symbols.
        symbols: &'a [&'a str],
        /// Frames per second over all symbols, or `max`.
        rate: &'a str,
    },
    /// Recorded frames, once every symbol in them has a listener.
    Recorded {
        /// The files.
        files: &'a [PathBuf],
        /// Frames per second.
        rate: &'a str,
    },
}

impl Tape<'_> {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Seeded { seed, symbols, rate } => {
                let (seed, symbols) = (seed.to_string(), symbols.join(","));
                ["--rate", rate, "seeded", "--seed", &seed, "--symbols", &symbols, "--start", "on-first-subscriber"].map(str::to_owned).to_vec()
            }
            Self::Recorded { files, rate } => {
                let mut arguments = ["--rate", rate, "recorded"].map(str::to_owned).to_vec();
                arguments.extend(files.iter().flat_map(|file| ["--frames".to_owned(), file.display().to_string()]));
                arguments
            }
        }
    }
}

/// The venue, through its control address.
#[derive(Debug)]
pub struct Venue {
    client: reqwest::Client,
    control: String,
}

impl Venue {
    pub(crate) async fn play(client: reqwest::Client, place: &Place, command_prefix: &[String], tape: &Tape<'_>) -> Result<Self> {
        let control = place.control.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listen = |port| format!("{}:{port}", place.address);
        let file = |path: &Path| path.display().to_string();
        let mut args = vec!["serve".to_owned()];
        let certificate = [("--certificate", file(&place.certificate)), ("--key", file(&place.key)), ("--control", control.clone())];
        let flags = [("--listen", listen(443)), ("--listen", listen(9443))].into_iter().chain(certificate);
        args.extend(flags.flat_map(|(flag, value)| [flag.to_owned(), value]));
        args.extend(tape.arguments());
        let launch = Launch {
            name: "venue".to_owned(),
            program: place.program.clone(),
            args,
            env: Vec::new(),
            command_prefix: command_prefix.to_vec(),
            folder: None,
            log: place.pidfile.with_extension("log"),
            pidfile: place.pidfile.clone(),
            lifetime: Lifetime::Detached,
        };
        if let Some(mut running) = Process::attach(&launch) {
            running.stop(Duration::from_secs(10)).await?;
        }
        Process::start(&launch)?;
        let this = Self { client, control: format!("http://{control}") };
        eventually("the venue answers", Duration::from_secs(20), async || {
            this.client.get(format!("{}/healthz", this.control)).send().await?.error_for_status()?;
            Ok(Some(()))
        })
        .await?;
        Ok(this)
    }

    /// Every trade of `symbol` (`BTCUSDT`) that was sent while somebody listened, in order.
    ///
    /// # Errors
    /// When the venue does not answer.
    pub async fn heard(&self, symbol: &str) -> Result<Vec<Trade>> {
        let url = format!("{}/truth/trades?symbol={symbol}&heard=true", self.control);
        let text = self.client.get(url).send().await?.error_for_status()?.text().await?;
        text.lines().map(|line| Trade::from_row(&line.split(' ').collect::<Vec<_>>())).collect()
    }

    /// All that the venue says of its tape: what was played and what was heard, for each stream.
    ///
    /// # Errors
    /// When the venue does not answer.
    pub async fn truth(&self) -> Result<Value> {
        Ok(self.client.get(format!("{}/truth", self.control)).send().await?.error_for_status()?.json().await?)
    }

    /// How many quotes of `symbol` were sent while somebody listened.
    ///
    /// # Errors
    /// When the venue does not answer.
    pub async fn quotes_heard(&self, symbol: &str) -> Result<u64> {
        let truth = self.truth().await?;
        let streams = truth["streams"].as_array().cloned().unwrap_or_default();
        let stream = streams.iter().find(|stream| stream["symbol"] == symbol && stream["kind"] == "quote");
        Ok(stream.and_then(|stream| stream.pointer("/heard/frames")).and_then(Value::as_u64).unwrap_or(0))
    }

    /// Stops the tape: connections stay, nothing is sent.
    ///
    /// # Errors
    /// When the venue does not answer.
    pub async fn pause(&self) -> Result<()> {
        self.script(&json!({"command": "pause"})).await
    }

    /// Lets the tape go on.
    ///
    /// # Errors
    /// When the venue does not answer.
    pub async fn resume(&self) -> Result<()> {
        self.script(&json!({"command": "resume"})).await
    }

    /// One line of the script.
    ///
    /// # Errors
    /// When the venue refuses it.
    pub async fn script(&self, command: &Value) -> Result<()> {
        self.client.post(format!("{}/script", self.control)).json(command).send().await?.error_for_status()?;
        Ok(())
    }
}
