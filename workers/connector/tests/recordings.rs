//! Frames that other people recorded from the real venue, against a count that knows nothing of the parser: a scan of the files' text.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use tapekeeper_connector::venues::{Frame, protocol};
use tapekeeper_contract::Venue;
use tapekeeper_market::Event;

/// The folder of recordings, when this machine has it.
fn recordings() -> Option<PathBuf> {
    let given = std::env::var_os("TAPEKEEPER_FRAMES").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/frames"))).join("binance");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no recordings in {}; TAPEKEEPER_FRAMES names their folder", folder.display());
    None
}

/// The text between `"key":"` or `"key":` and what ends it.
fn scan<'l>(line: &'l str, key: &str) -> &'l str {
    let (_, rest) = line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {line}"));
    let rest = rest.strip_prefix('"').unwrap_or(rest);
    &rest[..rest.find(['"', ',', '}']).unwrap()]
}

/// What a line says, read by nothing but its text; `None` for channels that are not taken.
fn scanned(line: &str) -> Option<Vec<&str>> {
    let stream = scan(line, "stream");
    let keys: &[&str] = if stream.ends_with("@trade") {
        &["s", "t", "p", "q", "T", "m"]
    } else if stream.ends_with("@bookTicker") {
        &["s", "u", "b", "B", "a", "A"]
    } else {
        return None;
    };
    Some(keys.iter().map(|key| scan(line, key)).collect())
}

/// The same, from what the parser understood.
fn understood(frame: Frame<'_>) -> Option<Vec<String>> {
    let Frame::Events(events) = frame else { return None };
    assert_eq!(events.len(), 1);
    let symbol = events[0].symbol.to_string();
    Some(match &events[0].event {
        Event::Trade(trade) => vec![
            symbol,
            trade.trade_id.to_string(),
            trade.price.to_string(),
            trade.volume.to_string(),
            (trade.timestamp.as_micros() / 1_000).to_string(),
            (trade.side.as_str() == "sell").to_string(),
        ],
        Event::Quote(quote) => {
            let top = &quote.top;
            let numbers = [top.bid_price, top.bid_volume, top.ask_price, top.ask_volume].map(|number| number.to_string());
            [symbol, quote.update_id.unwrap().to_string()].into_iter().chain(numbers).collect()
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_recorded_frame_is_understood_and_says_what_its_text_says() {
    let Some(folder) = recordings() else { return };
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".jsonl") || name.starts_with("control") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let count = counts.entry(name.clone()).or_default();
            count[if line.contains("@trade\"") {
                0
            } else if line.contains("@bookTicker\"") {
                1
            } else {
                2
            }] += 1;
            let frame = protocol(Venue::Binance).parse(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            let expected = scanned(line).map(|fields| fields.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(understood(frame), expected, "{name}: {line}");
        }
    }
    // Trades, quotes and others of the recordings that are known.
    for (name, expected) in [("spot_btcusdt_20240808_stream.jsonl", [1_185, 4_515, 545]), ("spot_btcusdt_20240808_trades.jsonl", [9_757, 0, 0])] {
        if let Some(count) = counts.get(name) {
            assert_eq!(*count, expected, "{name}");
        }
    }
    assert!(!counts.is_empty(), "the folder holds no recording");
}
