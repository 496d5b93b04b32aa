//! The floor of the venue: its tape, who listens to it, and the truth, under one lock, so that what counts as heard is
//! exactly what was queued for a listener.

mod seat;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use crate::clock;
use crate::options::{Limits, Rate};
use crate::script::Command;
use crate::tape::batch::Batch;
use crate::tape::driver::Pace;
use crate::tape::{StreamInfo, StreamKind, Tape, TradeHistory, Waiting};
use crate::truth::{IdSet, StreamTruth, Tally, TapeState, Truth};
use crate::venues::{Answer, Change, Form, Protocol};

pub use seat::ConnectionView;
use seat::{Ending, FULL, Listener};
pub(crate) use seat::{Outgoing, Seat};

/// Close code: a limit or a rule was broken.
pub(crate) const POLICY: u16 = 1008;

struct State {
    tape: Box<dyn Tape>,
    played: Vec<Tally>,
    heard: Vec<Tally>,
    listening: Vec<u32>,
    listeners: BTreeMap<u64, Listener>,
    next_id: u64,
    pace: Pace,
    is_paused: bool,
    /// `Some(pings)` while muted.
    mute: Option<bool>,
    /// When symbols that got their listener may begin; the empty name stands for all.
    begins: BTreeMap<String, Instant>,
    too_slow: u64,
    /// Which of the tape's streams a batch holds; kept for its memory.
    present: Vec<bool>,
}

/// The floor.
pub struct Floor {
    state: Mutex<State>,
    moved: Notify,
    streams: Arc<[StreamInfo]>,
    places: HashMap<String, usize>,
    protocol: Arc<dyn Protocol>,
    limits: Limits,
    settle: Duration,
}

/// What one step of the tape came to. The batch comes back either way, to be used again.
pub enum Step {
    /// Frames were played.
    Played(Arc<Batch>),
    /// Nothing to do until the floor moves, or until then.
    Wait {
        /// When to look again, if nothing happens before.
        until: Option<Instant>,
        /// The batch.
        batch: Arc<Batch>,
    },
}

impl Floor {
    /// A floor around a tape.
    pub(crate) fn new(tape: Box<dyn Tape>, protocol: Arc<dyn Protocol>, rate: Rate, limits: Limits, settle: Duration) -> Arc<Self> {
        let streams = tape.streams();
        let count = streams.len();
        let places = streams.iter().enumerate().map(|(place, info)| (info.stream.clone(), place)).collect();
        let state = State {
            tape,
            played: vec![Tally::default(); count],
            heard: vec![Tally::default(); count],
            listening: vec![0; count],
            listeners: BTreeMap::new(),
            next_id: 1,
            pace: Pace::new(rate, Instant::now()),
            is_paused: false,
            mute: None,
            begins: BTreeMap::new(),
            too_slow: 0,
            present: vec![false; count],
        };
        Arc::new(Self { state: Mutex::new(state), moved: Notify::new(), streams, places, protocol, limits, settle })
    }

    /// The venue's protocol.
    pub(crate) fn protocol(&self) -> &dyn Protocol {
        &*self.protocol
    }

    /// The venue's limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits until something changed that may let the tape go on.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another task must not hide the truth from the test that looks for its cause.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the tape on by at most a batch.
    pub(crate) fn step(&self, now: Instant, mut batch: Arc<Batch>) -> Step {
        let mut guard = self.lock();
        let state = &mut *guard;
        let next_begin = state.begin_what_is_due(now);
        if state.is_paused || !state.tape.is_running() {
            state.pace.restart(now);
            return Step::Wait { until: next_begin, batch };
        }
        if state.pace.rate() == Rate::Max {
            let is_heard = state.mute.is_none() && state.listening.iter().any(|count| *count > 0);
            let is_full = |line: &Listener| !line.is_closing && line.backlog.load(Ordering::Acquire) >= FULL;
            if !is_heard || state.listeners.values().any(is_full) {
                return Step::Wait { until: next_begin, batch };
            }
        }
        let frames = match state.pace.due(now) {
            Ok(frames) => frames,
            Err(due) => {
                return Step::Wait { until: Some(next_begin.map_or(due, |begin| begin.min(due))), batch };
            }
        };
        let Some(fresh) = Arc::get_mut(&mut batch) else {
            // Somebody still holds it: the driver brings another.
            return Step::Played(batch);
        };
        fresh.clear();
        state.tape.play(clock::millis(), frames, fresh);
        state.pace.played(fresh.frames().len());
        state.publish(&batch, &self.limits);
        Step::Played(batch)
    }

    /// Takes a new connection onto the floor.
    pub(crate) fn join(self: &Arc<Self>, peer: SocketAddr, host: String, form: Form, streams: Vec<String>) -> Seat {
        let (sender, queue) = unbounded_channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let ending = Arc::new(Ending::default());
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let listener = Listener {
            peer,
            host,
            form,
            opened: clock::millis(),
            held: BTreeSet::new(),
            interest: vec![false; self.streams.len()].into(),
            queue: sender,
            backlog: Arc::clone(&backlog),
            ending: Arc::clone(&ending),
            frames: 0,
            is_closing: false,
        };
        state.listeners.insert(id, listener);
        self.change(&mut state, id, Change::Subscribe(streams));
        Seat { id, queue, ending, floor: Arc::clone(self), backlog }
    }

