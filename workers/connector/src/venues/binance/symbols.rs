//! Binance writes `BTCUSDT`, without a mark between base and quote. A feed knows its instruments and never splits a symbol; a recording has to be split by
//! what the venue is known to quote in.

use tapekeeper_contract::Venue;
use tapekeeper_market::Instrument;

use crate::venues::UnknownSymbol;

/// What spot instruments are, or once were, quoted in. Source: `quoteAsset` of the venue's `GET /api/v3/exchangeInfo`, delisted pairs included.
const QUOTES: &[&str] = &[
    "FDUSD", // stablecoins
    "USDT", "USDC", "BUSD", "TUSD", "USDP", "USDS", "USD1", "EURI", "AEUR", "PAX", "UST", "DAI", "VAI", //
    "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", //
    "EUR", "GBP", "AUD", "TRY", "BRL", "ARS", "COP", "CZK", "JPY", "MXN", "NGN", "PLN", "RON", "RUB", "UAH", "ZAR", //
    "BIDR", "IDRT", "BKRW", "BVND",
];

/// What contracts with a suffix (`BTCUSD_PERP`, `BTCUSDT_240628`) are quoted in. They have a list of their own, since `BNBUSD_PERP` is not `BN` in `BUSD`.
const CONTRACT_QUOTES: &[&str] = &["USDT", "USDC", "USD"];

/// `BTC/USDT` as the venue writes it in frames.
pub(super) fn join(instrument: &Instrument) -> String {
    [instrument.base(), instrument.quote()].concat()
}

/// `BTCUSDT` is `BTC/USDT`: of the quote assets that leave a base the longest is taken. A contract keeps its suffix in the quote: `BTC/USD_PERP`.
pub(super) fn split(symbol: &str) -> Result<Instrument, UnknownSymbol> {
    let (pair, quotes) = match symbol.find('_') {
        Some(suffix) => (&symbol[..suffix], CONTRACT_QUOTES),
        None => (symbol, QUOTES),
    };
    quotes
        .iter()
        .filter_map(|quote| pair.strip_suffix(quote).filter(|base| !base.is_empty()))
        .min_by_key(|base| base.len())
        .and_then(|base| format!("{base}/{}", &symbol[base.len()..]).parse().ok())
        .ok_or_else(|| UnknownSymbol { symbol: symbol.chars().take(Instrument::MAX_LENGTH).collect(), venue: Venue::Binance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_split_at_the_longest_quote_asset_that_leaves_a_base() {
        for (symbol, instrument) in [
            ("BTCUSDT", "BTC/USDT"),
            ("BTCSTUSDT", "BTCST/USDT"),
            ("BTCFDUSD", "BTC/FDUSD"),
            ("BNBTUSD", "BNB/TUSD"),
            ("SWRVBUSD", "SWRV/BUSD"),
            ("BUSDTRY", "BUSD/TRY"),
            ("WBETHETH", "WBETH/ETH"),
            ("QTUMETH", "QTUM/ETH"),
            ("1INCHBTC", "1INCH/BTC"),
            ("BTCUSDT_240628", "BTC/USDT_240628"),
            ("BNBUSD_PERP", "BNB/USD_PERP"),
        ] {
            assert_eq!(split(symbol).unwrap().symbol(), instrument);
        }
    }

    #[test]
    fn a_symbol_that_cannot_be_split_is_named() {
        for symbol in ["USDT", "BTCXYZ", "", "btcusdt", "_PERP", "BTCEUR_PERP"] {
            assert_eq!(split(symbol), Err(UnknownSymbol { symbol: symbol.to_owned(), venue: Venue::Binance }), "{symbol}");
        }
        assert_eq!(split("BTCXYZ").unwrap_err().to_string(), "symbol `BTCXYZ` ends with no known quote asset of Binance, so its base can't be told");
    }

    #[test]
    fn an_instrument_is_spelled_without_its_slash() {
        assert_eq!(join(&"BTC/USDT".parse().unwrap()), "BTCUSDT");
    }
}
