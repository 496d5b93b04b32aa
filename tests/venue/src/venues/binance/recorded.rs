//! The recorded tape: lines of combined envelopes, played as they lie.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::tape::batch::Batch;
use crate::tape::{Event, SCALE_DIGITS, StreamInfo, StreamKind, Tape, Trade, TradeHistory, Waiting};

/// One recorded frame.
struct Line {
    stream: u32,
    event: Event,
    envelope: Box<str>,
    /// Where the inner object lies in the envelope.
    data: std::ops::Range<usize>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    stream: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The fields that the truth takes from an event. Trades: `t,p,q,T,m`; aggregate trades: `a` instead of `t`.
#[derive(Deserialize)]
struct Fields<'a> {
    s: Option<&'a str>,
    t: Option<u64>,
    a: Option<&'a RawValue>,
    u: Option<u64>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    #[serde(rename = "T")]
    time: Option<i64>,
    m: Option<bool>,
}

/// Frames of files, in order.
pub(super) struct RecordedTape {
    lines: Arc<[Line]>,
    streams: Arc<[StreamInfo]>,
    next: usize,
    has_begun: bool,
}

impl RecordedTape {
    /// Reads files, and folders' `*.jsonl` in name order.
    pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut lines, mut streams) = (Vec::new(), Vec::new());
        for file in files(paths)? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
                let line = parse(line, &mut streams).with_context(|| format!("{}:{}", file.display(), number + 1))?;
                lines.push(line);
            }
        }
        ensure!(!lines.is_empty(), "the recording holds no frame");
        Ok(Self { lines: lines.into(), streams: streams.into(), next: 0, has_begun: false })
    }

    /// The symbols in it.
    pub(super) fn symbols(&self) -> BTreeSet<String> {
        self.streams.iter().map(|info| info.symbol.clone()).collect()
    }
}

fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
            let mut within: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            within.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
            within.sort();
            ensure!(!within.is_empty(), "{} holds no .jsonl file", path.display());
            files.append(&mut within);
        } else {
            files.push(Path::to_owned(path));
        }
    }
    Ok(files)
}

fn parse(line: &str, streams: &mut Vec<StreamInfo>) -> anyhow::Result<Line> {
    let envelope: Envelope<'_> = serde_json::from_str(line).context("not a combined envelope")?;
    let start = envelope.data.get().as_ptr().addr() - line.as_ptr().addr();
    let data = start..start + envelope.data.get().len();
    let (name, channel) = envelope.stream.split_once('@').context("the stream has no channel")?;
    let fields: Fields<'_> = serde_json::from_str(envelope.data.get()).context("the event")?;
    let (kind, event) = match channel {
        "trade" => (StreamKind::Trade, Event::Trade(trade(&fields, fields.t)?)),
        "aggTrade" => {
            let id = fields.a.and_then(|id| id.get().parse().ok());
            (StreamKind::Trade, Event::Trade(trade(&fields, id)?))
        }
        "bookTicker" => (StreamKind::Quote, Event::Quote(fields.u.context("a quote without `u`")?)),
        _ => (StreamKind::Other, Event::Other),
    };
    let stream = streams.iter().position(|info| info.stream == envelope.stream).unwrap_or_else(|| {
        let symbol = fields.s.map_or_else(|| name.to_uppercase(), str::to_owned);
        streams.push(StreamInfo { stream: envelope.stream.to_owned(), symbol, kind });
        streams.len() - 1
    });
    Ok(Line { stream: stream as u32, event, envelope: line.into(), data })
}

fn trade(fields: &Fields<'_>, id: Option<u64>) -> anyhow::Result<Trade> {
    Ok(Trade {
        id: id.context("a trade without an id")?,
        price: units(fields.p.context("a trade without `p`")?)?,
        quantity: units(fields.q.context("a trade without `q`")?)?,
        time: fields.time.context("a trade without `T`")?,
        buyer_is_maker: fields.m.context("a trade without `m`")?,
    })
}

/// Decimal text as an integer in units of 10⁻⁸.
fn units(text: &str) -> anyhow::Result<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let (kept, beyond) = places.split_at(places.len().min(SCALE_DIGITS));
    ensure!(beyond.bytes().all(|byte| byte == b'0'), "'{text}' has more than {SCALE_DIGITS} decimal places");
    format!("{whole}{kept:0<SCALE_DIGITS$}").parse().with_context(|| format!("'{text}' is not a decimal"))
}

impl Tape for RecordedTape {
    fn streams(&self) -> Arc<[StreamInfo]> {
        Arc::clone(&self.streams)
    }

    fn begin(&mut self, _symbol: Option<&str>) {
        self.has_begun = true;
    }

    fn is_running(&self) -> bool {
        self.has_begun && !self.is_finished()
    }

    fn is_finished(&self) -> bool {
        self.next == self.lines.len()
    }

    fn waiting(&self) -> Waiting {
        if self.has_begun { Waiting::Nothing } else { Waiting::AllSymbols(self.symbols().into_iter().collect()) }
    }

    fn play(&mut self, _now: i64, frames: usize, batch: &mut Batch) {
        if !self.has_begun {
            return;
        }
        let until = self.lines.len().min(self.next + frames);
        for line in &self.lines[self.next..until] {
            batch.push(line.stream, line.event, line.envelope.as_bytes(), line.data.clone());
        }
        self.next = until;
    }

    fn history(&self, stream: &str) -> Option<TradeHistory> {
        let place = self.streams.iter().position(|info| info.kind == StreamKind::Trade && info.stream == stream)? as u32;
        let (lines, played) = (Arc::clone(&self.lines), self.next);
        Some(Box::new((0..played).filter_map(move |at| match &lines[at] {
            Line { stream, event: Event::Trade(trade), .. } if *stream == place => Some(*trade),
            _ => None,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_units_exactly() {
        let all = ["61837.63000000", "0.00009000", "12", "0.000000010"].map(|text| units(text).unwrap());
        assert_eq!(all, [6_183_763_000_000, 9_000, 1_200_000_000, 1]);
        assert!(units("0.000000001").is_err());
        assert!(units("1e5").is_err());
    }
}