    fn leave(&self, id: u64) {
        let mut state = self.lock();
        if let Some(gone) = state.listeners.remove(&id)
            && !gone.is_closing
        {
            state.stop_listening(&gone.interest);
        }
        drop(state);
        self.moved.notify_one();
    }

    /// Answers a text message of a connection.
    pub(crate) fn answer(&self, id: u64, message: &str) {
        let mut state = self.lock();
        let Some(listener) = state.listeners.get_mut(&id) else { return };
        let Answer { reply, change } = self.protocol.answer(message, &listener.held, self.limits.streams_per_connection);
        listener.send(Outgoing::Text(reply));
        self.change(&mut state, id, change);
    }

    /// Queues something for one connection.
    pub(crate) fn send(&self, id: u64, outgoing: Outgoing) {
        let mut state = self.lock();
        state.send(id, outgoing);
        drop(state);
        self.moved.notify_one();
    }

    /// Queues the notice of a planned shutdown for one connection.
    pub(crate) fn announce_shutdown(&self, id: u64) {
        let mut state = self.lock();
        if let Some(listener) = state.listeners.get_mut(&id) {
            let notice = self.protocol.shutdown_notice(listener.form, clock::millis());
            listener.send(Outgoing::Text(notice));
        }
    }

    /// Whether the server's pings go out.
    pub(crate) fn pings(&self) -> bool {
        self.lock().mute.unwrap_or(true)
    }

    fn change(&self, state: &mut State, id: u64, change: Change) {
        let Some(listener) = state.listeners.get_mut(&id) else { return };
        match change {
            Change::None => return,
            Change::Subscribe(streams) => listener.held.extend(streams),
            Change::Unsubscribe(streams) => streams.iter().for_each(|stream| {
                listener.held.remove(stream);
            }),
        }
        let mut interest = vec![false; self.streams.len()];
        for place in listener.held.iter().filter_map(|stream| self.places.get(stream)) {
            interest[*place] = true;
        }
        let interest: Arc<[bool]> = interest.into();
        if listener.is_closing {
            return;
        }
        listener.send(Outgoing::Interest(Arc::clone(&interest)));
        let before = std::mem::replace(&mut listener.interest, Arc::clone(&interest));
        for (count, (before, after)) in state.listening.iter_mut().zip(before.iter().zip(interest.iter())) {
            match (before, after) {
                (false, true) => *count += 1,
                (true, false) => *count -= 1,
                _ => {}
            }
        }
        self.plan_begins(state);
        self.moved.notify_one();
    }

    /// Notes when symbols that now have a listener may begin.
    fn plan_begins(&self, state: &mut State) {
        let heard: BTreeSet<&str> =
            self.streams.iter().zip(&state.listening).filter(|(_, count)| **count > 0).map(|(info, _)| info.symbol.as_str()).collect();
        let at = Instant::now() + self.settle;
        match state.tape.waiting() {
            Waiting::Nothing => {}
            Waiting::EachSymbol(symbols) => {
                for symbol in symbols.into_iter().filter(|symbol| heard.contains(symbol.as_str())) {
                    state.begins.entry(symbol).or_insert(at);
                }
            }
            Waiting::AllSymbols(symbols) => {
                if symbols.iter().all(|symbol| heard.contains(symbol.as_str())) {
                    state.begins.entry(String::new()).or_insert(at);
                }
            }
        }
    }

    /// Does what a test's script says. Returns how many connections were open.
    pub(crate) fn script(&self, command: &Command) -> usize {
        let mut guard = self.lock();
        let state = &mut *guard;
        let now = Instant::now();
        match command {
            Command::Start {} => state.tape.begin(None),
            Command::Pause {} => state.is_paused = true,
            Command::Resume {} => state.is_paused = false,
            Command::Rate { rate } => state.pace = Pace::new(*rate, now),
            Command::Mute { pings } => state.mute = Some(*pings),
            Command::Unmute {} => state.mute = None,
            Command::Close { code, reason, announce } => {
                let ids: Vec<u64> = state.listeners.keys().copied().collect();
                for id in ids {
                    if *announce && let Some(listener) = state.listeners.get_mut(&id) {
                        let notice = self.protocol.shutdown_notice(listener.form, clock::millis());
                        listener.send(Outgoing::Text(notice));
                    }
                    state.send(id, Outgoing::Close(*code, reason.clone()));
                }
            }
            Command::Drop {} => {
                state.listeners.values().for_each(|listener| listener.ending.cut.notify_one());
            }
        }
        let open = state.listeners.len();
        drop(guard);
        self.moved.notify_one();
        open
    }

