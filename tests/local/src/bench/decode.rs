//! Nanoseconds per frame of the connector's parser and encoder, without a network: its own example `decode_bench`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::product;

/// What a file's frames of one kind cost, on one core.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// The file.
    pub(crate) file: String,
    /// `trade` or `quote`.
    pub(crate) kind: String,
    /// How many frames there are.
    pub(crate) frames: u64,
    /// Their mean size.
    pub(crate) bytes: u64,
    /// From text to event.
    pub(crate) parse_ns: f64,
    /// From event to the envelope's bytes.
    pub(crate) encode_ns: f64,
}

/// Trades in the tape that stands in for recorded frames.
const SEEDED_TRADES: &str = "5000";

/// Measures on the recorded spot frames of `folder`, or on frames of a seeded tape without one.
pub(crate) fn measure(frames: Option<PathBuf>) -> anyhow::Result<Vec<Cost>> {
    let (files, _seeded) = match frames {
        Some(folder) => (recorded(&folder)?, None),
        None => {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("seeded.jsonl");
            let mut venue = Command::new(product::built(product::VENUE));
            venue.args(["frames", "--symbol", "BTCUSDT", "--trades", SEEDED_TRADES]);
            let output = venue.output().context("the tests' venue")?;
            ensure!(output.status.success(), "the tests' venue: {}", String::from_utf8_lossy(&output.stderr));
            std::fs::write(&file, output.stdout)?;
            (vec![file], Some(folder))
        }
    };
    let text = product::run_example("tapekeeper-connector", "decode_bench", &files)?;
    let costs: Vec<Cost> = text.lines().filter_map(cost).collect();
    ensure!(!costs.is_empty(), "decode_bench printed nothing that was understood: {text}");
    Ok(costs)
}

fn recorded(folder: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.join("binance");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    let name = |file: &PathBuf| file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    files.retain(|file| name(file).starts_with("spot_") && name(file).ends_with(".jsonl"));
    files.sort();
    Ok(files)
}

/// `FILE: N KIND frames of N bytes: parse N ns, to the envelope's bytes N ns more`
fn cost(line: &str) -> Option<Cost> {
    let (file, rest) = line.split_once(": ")?;
    let words: Vec<&str> = rest.split([' ', ':', ',']).filter(|word| !word.is_empty()).collect();
    let ["parse", parse, "ns", "to", "the", "envelope's", "bytes", encode, "ns", "more"] = words.get(6..)? else { return None };
    Some(Cost {
        file: file.to_owned(),
        kind: (*words.get(1)?).to_owned(),
        frames: words.first()?.parse().ok()?,
        bytes: words.get(4)?.parse().ok()?,
        parse_ns: parse.parse().ok()?,
        encode_ns: encode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_example_is_read() {
        assert_eq!(
            cost("spot.jsonl: 5432 trade frames of 173 bytes: parse 310 ns, to the envelope's bytes 240 ns more"),
            Some(Cost { file: "spot.jsonl".into(), kind: "trade".into(), frames: 5432, bytes: 173, parse_ns: 310.0, encode_ns: 240.0 })
        );
        assert_eq!(cost("spot.jsonl: No such file"), None);
    }
}
