//! The seeded tape: each symbol's trades are a function of the seed and its name alone, so that they can be drawn
//! again for the truth instead of being kept.

use std::sync::Arc;

use crate::options::{Seeded, StartMode};
use crate::tape::batch::Batch;
use crate::tape::random::Random;
use crate::tape::times::Times;
use crate::tape::{Event, StreamInfo, StreamKind, Tape, Trade, TradeHistory, Waiting};

use super::symbols::Market;

/// Draws the trades of one symbol, without their times.
#[derive(Debug, Clone)]
struct Trades {
    random: Random,
    market: Market,
    next_id: u64,
    /// Best bid in ticks; the best ask is one tick above.
    bid: u64,
    buyer_is_maker: bool,
}

/// A trade before its time is known.
struct Drawn {
    id: u64,
    price: u64,
    quantity: u64,
    buyer_is_maker: bool,
    /// Whether the next trade shares this one's time.
    is_followed: bool,
}

impl Trades {
    fn new(seed: u64, symbol: &str) -> Self {
        let market = Market::of(seed, symbol);
        let mut random = Random::for_name(seed, symbol);
        let next_id = 1_000_000_000 + random.bits() % 4_000_000_000;
        let bid = market.start / market.tick;
        Self { random, market, next_id, bid, buyer_is_maker: false }
    }

    /// One draw of 64 bits serves a whole trade; each use takes bits of its own.
    #[inline]
    fn draw(&mut self) -> Drawn {
        let bits = self.random.bits();
        // The taker's side changes once in four trades, and the price moves once in four, by 1 to 8 ticks.
        if bits & 0x3 == 0 {
            self.buyer_is_maker = !self.buyer_is_maker;
        }
        if bits >> 2 & 0x3 == 0 {
            let step = 1 + (bits >> 4 & 0x7);
            let middle = self.market.start / self.market.tick;
            let up = if self.bid > middle * 2 { false } else { self.bid < middle / 2 + 16 || bits >> 7 & 1 == 1 };
            self.bid = if up { self.bid + step } else { self.bid.saturating_sub(step).max(1) };
        }
        let ticks = if self.buyer_is_maker { self.bid } else { self.bid + 1 };
        // Small trades are common and large ones rare: 4 to 19 random bits of lots.
        let lots = 1 + (bits >> 32 & ((1 << (4 + (bits >> 8 & 0xf))) - 1));
        let id = self.next_id;
        self.next_id += 1;
        Drawn {
            id,
            price: ticks * self.market.tick,
            quantity: lots * self.market.lot,
            buyer_is_maker: self.buyer_is_maker,
            is_followed: bits >> 12 & 0x7 < 3,
        }
    }
}

/// One symbol of the tape.
struct SymbolTape {
    symbol: String,
    trades: Trades,
    /// Times, quote sizes and update ids have a generator of their own: they must not move the trades.
    around: Random,
    played: u64,
    times: Times,
    last_time: i64,
    update_id: u64,
    has_begun: bool,
    /// The text of a trade up to its event time; the inner object begins at the second.
    trade_head: (Vec<u8>, usize),
    trade_symbol: Vec<u8>,
    /// The text of a quote up to its update id.
    quote_head: (Vec<u8>, usize),
    quote_symbol: Vec<u8>,
}