    /// The truth so far.
    pub(crate) fn truth(&self) -> Truth {
        let state = self.lock();
        let sum = |tallies: &[Tally], kind| -> u64 {
            let of_kind = self.streams.iter().zip(tallies).filter(|(info, _)| info.kind == kind);
            of_kind.map(|(_, tally)| tally.frames).sum()
        };
        let tape_state = if state.tape.is_finished() {
            TapeState::Finished
        } else if state.is_paused {
            TapeState::Paused
        } else if state.tape.is_running() {
            TapeState::Running
        } else {
            TapeState::Waiting
        };
        let streams = self.streams.iter().enumerate().map(|(place, info)| StreamTruth {
            info: info.clone(),
            listeners: state.listening[place],
            played: state.played[place].clone(),
            heard: state.heard[place].clone(),
        });
        Truth {
            venue: self.protocol.name(),
            state: tape_state,
            trades: sum(&state.played, StreamKind::Trade),
            quotes: sum(&state.played, StreamKind::Quote),
            trades_heard: sum(&state.heard, StreamKind::Trade),
            quotes_heard: sum(&state.heard, StreamKind::Quote),
            too_slow: state.too_slow,
            streams: streams.collect(),
        }
    }

    /// The trades of a stream played so far, and the ids of those that were heard.
    pub(crate) fn history(&self, stream: &str) -> Option<(TradeHistory, IdSet)> {
        let place = *self.places.get(stream)?;
        let state = self.lock();
        Some((state.tape.history(stream)?, state.heard[place].ids.clone()))
    }

    /// The stream of single trades of a symbol.
    pub(crate) fn trade_stream(&self, symbol: &str) -> Option<&str> {
        let mut streams = self.streams.iter().filter(|info| info.kind == StreamKind::Trade && info.symbol == symbol);
        let first = streams.next()?;
        // A recording may hold aggregate trades beside the single ones.
        let single = std::iter::once(first).chain(streams).find(|info| info.stream.ends_with("@trade"));
        Some(&single.unwrap_or(first).stream)
    }

    /// The open connections.
    pub(crate) fn connections(&self) -> Vec<ConnectionView> {
        let state = self.lock();
        let view = |(id, listener): (&u64, &Listener)| ConnectionView {
            id: *id,
            peer: listener.peer,
            host: listener.host.clone(),
            form: listener.form,
            opened: listener.opened,
            streams: listener.held.len(),
            frames: listener.frames,
            backlog: listener.backlog.load(Ordering::Relaxed),
        };
        state.listeners.iter().map(view).collect()
    }
}

impl State {
    /// Begins what has settled; returns when the next thing settles.
    fn begin_what_is_due(&mut self, now: Instant) -> Option<Instant> {
        let tape = &mut self.tape;
        self.begins.retain(|symbol, at| {
            if *at > now {
                return true;
            }
            tape.begin((!symbol.is_empty()).then_some(symbol));
            false
        });
        self.begins.values().min().copied()
    }

    /// Records a batch, and queues it for whoever holds a stream in it.
    fn publish(&mut self, batch: &Arc<Batch>, limits: &Limits) {
        if batch.is_empty() {
            return;
        }
        let is_muted = self.mute.is_some();
        self.present.fill(false);
        for frame in batch.frames() {
            let place = frame.stream as usize;
            self.present[place] = true;
            self.played[place].record(&frame.event);
            if self.listening[place] > 0 && !is_muted {
                self.heard[place].record(&frame.event);
            }
        }
        if is_muted {
            return;
        }
        let paced = self.pace.rate() != Rate::Max;
        let mut too_slow = Vec::new();
        for (id, listener) in self.listeners.iter_mut().filter(|(_, listener)| !listener.is_closing) {
            if !listener.interest.iter().zip(&self.present).any(|(interest, present)| *interest && *present) {
                continue;
            }
            let backlog = listener.backlog.fetch_add(batch.bytes().len(), Ordering::AcqRel);
            let taken = batch.frames().iter().filter(|frame| listener.interest[frame.stream as usize]).count();
            listener.frames += taken as u64;
            listener.send(Outgoing::Batch(Arc::clone(batch)));
            if paced && backlog > limits.backlog {
                too_slow.push(*id);
            }
        }
        for id in too_slow {
            self.too_slow += 1;
            self.send(id, Outgoing::Close(POLICY, "too slow".to_owned()));
        }
    }

    fn send(&mut self, id: u64, outgoing: Outgoing) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        let ends = matches!(outgoing, Outgoing::Close(..)) && !listener.is_closing;
        listener.send(outgoing);
        if ends {
            listener.is_closing = true;
            listener.ending.closing.notify_one();
            let interest = Arc::clone(&listener.interest);
            self.stop_listening(&interest);
        }
    }

    fn stop_listening(&mut self, interest: &[bool]) {
        for (count, _) in self.listening.iter_mut().zip(interest).filter(|(_, interest)| **interest) {
            *count -= 1;
        }
    }
}
