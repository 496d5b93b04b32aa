//! Binance spot. Facts: developers.binance.com, "WebSocket Streams for Binance" and "REST API"; frames as recorded in
//! August 2024.

mod recorded;
mod requests;
mod rest;
mod seeded;
mod symbols;

use std::collections::BTreeSet;

use anyhow::ensure;

use crate::options::Source;
use crate::tape::Tape;

use super::{Answer, Form, Protocol, Route};

/// Hosts of market-data WebSockets.
const STREAM_HOSTS: [&str; 2] = ["stream.binance.com", "data-stream.binance.vision"];

/// All hosts.
const HOSTS: [&str; 3] = ["stream.binance.com", "data-stream.binance.vision", "api.binance.com"];

/// Opens a tape, and the protocol that goes with it.
pub fn open(source: &Source) -> anyhow::Result<(Box<dyn Tape>, Binance)> {
    let (tape, symbols): (Box<dyn Tape>, Vec<symbols::Market>) = match source {
        Source::Seeded(seeded) => {
            ensure!(!seeded.symbols.is_empty(), "a seeded tape needs at least one symbol");
            for (place, symbol) in seeded.symbols.iter().enumerate() {
                let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
                ensure!(!symbol.is_empty() && symbol.bytes().all(fits), "'{symbol}' is not a symbol such as BTCUSDT");
                ensure!(!seeded.symbols[..place].contains(symbol), "the symbol {symbol} is given twice");
            }
            let markets = seeded.symbols.iter().map(|symbol| symbols::Market::of(seeded.seed, symbol)).collect();
            (Box::new(seeded::SeededTape::new(seeded)), markets)
        }
        Source::Recorded(paths) => {
            let tape = recorded::RecordedTape::read(paths)?;
            let markets = tape.symbols().iter().map(|symbol| symbols::Market::of(0, symbol)).collect();
            (Box::new(tape), markets)
        }
    };
    Ok((tape, Binance { markets: symbols }))
}

/// The protocol of Binance spot.
#[derive(Debug)]
pub struct Binance {
    markets: Vec<symbols::Market>,
}

impl Protocol for Binance {
    fn name(&self) -> &'static str {
        "binance"
    }

    fn hosts(&self) -> &'static [&'static str] {
        &HOSTS
    }

    fn route(&self, host: &str, target: &str, now: i64) -> Route {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if STREAM_HOSTS.contains(&host) {
            requests::streams_of(path, query).map_or_else(rest::not_found, |(form, streams)| Route::Stream { form, streams })
        } else {
            rest::answer(&self.markets, path, query, now)
        }
    }

    fn answer(&self, message: &str, held: &BTreeSet<String>, limit: usize) -> Answer {
        requests::answer(message, held, limit)
    }

    fn shutdown_notice(&self, form: Form, now: i64) -> String {
        let event = format!(r#"{{"e":"serverShutdown","E":{now}}}"#);
        match form {
            Form::Raw => event,
            Form::Combined => format!(r#"{{"stream":"!serverShutdown","data":{event}}}"#),
        }
    }
}
