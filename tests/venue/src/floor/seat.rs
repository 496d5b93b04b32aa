//! A connection's place on the floor: what the connection holds, and what the floor holds of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::tape::batch::Batch;
use crate::venues::Form;

use super::Floor;

/// Bytes that may wait for a subscriber before a tape at `max` stands still.
pub(super) const FULL: usize = 1 << 20;

/// What a connection's writer is given, in order. The queue needs no bound of its own: data is bounded by the backlog,
/// everything else by the limit on incoming messages.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Frames of the tape, to be sifted by the interest last given.
    Batch(Arc<Batch>),
    /// The tape's streams that the connection holds from here on.
    Interest(Arc<[bool]>),
    /// A text frame.
    Text(String),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame, and then the end.
    Close(u16, String),
}

/// Tells a connection that it ends, past a queue whose writer may be stuck on a client that takes nothing.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// A close frame was queued: it has a moment to get through.
    pub(crate) closing: Notify,
    /// It ends now, without a word.
    pub(crate) cut: Notify,
}

/// A connection's end of the floor. Dropping it takes the connection off the floor.
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) queue: UnboundedReceiver<Outgoing>,
    pub(crate) ending: Arc<Ending>,
    pub(super) floor: Arc<Floor>,
    pub(super) backlog: Arc<AtomicUsize>,
}

impl Seat {
    /// Says that bytes of batches have left for the socket.
    pub(crate) fn written(&self, bytes: usize) {
        let before = self.backlog.fetch_sub(bytes, Ordering::AcqRel);
        if before >= FULL && before - bytes < FULL {
            self.floor.moved.notify_one();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.floor.leave(self.id);
    }
}

/// A connection as the floor sees it.
pub(super) struct Listener {
    pub(super) peer: SocketAddr,
    pub(super) host: String,
    pub(super) form: Form,
    pub(super) opened: i64,
    pub(super) held: BTreeSet<String>,
    pub(super) interest: Arc<[bool]>,
    pub(super) queue: UnboundedSender<Outgoing>,
    pub(super) backlog: Arc<AtomicUsize>,
    pub(super) ending: Arc<Ending>,
    pub(super) frames: u64,
    /// A close has been queued: nothing may follow it.
    pub(super) is_closing: bool,
}

/// A connection as tests see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionView {
    /// Its number, in order of opening.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The host that the client asked for.
    pub host: String,
    /// How its data frames look.
    pub form: Form,
    /// When it opened, milliseconds since 1970.
    pub opened: i64,
    /// Streams that it holds.
    pub streams: usize,
    /// Data frames queued for it so far.
    pub frames: u64,
    /// Bytes of batches that wait for it.
    pub backlog: usize,
}

impl Listener {
    /// Queues something, unless a close has been queued: nothing may follow that.
    pub(super) fn send(&mut self, outgoing: Outgoing) {
        if !self.is_closing {
            // A receiver that is gone is on its way off the floor.
            let _ = self.queue.send(outgoing);
        }
    }
}
