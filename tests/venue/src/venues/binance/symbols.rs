//! The markets of a tape: where prices start, and the steps that prices and quantities move in.

use crate::tape::random::Random;

/// One spot market. All numbers are in units of 10⁻⁸.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Market {
    pub(super) symbol: String,
    pub(super) base: String,
    pub(super) quote: String,
    pub(super) start: u64,
    pub(super) tick: u64,
    pub(super) lot: u64,
}

/// Quote assets, longest first where one ends in another.
const QUOTES: [&str; 10] = ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY"];

/// One, in units of 10⁻⁸.
const ONE: u64 = 100_000_000;

/// Markets whose steps are known: symbol, starting price, tick size, lot size.
const KNOWN: [(&str, u64, u64, u64); 6] = [
    ("BTCUSDT", 61_837 * ONE, ONE / 100, ONE / 100_000),
    ("ETHUSDT", 2_683 * ONE, ONE / 100, ONE / 10_000),
    ("BNBUSDT", 512 * ONE, ONE / 10, ONE / 1_000),
    ("SOLUSDT", 161 * ONE, ONE / 100, ONE / 1_000),
    ("XRPUSDT", 6_117 * ONE / 10_000, ONE / 10_000, ONE / 10),
    ("ETHBTC", 4_339 * ONE / 100_000, ONE / 100_000, ONE / 10_000),
];

impl Market {
    /// The market of a symbol; one that isn't known gets a price between 1 and 1,000 from the seed.
    pub(super) fn of(seed: u64, symbol: &str) -> Self {
        let quote = QUOTES.iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(*quote)).unwrap_or(&"");
        let (start, tick, lot) = KNOWN.iter().find(|known| known.0 == symbol).map_or_else(
            || ((10_000 + Random::for_name(seed, symbol).bits() % 9_990_000) * (ONE / 10_000), ONE / 10_000, ONE / 100),
            |known| (known.1, known.2, known.3),
        );
        Self { symbol: symbol.to_owned(), base: symbol[..symbol.len() - quote.len()].to_owned(), quote: (*quote).to_owned(), start, tick, lot }
    }
}
