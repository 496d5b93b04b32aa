//! Recorded frames are played as they lie.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it as its own lines do")]

mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::Client;
use tapekeeper_test_venue::{Command, Rate, Source, TapeState, TestCertificate, Venue, VenueOptions};

/// Frames in the documented shape, with the spacing that an envelope may have kept.
const LINES: [&str; 5] = [
    r#"{"stream":"aaausdt@trade","data":{"e":"trade","E":1700000000010,"s":"AAAUSDT","t":41,"p":"1.50000000","q":"2.00000000","T":1700000000009,"m":true,"M":true}}"#,
    r#"{"stream":"aaausdt@bookTicker","data":{"u":900,"s":"AAAUSDT","b":"1.50000000","B":"3.00000000","a":"1.51000000","A":"4.00000000"}}"#,
    r#"{"stream": "bbbusdt@trade", "data": {"e":"trade","E":1700000000011,"s":"BBBUSDT","t":7,"p":"20.25000000","q":"0.00000001","T":1700000000011,"m":false,"M":true}}"#,
    r#"{"stream":"aaausdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000020,"s":"AAAUSDT","U":1,"u":2,"b":[],"a":[["1.51000000","0.00000000"]]}}"#,
    r#"{"stream":"aaausdt@trade","data":{"e":"trade","E":1700000000021,"s":"AAAUSDT","t":42,"p":"1.51000000","q":"1.00000000","T":1700000000021,"m":false,"M":true}}"#,
];

async fn venue_of(paths: Vec<PathBuf>) -> (Venue, TestCertificate) {
    let certificate = TestCertificate::for_binance().unwrap();
    let source = Source::Recorded(paths);
    let mut options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), source);
    options.rate = Rate::Max;
    (Venue::start(options).await.unwrap(), certificate)
}

fn folder_of_lines() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.jsonl"), LINES[3..].join("\n")).unwrap();
    std::fs::write(folder.path().join("a.jsonl"), LINES[..3].join("\n") + "\n").unwrap();
    std::fs::write(folder.path().join("README.md"), "not frames").unwrap();
    folder
}

#[tokio::test]
async fn a_folder_is_played_verbatim_in_name_order() {
    let folder = folder_of_lines();
    let (venue, certificate) = venue_of(vec![folder.path().to_owned()]).await;
    let path = "/stream?streams=aaausdt@trade/aaausdt@bookTicker/bbbusdt@trade/aaausdt@depth@100ms";
    let mut client = Client::connect(&venue, &certificate, path).await.unwrap();
    for line in LINES {
        assert_eq!(client.text().await, line);
    }
    let truth = venue.truth();
    assert_eq!((truth.state, truth.trades, truth.quotes), (TapeState::Finished, 3, 1));
    let trades = truth.stream("aaausdt@trade").unwrap();
    assert_eq!(trades.played, trades.heard);
    assert_eq!((trades.played.ids.ranges(), trades.played.price_sum, trades.played.quantity_sum), (&[(41, 42)][..], 301_000_000, 300_000_000));
    let ids: Vec<(u64, i64)> = venue.trades("aaausdt@trade").unwrap().map(|trade| (trade.id, trade.time)).collect();
    assert_eq!(ids, [(41, 1_700_000_000_009), (42, 1_700_000_000_021)]);
}

#[tokio::test]
async fn it_waits_until_every_symbol_has_a_listener_or_a_script_starts_it() {
    let folder = folder_of_lines();
    let (venue, certificate) = venue_of(vec![folder.path().to_owned()]).await;
    let mut client = Client::connect(&venue, &certificate, "/ws/aaausdt@trade").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(venue.truth().state, TapeState::Waiting);
    venue.script(&Command::Start {});
    let inner = |line: &str| line.split_once(r#""data":"#).unwrap().1.strip_suffix('}').unwrap().to_owned();
    assert_eq!(client.text().await, inner(LINES[0]));
    assert_eq!(client.text().await, inner(LINES[4]));
    let truth = venue.truth();
    assert_eq!((truth.trades, truth.trades_heard), (3, 2));
}

#[tokio::test]
async fn a_bad_line_is_named_with_its_file_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.jsonl");
    std::fs::write(&file, format!("{}\n{{\"stream\":\"aaausdt@trade\",\"data\":{{}}}}\n", LINES[0])).unwrap();
    let certificate = TestCertificate::for_binance().unwrap();
    let source = Source::Recorded(vec![file.clone()]);
    let options = VenueOptions::on_loopback(certificate.certificate_pem, certificate.key_pem, source);
    let error = Venue::start(options).await.err().expect("refused");
    assert_eq!(format!("{error:#}"), format!("{}:2: a trade without an id", file.display()));
}

/// The folder of recorded Binance frames, when this machine has one.
fn real_frames() -> Option<PathBuf> {
    let folder =
        std::env::var_os("TAPEKEEPER_FRAMES").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/frames"), PathBuf::from);
    let binance = folder.join("binance");
    binance.is_dir().then_some(binance)
}

#[tokio::test]
async fn real_recordings_are_played_verbatim() {
    let Some(folder) = real_frames() else {
        eprintln!("SKIPPED: no recorded frames; set TAPEKEEPER_FRAMES to a folder that holds binance/*.jsonl");
        return;
    };
    for name in ["spot_btcusdt_20240808_stream.jsonl", "spot_btcusdt_20240808_trades.jsonl", "spot_multi_20210417_stream.jsonl"] {
        let file = folder.join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        let mut per_stream: BTreeMap<String, u64> = BTreeMap::new();
        for line in text.lines() {
            let frame: serde_json::Value = serde_json::from_str(line).unwrap();
            *per_stream.entry(frame["stream"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let (venue, certificate) = venue_of(vec![file]).await;
        let streams: Vec<&str> = per_stream.keys().map(String::as_str).collect();
        let path = format!("/stream?streams={}", streams.join("/"));
        let mut client = Client::connect(&venue, &certificate, &path).await.unwrap();
        for (number, line) in text.lines().enumerate() {
            assert_eq!(client.text().await, line, "{name}:{}", number + 1);
        }
        let truth = venue.truth();
        let heard: BTreeMap<String, u64> = truth.streams.iter().map(|stream| (stream.info.stream.clone(), stream.heard.frames)).collect();
        assert_eq!(heard, per_stream);
    }
}
