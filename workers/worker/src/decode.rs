//! `tapekeeper-worker decode`: what the connector would understand of recorded frames.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use tapekeeper_connector::venues::{self, Frame, Protocol, UnknownSymbol};
use tapekeeper_contract::Venue;
use tapekeeper_market::{Event, Instrument, json};

/// No venue sends a longer frame; a longer line is reported and skipped.
const MAX_LINE: u64 = 64 << 20;
/// Output is handed on when so much of it is there, or when the input has nothing more for now.
const WRITE_AT: usize = 64 << 10;
/// Symbols remembered; more than any venue lists.
const MAX_SYMBOLS: usize = 100_000;
/// Channels counted by name.
const MAX_CHANNELS: usize = 64;

/// What to decode.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Whose frames they are
    #[arg(long, value_parser = PossibleValuesParser::new(Venue::ALL.iter().map(|venue| venue.tape_name())).map(|name| Venue::from_tape_name(&name).unwrap_or(Venue::Binance)))]
    venue: Venue,
    /// Instruments (BTC/USDT,ETH/USDT) whose symbols are known; any other symbol is split by what the venue quotes in
    #[arg(long, value_delimiter = ',')]
    symbols: Vec<Instrument>,
    /// The frames, one a line; standard input when there is no file, or `-`
    file: Option<PathBuf>,
}

/// Events go to standard output, complaints and a summary to standard error. The status is 1 when a frame was not understood, 2 when the input can't be read.
pub(crate) fn run(options: &Options) -> ExitCode {
    let input: Box<dyn Read> = match options.file.as_deref() {
        None => Box::new(io::stdin().lock()),
        Some(path) if path.as_os_str() == "-" => Box::new(io::stdin().lock()),
        Some(path) => match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(2);
            }
        },
    };
    let mut decoder = Decoder::new(options.venue, &options.symbols);
    match decode(&mut decoder, BufReader::with_capacity(WRITE_AT, input), &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(()) => {}
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return decoder.summary.status(),
        Err(error) => {
            eprintln!("decode: {error}");
            return ExitCode::from(2);
        }
    }
    eprintln!("{}", decoder.summary);
    decoder.summary.status()
}

fn decode<R: Read>(decoder: &mut Decoder, mut input: BufReader<R>, out: &mut impl Write, complaints: &mut impl Write) -> io::Result<()> {
    let (mut line, mut events) = (Vec::new(), Vec::with_capacity(2 * WRITE_AT));
    let mut number = 0_u64;
    loop {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let complaint = if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            Err(decoder.not_understood(format!("longer than {MAX_LINE} bytes")))
        } else {
            decoder.frame(&line, &mut events)
        };
        if let Err(why) = complaint {
            writeln!(complaints, "line {number}: not understood: {why}")?;
        }
        if events.len() >= WRITE_AT || input.buffer().is_empty() {
            out.write_all(&events)?;
            out.flush()?;
            events.clear();
        }
    }
    out.write_all(&events)?;
    out.flush()
}

struct Decoder {
    venue: Venue,
    protocol: &'static dyn Protocol,
    instruments: HashMap<Box<str>, Instrument>,
    summary: Summary,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    frames: u64,
    trades: u64,
    quotes: u64,
    ignored: BTreeMap<String, u64>,
    not_understood: u64,
}

impl Decoder {
    fn new(venue: Venue, known: &[Instrument]) -> Self {
        let protocol = venues::protocol(venue);
        let instruments = known.iter().map(|instrument| (protocol.symbol(instrument).into(), instrument.clone())).collect();
        Self { venue, protocol, instruments, summary: Summary::default() }
    }

    /// Appends the events of a line, or says why it is not understood. An event is written only when its whole frame is understood.
    fn frame(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let frame = std::str::from_utf8(line)
            .map_err(|error| format!("FrameMalformed: not UTF-8 from byte {} on", error.valid_up_to()))
            .and_then(|text| self.protocol.parse(text).map_err(|error| format!("{}: {error}", error.reason())))
            .map_err(|why| self.not_understood(why))?;
        match frame {
            Frame::Events(events) => {
                let (start, exchange) = (out.len(), self.venue.tape_name());
                let (mut trades, mut quotes) = (0, 0);
                for happened in &events {
                    let instrument = match self.instrument(&happened.symbol) {
                        Ok(instrument) => instrument,
                        Err(error) => {
                            out.truncate(start);
                            return Err(self.not_understood(format!("SymbolUnknown: {error}")));
                        }
                    };
                    match happened.event {
                        Event::Trade(_) => trades += 1,
                        Event::Quote(_) => quotes += 1,
                        Event::Connected(_) | Event::Disconnected(_) => {}
                    }
                    json::write_event(&happened.event, Some((exchange, instrument.symbol())), out);
                    out.push(b'\n');
                }
                self.summary.frames += 1;
                self.summary.trades += trades;
                self.summary.quotes += quotes;
            }
            Frame::Ignored { channel } => self.ignored(&channel),
            Frame::Answer { .. } | Frame::Closing | Frame::Complaint(_) => self.ignored("control"),
        }
        Ok(())
    }

    fn instrument(&mut self, symbol: &str) -> Result<&Instrument, UnknownSymbol> {
        if !self.instruments.contains_key(symbol) {
            let instrument = self.protocol.instrument(symbol)?;
            if self.instruments.len() >= MAX_SYMBOLS {
                self.instruments.clear();
            }
            self.instruments.insert(symbol.into(), instrument);
        }
        Ok(&self.instruments[symbol])
    }

    fn ignored(&mut self, channel: &str) {
        self.summary.frames += 1;
        let known = self.summary.ignored.len() < MAX_CHANNELS || self.summary.ignored.contains_key(channel);
        *self.summary.ignored.entry(if known { channel } else { "other" }.to_owned()).or_default() += 1;
    }

    fn not_understood(&mut self, why: String) -> String {
        self.summary.frames += 1;
        self.summary.not_understood += 1;
        why
    }
}

impl Summary {
    fn status(&self) -> ExitCode {
        ExitCode::from(u8::from(self.not_understood > 0))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ignored: u64 = self.ignored.values().sum();
        write!(f, "{} frames: {} trades, {} quotes, {ignored} ignored", self.frames, self.trades, self.quotes)?;
        for (position, (channel, count)) in self.ignored.iter().enumerate() {
            write!(f, "{}{channel} {count}", if position == 0 { " (" } else { ", " })?;
        }
        write!(f, "{}, {} not understood", if self.ignored.is_empty() { "" } else { ")" }, self.not_understood)
    }
}
