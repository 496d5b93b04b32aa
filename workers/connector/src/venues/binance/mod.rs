//! Binance spot: `@trade` and `@bookTicker` of the combined stream. Facts and their sources: `README.md` beside this file.

mod limits;
mod parse;
mod stream;
mod symbols;
mod wire;

#[cfg(test)]
mod tests;

use tapekeeper_contract::settings::Channel;
use tapekeeper_market::Instrument;
use url::Url;

use super::{Frame, FrameError, Limits, Protocol, UnknownSymbol};

/// The protocol of Binance spot.
#[derive(Debug, Clone, Copy)]
pub struct Binance;

impl Protocol for Binance {
    fn limits(&self) -> Limits {
        limits::LIMITS
    }

    fn socket_url(&self, endpoint: &Url) -> Url {
        stream::socket_url(endpoint)
    }

    fn symbol(&self, instrument: &Instrument) -> String {
        symbols::join(instrument)
    }

    fn instrument(&self, symbol: &str) -> Result<Instrument, UnknownSymbol> {
        symbols::split(symbol)
    }

    fn stream(&self, instrument: &Instrument, channel: Channel) -> String {
        stream::name(instrument, channel)
    }

    fn subscribe(&self, streams: &[&str], request: u64) -> String {
        stream::subscribe(streams, request)
    }

    fn parse<'f>(&self, frame: &'f str) -> Result<Frame<'f>, FrameError> {
        parse::parse(frame)
    }
}