impl SymbolTape {
    fn new(seed: u64, symbol: &str, has_begun: bool) -> Self {
        let lower = symbol.to_lowercase();
        let head = |channel: &str, object: &str| {
            let envelope = format!(r#"{{"stream":"{lower}@{channel}","data":"#);
            let data = envelope.len();
            ((envelope + object).into_bytes(), data)
        };
        let mut around = Random::for_name(seed, &lower);
        Self {
            symbol: symbol.to_owned(),
            trades: Trades::new(seed, symbol),
            update_id: 10_000_000_000 + around.bits() % 90_000_000_000,
            around,
            played: 0,
            times: Times::default(),
            last_time: 0,
            has_begun,
            trade_head: head("trade", r#"{"e":"trade","E":"#),
            trade_symbol: format!(r#","s":"{symbol}","t":"#).into_bytes(),
            quote_head: head("bookTicker", r#"{"u":"#),
            quote_symbol: format!(r#","s":"{symbol}","b":""#).into_bytes(),
        }
    }

    /// Writes a spot trade: `e,E,s,t,p,q,T,m,M`.
    #[inline]
    fn push_trade(&self, stream: u32, trade: Trade, now: &Millis, text: &mut Vec<u8>, batch: &mut Batch) {
        let (head, data) = &self.trade_head;
        text.clear();
        text.extend_from_slice(head);
        text.extend_from_slice(now.text.as_bytes());
        text.extend_from_slice(&self.trade_symbol);
        text.extend_from_slice(itoa::Buffer::new().format(trade.id).as_bytes());
        text.extend_from_slice(br#","p":""#);
        push_decimal(text, trade.price);
        text.extend_from_slice(br#"","q":""#);
        push_decimal(text, trade.quantity);
        text.extend_from_slice(br#"","T":"#);
        text.extend_from_slice(itoa::Buffer::new().format(trade.time).as_bytes());
        text.extend_from_slice(if trade.buyer_is_maker { br#","m":true,"M":true}}"# } else { br#","m":false,"M":true}}"# });
        batch.push(stream, Event::Trade(trade), text, *data..text.len() - 1);
    }

    /// Writes a spot best bid and ask: `u,s,b,B,a,A`, without an event type or a time.
    #[inline]
    fn push_quote(&mut self, stream: u32, text: &mut Vec<u8>, batch: &mut Batch) {
        let bits = self.around.bits();
        self.update_id += 1 + bits % 7;
        let market = &self.trades.market;
        let (head, data) = &self.quote_head;
        text.clear();
        text.extend_from_slice(head);
        text.extend_from_slice(itoa::Buffer::new().format(self.update_id).as_bytes());
        text.extend_from_slice(&self.quote_symbol);
        push_decimal(text, self.trades.bid * market.tick);
        text.extend_from_slice(br#"","B":""#);
        push_decimal(text, (1 + (bits >> 8 & 0xf_ffff)) * market.lot);
        text.extend_from_slice(br#"","a":""#);
        push_decimal(text, (self.trades.bid + 1) * market.tick);
        text.extend_from_slice(br#"","A":""#);
        push_decimal(text, (1 + (bits >> 32 & 0xf_ffff)) * market.lot);
        text.extend_from_slice(br#""}}"#);
        batch.push(stream, Event::Quote(self.update_id), text, *data..text.len() - 1);
    }
}

/// A time in milliseconds with its decimal text.
struct Millis {
    value: i64,
    text: String,
}

impl Millis {
    fn new(value: i64) -> Self {
        Self { value, text: value.to_string() }
    }
}

/// Appends an integer in units of 10⁻⁸ as decimal text with 8 places.
#[inline]
fn push_decimal(out: &mut Vec<u8>, units: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(units / 100_000_000).as_bytes());
    let mut places = *b".00000000";
    let mut rest = (units % 100_000_000) as u32;
    for place in places[1..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&places);
}

/// The tape of a seed. Stream `2n` is the trades of the nth symbol, `2n + 1` its quotes.
pub(super) struct SeededTape {
    seed: u64,
    symbols: Vec<SymbolTape>,
    streams: Arc<[StreamInfo]>,
    /// Symbols that run, by place.
    running: Vec<usize>,
    /// The next of `running` to play.
    turn: usize,
    quotes_per_trade: u32,
    length: u64,
    text: Vec<u8>,
}

impl SeededTape {
    pub(super) fn new(options: &Seeded) -> Self {
        let has_begun = options.start == StartMode::Immediately;
        let symbols: Vec<_> = options.symbols.iter().map(|symbol| SymbolTape::new(options.seed, symbol, has_begun)).collect();
        let stream = |symbol: &str, channel: &str, kind| StreamInfo {
            stream: format!("{}@{channel}", symbol.to_lowercase()),
            symbol: symbol.to_owned(),
            kind,
        };
        let streams = options
            .symbols
            .iter()
            .flat_map(|symbol| [stream(symbol, "trade", StreamKind::Trade), stream(symbol, "bookTicker", StreamKind::Quote)])
            .collect();
        let length = options.length.unwrap_or(u64::MAX);
        let running = if has_begun && length > 0 { (0..symbols.len()).collect() } else { Vec::new() };
        Self {
            seed: options.seed,
            symbols,
            streams,
            running,
            turn: 0,
            quotes_per_trade: options.quotes_per_trade,
            length,
            text: Vec::with_capacity(256),
        }
    }

    /// Plays trades of one symbol that share a time, and the quotes that follow each.
    fn play_burst(&mut self, place: usize, now: &Millis, batch: &mut Batch) {
        let (length, quotes) = (self.length, self.quotes_per_trade);
        let symbol = &mut self.symbols[place];
        // The venue stamps some trades the millisecond before it sends them; times never run backwards.
        let time = (now.value - i64::from(symbol.around.bits() & 0x3 == 0)).max(symbol.last_time);
        symbol.last_time = time;
        loop {
            let Drawn { id, price, quantity, buyer_is_maker, is_followed } = symbol.trades.draw();
            let trade = Trade { id, price, quantity, time, buyer_is_maker };
            symbol.push_trade(2 * place as u32, trade, now, &mut self.text, batch);
            symbol.times.push(time);
            symbol.played += 1;
            for _ in 0..quotes {
                symbol.push_quote(2 * place as u32 + 1, &mut self.text, batch);
            }
            if !is_followed || symbol.played == length {
                return;
            }
        }
    }
}

impl Tape for SeededTape {
    fn streams(&self) -> Arc<[StreamInfo]> {
        Arc::clone(&self.streams)
    }

    fn begin(&mut self, symbol: Option<&str>) {
        for (place, tape) in self.symbols.iter_mut().enumerate() {
            if !tape.has_begun && symbol.is_none_or(|symbol| symbol == tape.symbol) {
                tape.has_begun = true;
                if self.length > 0 {
                    self.running.push(place);
                }
            }
        }
    }

    fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    fn is_finished(&self) -> bool {
        self.symbols.iter().all(|symbol| symbol.played >= self.length)
    }

    fn waiting(&self) -> Waiting {
        let waiting: Vec<String> = self.symbols.iter().filter(|symbol| !symbol.has_begun).map(|symbol| symbol.symbol.clone()).collect();
        if waiting.is_empty() { Waiting::Nothing } else { Waiting::EachSymbol(waiting) }
    }

    fn play(&mut self, now: i64, frames: usize, batch: &mut Batch) {
        let now = Millis::new(now);
        let until = batch.frames().len() + frames;
        while batch.frames().len() < until && !self.running.is_empty() {
            if self.turn >= self.running.len() {
                self.turn = 0;
            }
            let place = self.running[self.turn];
            self.play_burst(place, &now, batch);
            if self.symbols[place].played >= self.length {
                self.running.remove(self.turn);
            } else {
                self.turn += 1;
            }
        }
    }

    fn history(&self, stream: &str) -> Option<TradeHistory> {
        let place = self.streams.iter().position(|info| info.kind == StreamKind::Trade && info.stream == stream)? / 2;
        let symbol = &self.symbols[place];
        let mut trades = Trades::new(self.seed, &symbol.symbol);
        Some(Box::new(symbol.times.clone().into_times().map(move |time| {
            let Drawn { id, price, quantity, buyer_is_maker, .. } = trades.draw();
            Trade { id, price, quantity, time, buyer_is_maker }
        })))
    }
}
