//! What arrived in the tables against what the venue says that it sent: counts, ids and exact sums, symbol by symbol.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tapekeeper_e2e::Database;

/// Trades and quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Trades.
    pub(crate) trades: u64,
    /// Quotes.
    pub(crate) quotes: u64,
}

impl Counts {
    /// Both.
    pub(crate) const fn ticks(self) -> u64 {
        self.trades + self.quotes
    }

    /// What came after `earlier`.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self { trades: self.trades.saturating_sub(earlier.trades), quotes: self.quotes.saturating_sub(earlier.quotes) }
    }

    /// What the venue sent while somebody listened.
    pub(crate) fn sent(truth: &Value) -> anyhow::Result<Self> {
        let count = |name: &str| truth[name].as_u64().with_context(|| format!("the venue's truth has no {name}"));
        Ok(Self { trades: count("trades_heard")?, quotes: count("quotes_heard")? })
    }

    /// The rows that `database` has.
    pub(crate) async fn stored(database: &Database, name: &str) -> anyhow::Result<Self> {
        let sql = format!("SELECT (SELECT count() FROM {name}.ticks), (SELECT count() FROM {name}.quotes)");
        let text = database.query(&sql).await?;
        let (trades, quotes) = text.trim().split_once('\t').context("two counts expected")?;
        Ok(Self { trades: trades.parse()?, quotes: quotes.parse()? })
    }
}

/// What is wrong with the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Trades and quotes that the venue sent.
    pub(crate) sent: Counts,
    /// Trade ids that are not in the table.
    pub(crate) trades_missing: u64,
    /// Rows whose trade id another row has too.
    pub(crate) trades_twice: u64,
    /// Quotes that are not in the table.
    pub(crate) quotes_missing: u64,
    /// Quotes too many.
    pub(crate) quotes_twice: u64,
    /// Symbols of which a first or last id, or the sum of prices or volumes, is not the venue's to the last digit.
    pub(crate) symbols_different: Vec<String>,
}

impl Difference {
    /// Whether the tables are what the venue sent.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self { sent: self.sent, ..Self::default() }
    }
}

/// What the venue, or a table, says of a symbol's trades.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Trades {
    rows: u64,
    ids: u64,
    first: u64,
    last: u64,
    prices: String,
    volumes: String,
}

/// Compares all that the venue's `truth` says was heard with the tables of `name`.
pub(crate) async fn compare(database: &Database, name: &str, truth: &Value) -> anyhow::Result<Difference> {
    let trades = format!(
        "SELECT replaceOne(symbol, '/', ''), count(), uniqExact(trade_id), min(trade_id), max(trade_id), toString(sum(price)), toString(sum(volume)) \
         FROM {name}.ticks GROUP BY symbol"
    );
    let mut stored = BTreeMap::new();
    for line in database.query(&trades).await?.lines() {
        let row: Vec<&str> = line.split('\t').collect();
        let [symbol, rows, ids, first, last, prices, volumes] = row[..] else { anyhow::bail!("seven columns expected: {line}") };
        let trades = Trades {
            rows: rows.parse()?,
            ids: ids.parse()?,
            first: first.parse()?,
            last: last.parse()?,
            prices: bare(prices),
            volumes: bare(volumes),
        };
        stored.insert(symbol.to_owned(), trades);
    }
    let mut quotes = BTreeMap::<String, u64>::new();
    for line in database.query(&format!("SELECT replaceOne(symbol, '/', ''), count() FROM {name}.quotes GROUP BY symbol")).await?.lines() {
        let (symbol, rows) = line.split_once('\t').context("two columns expected")?;
        quotes.insert(symbol.to_owned(), rows.parse()?);
    }
    Ok(difference(truth, &stored, &quotes))
}

fn difference(truth: &Value, stored: &BTreeMap<String, Trades>, quotes: &BTreeMap<String, u64>) -> Difference {
    let mut difference = Difference::default();
    for stream in truth["streams"].as_array().into_iter().flatten() {
        let symbol = stream["symbol"].as_str().unwrap_or_default();
        let heard = &stream["heard"];
        let number = |key: &str| heard[key].as_u64().unwrap_or(0);
        let text = |key: &str| bare(heard[key].as_str().unwrap_or_default());
        match stream["kind"].as_str() {
            Some("trade") => {
                let sent = Trades {
                    rows: number("frames"),
                    ids: number("distinct_ids"),
                    first: number("first_id"),
                    last: number("last_id"),
                    prices: text("price_sum"),
                    volumes: text("quantity_sum"),
                };
                let arrived = stored.get(symbol).cloned().unwrap_or_default();
                difference.sent.trades += sent.rows;
                difference.trades_missing += sent.ids.saturating_sub(arrived.ids);
                difference.trades_twice += arrived.rows - arrived.ids;
                if sent != arrived && sent.rows > 0 {
                    difference.symbols_different.push(symbol.to_owned());
                }
            }
            Some("quote") => {
                let (sent, arrived) = (number("frames"), quotes.get(symbol).copied().unwrap_or(0));
                difference.sent.quotes += sent;
                difference.quotes_missing += sent.saturating_sub(arrived);
                difference.quotes_twice += arrived.saturating_sub(sent);
            }
            _ => {}
        }
    }
    difference
}

/// A number without zeros at the end of its fraction.
fn bare(number: &str) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn truth() -> Value {
        let heard = json!({"frames": 3, "distinct_ids": 3, "first_id": 7, "last_id": 9, "price_sum": "30.50000000", "quantity_sum": "2.00000000"});
        json!({"streams": [
            {"symbol": "BTCUSDT", "kind": "trade", "heard": heard},
            {"symbol": "BTCUSDT", "kind": "quote", "heard": {"frames": 4}},
        ]})
    }

    fn stored(rows: u64, ids: u64) -> BTreeMap<String, Trades> {
        let trades = Trades { rows, ids, first: 7, last: 9, prices: "30.5".to_owned(), volumes: "2".to_owned() };
        BTreeMap::from([("BTCUSDT".to_owned(), trades)])
    }

    fn quotes(rows: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("BTCUSDT".to_owned(), rows)])
    }

    #[test]
    fn tables_that_hold_what_was_sent_do_not_differ() {
        let difference = difference(&truth(), &stored(3, 3), &quotes(4));
        assert!(difference.is_none(), "{difference:?}");
        assert_eq!(difference.sent, Counts { trades: 3, quotes: 4 });
    }

    #[test]
    fn what_is_missing_and_what_is_there_twice_is_told_apart() {
        assert_eq!(
            difference(&truth(), &stored(3, 2), &quotes(6)),
            Difference {
                sent: Counts { trades: 3, quotes: 4 },
                trades_missing: 1,
                trades_twice: 1,
                quotes_missing: 0,
                quotes_twice: 2,
                symbols_different: vec!["BTCUSDT".to_owned()],
            }
        );
    }

    #[test]
    fn a_changed_price_shows_though_the_counts_agree() {
        let mut stored = stored(3, 3);
        stored.values_mut().for_each(|trades| trades.prices = "30.4".to_owned());
        assert!(!difference(&truth(), &stored, &quotes(4)).is_none());
    }
}
