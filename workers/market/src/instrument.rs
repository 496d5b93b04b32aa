//! Instruments and the routing keys of their envelopes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `BASE/QUOTE`; a contract keeps the venue's own suffix in its quote (`BTC/USDT-SWAP`). Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instrument {
    symbol: Arc<str>,
    slash: usize,
}

/// The text is not an instrument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instrument: expected BASE/QUOTE in capital letters and digits, such as BTC/USDT, without any of . * # or spaces")]
pub struct InvalidInstrument(pub String);

impl Instrument {
    /// The longest symbol: a routing key holds 255 bytes, exchange included.
    pub const MAX_LENGTH: usize = 64;

    /// `BTC/USDT`.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// What is traded.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.symbol[..self.slash]
    }

    /// What it is paid in.
    #[must_use]
    pub fn quote(&self) -> &str {
        &self.symbol[self.slash + 1..]
    }
}

impl FromStr for Instrument {
    type Err = InvalidInstrument;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| !part.is_empty() && part.chars().all(|c| (c.is_alphanumeric() && !c.is_lowercase()) || matches!(c, '-' | '_'));
        match text.split_once('/') {
            Some((base, quote)) if text.len() <= Self::MAX_LENGTH && part(base) && part(quote) => {
                Ok(Self { slash: base.len(), symbol: Arc::from(text) })
            }
            _ => Err(InvalidInstrument(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.symbol)
    }
}

/// `{exchange}.{BASE}.{QUOTE}`: the key by which envelopes are routed and sharded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutingKey(String);

impl RoutingKey {
    /// The key of `instrument` on `exchange` (a tape name such as `binance`).
    #[must_use]
    pub fn new(exchange: &str, instrument: &Instrument) -> Self {
        Self(format!("{exchange}.{}.{}", instrument.base(), instrument.quote()))
    }

    /// As AMQP takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_knows_its_sides_and_its_key() {
        let instrument: Instrument = "BTC/USDT-SWAP".parse().unwrap();
        assert_eq!((instrument.base(), instrument.quote(), instrument.symbol()), ("BTC", "USDT-SWAP", "BTC/USDT-SWAP"));
        assert_eq!(RoutingKey::new("okx", &instrument).as_str(), "okx.BTC.USDT-SWAP");
    }

    #[test]
    fn what_would_break_a_routing_key_is_not_an_instrument() {
        for text in ["BTCUSDT", "btc/usdt", "BTC/", "/USDT", "BTC/USD.T", "BTC/US*", "A/B/C", "BTC /USDT", ""] {
            assert_eq!(text.parse::<Instrument>(), Err(InvalidInstrument(text.to_owned())), "{text}");
        }
    }
}
