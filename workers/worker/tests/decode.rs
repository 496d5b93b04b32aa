//! `tapekeeper-worker decode`, as its users run it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
const QUOTE: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#;
const DEPTH: &str = r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","b":[],"a":[]}}"#;
const ACK: &str = r#"{"result":null,"id":1}"#;

const TRADE_EVENT: &str = r#"{"type":"trade","exchange":"binance","symbol":"BTC/USDT","timestamp":"2024-08-08T23:54:15.342000Z","trade_id":3735683259,"price":"61837.63000000","volume":"0.02000000","side":"sell"}"#;
const QUOTE_EVENT: &str = r#"{"type":"quote","exchange":"binance","symbol":"BTC/USDT","timestamp":null,"update_id":50093239212,"bid_price":"61837.63000000","bid_volume":"3.78826000","ask_price":"61837.64000000","ask_volume":"1.54698000"}"#;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapekeeper-worker"));
    command.args(["decode", "--venue", "binance"]).args(arguments);
    command
}

/// Status, standard output and standard error for that input.
fn decode(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn lines(lines: &[&str]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

#[test]
fn frames_become_events_in_their_order() {
    let (status, events, summary) = decode(&[], &lines(&[ACK, QUOTE, "", TRADE, DEPTH, QUOTE]));
    assert_eq!(events, format!("{QUOTE_EVENT}\n{TRADE_EVENT}\n{QUOTE_EVENT}\n"));
    assert_eq!(summary, "5 frames: 1 trades, 2 quotes, 2 ignored (control 1, depth 1), 0 not understood\n");
    assert_eq!(status, Some(0));
}

#[test]
fn a_frame_that_is_not_understood_is_named_and_stops_nothing() {
    let negative = TRADE.replace("61837.63000000", "-1");
    let mut input = lines(&[TRADE, "{", "", &negative, r#"{"hello":1}"#]);
    input.extend_from_slice(b"\n\xff\xfe\r\n");
    input.extend_from_slice(QUOTE.as_bytes());
    let (status, events, complaints) = decode(&[], &input);
    assert_eq!(events, format!("{TRADE_EVENT}\n{QUOTE_EVENT}\n"));
    let starts = [
        "line 2: not understood: FrameMalformed: EOF",
        "line 4: not understood: FrameFieldInvalid: field `p`: `-1` is negative",
        "line 5: not understood: FrameUnknown: nothing that this venue is known to send",
        "line 6: not understood: FrameMalformed: not UTF-8 from byte 0 on",
        "6 frames: 1 trades, 1 quotes, 0 ignored, 4 not understood",
    ];
    assert_eq!(complaints.lines().count(), starts.len(), "{complaints}");
    for (line, start) in complaints.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(status, Some(1));
}

#[test]
fn a_symbol_that_cannot_be_split_is_named_unless_it_is_given() {
    let unknown = TRADE.replace("BTCUSDT", "BTCXYZ");
    let (status, events, complaints) = decode(&[], unknown.as_bytes());
    assert_eq!((status, events.as_str()), (Some(1), ""));
    assert!(
        complaints.starts_with("line 1: not understood: SymbolUnknown: symbol `BTCXYZ` ends with no known quote asset of Binance"),
        "{complaints}"
    );

    let (status, events, _) = decode(&["--symbols", "ETH/USDT,BTC/XYZ"], unknown.as_bytes());
    assert_eq!((status, events), (Some(0), format!("{}\n", TRADE_EVENT.replace("BTC/USDT", "BTC/XYZ"))));
}

#[test]
fn a_file_is_read_like_standard_input() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&lines(&[TRADE, QUOTE])).unwrap();
    let output = command(&[file.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{TRADE_EVENT}\n{QUOTE_EVENT}\n"));
    assert_eq!(output.status.code(), Some(0));

    let output = command(&["nowhere.jsonl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("nowhere.jsonl: "));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    let many = format!("{TRADE}\n").repeat(5_000);
    // The decoder may end before it has read everything.
    let _ = input.write_all(many.as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn an_unknown_venue_is_refused_with_those_that_there_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapekeeper-worker")).args(["decode", "--venue", "nasdaq"]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && complaint.contains("binance"), "{complaint}");
}
