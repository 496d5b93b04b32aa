//! Nanoseconds per frame on recorded frames: `cargo run --release --example decode_bench -- FILE…`

use std::hint::black_box;
use std::time::Instant;

use tapekeeper_connector::assemble::Assembler;
use tapekeeper_connector::venues::{Frame, protocol};
use tapekeeper_contract::Venue;
use tapekeeper_market::{Envelope, Event, Timestamp};

const ROUNDS: usize = 60;

fn main() {
    for path in std::env::args().skip(1) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{path}: {error}");
                continue;
            }
        };
        let name = path.rsplit('/').next().unwrap_or(&path);
        for (kind, mark) in [("trade", "@trade\""), ("quote", "@bookTicker\"")] {
            let frames: Vec<&str> = text.lines().filter(|line| line.contains(mark)).collect();
            if !frames.is_empty() {
                let bytes = frames.iter().map(|frame| frame.len()).sum::<usize>() / frames.len();
                println!(
                    "{name}: {} {kind} frames of {bytes} bytes: parse {:.0} ns, to the envelope's bytes {:.0} ns more",
                    frames.len(),
                    parse(&frames),
                    encode(&frames)
                );
            }
        }
    }
}

/// The fastest of all rounds, per frame.
fn fastest(frames: usize, mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64 / frames as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn parse(frames: &[&str]) -> f64 {
    let protocol = protocol(Venue::Binance);
    fastest(frames.len(), || {
        for frame in frames {
            let _ = black_box(protocol.parse(black_box(frame)));
        }
    })
}

fn encode(frames: &[&str]) -> f64 {
    let protocol = protocol(Venue::Binance);
    let events: Vec<Event> = frames
        .iter()
        .filter_map(|frame| match protocol.parse(frame) {
            Ok(Frame::Events(events)) => events.into_iter().next().map(|happened| happened.event),
            _ => None,
        })
        .collect();
    let Ok(instrument) = "BTC/USDT".parse() else { return f64::NAN };
    let mut assembler = Assembler::new("md/bench".into(), 1, [(0, instrument)], true);
    let now = Timestamp::default();
    let mut body = Vec::new();
    fastest(frames.len(), || {
        for event in &events {
            if let Some(draft) = assembler.push(0, event.clone(), now) {
                let envelope = Envelope {
                    id: draft.id,
                    exchange: "binance".into(),
                    instrument: draft.instrument,
                    received: now,
                    published: now,
                    events: draft.events,
                };
                body.clear();
                envelope.encode(&mut body);
                black_box(&body);
            }
        }
    })
}
