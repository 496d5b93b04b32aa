//! The frames of a seeded tape as text, for measurements that need frames and have none that were recorded.

use std::io::Write as _;

use tapekeeper_test_venue::tape::batch::Batch;
use tapekeeper_test_venue::venues::binance;
use tapekeeper_test_venue::{Seeded, Source, StartMode};

/// Frames drawn at once.
const AT_ONCE: usize = 512;
/// Milliseconds since 1970 of all frames: the same seed writes the same text.
const TIME: i64 = 1_700_000_000_000;

/// Writes `trades` trades of `symbol`, each with a quote behind it, in combined envelopes.
pub(crate) fn write(seed: u64, symbol: String, trades: u64) -> anyhow::Result<()> {
    let source = Source::Seeded(Seeded { seed, symbols: vec![symbol], quotes_per_trade: 1, length: Some(trades), start: StartMode::Immediately });
    let (mut tape, _) = binance::open(&source)?;
    let streams = tape.streams();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut batch = Batch::default();
    while !tape.is_finished() {
        batch.clear();
        tape.play(TIME, AT_ONCE, &mut batch);
        for frame in batch.frames() {
            write!(out, r#"{{"stream":"{}","data":"#, streams[frame.stream as usize].stream)?;
            out.write_all(batch.data(frame))?;
            out.write_all(b"}\n")?;
        }
    }
    Ok(out.flush()?)
}
