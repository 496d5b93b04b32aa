//! One WebSocket connection: a reader, a writer and the deadlines, side by side, until one of them ends it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::clock;
use crate::floor::{Floor, Outgoing, POLICY, Seat};
use crate::tape::batch::Batch;
use crate::venues::Form;

use super::frame::{self, Incoming};

/// Bytes gathered before a write.
const WRITE_BYTES: usize = 256 << 10;

/// How long a queued close frame may take to get through.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// How long a client may take to end its side after a close frame.
const LINGER: Duration = Duration::from_secs(2);

/// Pings that have not been answered, with the time they were sent.
#[derive(Default)]
struct Pings(Mutex<VecDeque<(Vec<u8>, Instant)>>);

impl Pings {
    fn sent(&self, payload: Vec<u8>, now: Instant) {
        self.lock().push_back((payload, now));
    }

    /// A pong answers its ping and those before it. An unsolicited pong answers none.
    fn answered(&self, payload: &[u8]) {
        let mut open = self.lock();
        if let Some(at) = open.iter().position(|(ping, _)| ping == payload) {
            open.drain(..=at);
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.lock().front().map(|(_, sent)| *sent)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Vec<u8>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a connection to its end. `leftover` is what came after the handshake.
pub(crate) async fn run(stream: TlsStream<TcpStream>, leftover: Vec<u8>, mut seat: Seat, form: Form, floor: &Floor) {
    let id = seat.id;
    let pings = Pings::default();
    let ending = Arc::clone(&seat.ending);
    let closing = async {
        ending.closing.notified().await;
        tokio::time::sleep(CLOSE_WITHIN).await;
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let end = tokio::select! {
        end = read(&mut reader, leftover, id, floor, &pings) => end,
        end = write(&mut writer, &mut seat, form) => end,
        () = watch_deadlines(id, floor, &pings) => End::Dropped,
        () = closing => End::Dropped,
        () = ending.cut.notified() => End::Dropped,
    };
    debug!(connection = id, ?end, "connection ends");
    drop(seat);
    if matches!(end, End::Closed) {
        // Reading on until the client has seen the close frame: closing over unread bytes would reset the connection
        // and take the frame with it.
        let _ = writer.shutdown().await;
        let mut sink = vec![0; 4096];
        let _ = timeout(LINGER, async { while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {} }).await;
    }
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// By a close frame of ours.
    Closed,
    /// By the other side, or by a cut.
    Dropped,
}

async fn read(reader: &mut ReadHalf<impl AsyncRead>, mut buffer: Vec<u8>, id: u64, floor: &Floor, pings: &Pings) -> End {
    let mut recent: VecDeque<Instant> = VecDeque::new();
    let mut message = Vec::new();
    let refusal = 'messages: loop {
        loop {
            let Incoming { last, opcode, payload } = match frame::take(&mut buffer) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(error) => break 'messages (1002, error.to_string()),
            };
            if opcode == frame::CLOSE {
                let code = payload.get(..2).map_or(1000, |code| u16::from_be_bytes([code[0], code[1]]));
                break 'messages (code, String::new());
            }
            let now = Instant::now();
            while recent.front().is_some_and(|time| now - *time >= Duration::from_secs(1)) {
                recent.pop_front();
            }
            recent.push_back(now);
            if recent.len() > floor.limits().messages_per_second {
                break 'messages (POLICY, "Too many requests".to_owned());
            }
            match opcode {
                frame::PING => floor.send(id, Outgoing::Pong(payload)),
                frame::PONG => pings.answered(&payload),
                frame::TEXT | frame::CONTINUATION => {
                    message.extend_from_slice(&payload);
                    if last {
                        match std::str::from_utf8(&message) {
                            Ok(text) => floor.answer(id, text),
                            Err(_) => break 'messages (1007, "not UTF-8".to_owned()),
                        }
                        message.clear();
                    } else if message.len() > WRITE_BYTES {
                        break 'messages (1009, "too long".to_owned());
                    }
                }
                _ => break 'messages (1003, "text frames only".to_owned()),
            }
        }
        match reader.read_buf(&mut buffer).await {
            Ok(read) if read > 0 => {}
            _ => return End::Dropped,
        }
    };
    floor.send(id, Outgoing::Close(refusal.0, refusal.1));
    // The writer ends the connection when it comes to the close.
    std::future::pending().await
}

async fn write(writer: &mut WriteHalf<impl AsyncWrite>, seat: &mut Seat, form: Form) -> End {
    let mut interest: Arc<[bool]> = [].into();
    let mut out = Vec::with_capacity(WRITE_BYTES + (64 << 10));
    loop {
        let Some(mut next) = seat.queue.recv().await else { return End::Dropped };
        let (mut drained, mut end) = (0, None);
        out.clear();
        loop {
            match next {
                Outgoing::Batch(batch) => {
                    drained += batch.bytes().len();
                    push_batch(&mut out, &batch, &interest, form);
                }
                Outgoing::Interest(now) => interest = now,
                Outgoing::Text(text) => frame::push(&mut out, frame::TEXT, text.as_bytes()),
                Outgoing::Ping(payload) => frame::push(&mut out, frame::PING, &payload),
                Outgoing::Pong(payload) => frame::push(&mut out, frame::PONG, &payload),
                Outgoing::Close(code, reason) => {
                    frame::push(&mut out, frame::CLOSE, &frame::close_payload(code, &reason));
                    end = Some(End::Closed);
                }
            }
            if end.is_some() || out.len() >= WRITE_BYTES {
                break;
            }
            match seat.queue.try_recv() {
                Ok(more) => next = more,
                Err(_) => break,
            }
        }
        let written = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        let written = written.await;
        seat.written(drained);
        match (written, end) {
            (Err(_), _) => return End::Dropped,
            (Ok(()), Some(end)) => return end,
            (Ok(()), None) => {}
        }
    }
}

/// Appends the frames of a batch that a connection takes; neighbours go in one copy.
fn push_batch(out: &mut Vec<u8>, batch: &Batch, interest: &[bool], form: Form) {
    let takes = |stream: u32| interest.get(stream as usize).copied().unwrap_or(false);
    if form == Form::Raw {
        for wanted in batch.frames().iter().filter(|frame| takes(frame.stream)) {
            frame::push(out, frame::TEXT, batch.data(wanted));
        }
        return;
    }
    if batch.frames().iter().all(|frame| takes(frame.stream)) {
        out.extend_from_slice(batch.bytes());
        return;
    }
    for wanted in batch.frames().iter().filter(|frame| takes(frame.stream)) {
        out.extend_from_slice(batch.combined(wanted));
    }
}

/// Pings, and ends the connection when a pong is missing; gives notice of the end of its life, and ends it.
async fn watch_deadlines(id: u64, floor: &Floor, pings: &Pings) {
    let limits = floor.limits();
    let opened = Instant::now();
    let end = opened + limits.life;
    let mut notice = Some(end - limits.shutdown_notice.min(limits.life));
    let mut next_ping = opened + limits.ping_every;
    loop {
        let pong_due = pings.oldest().map(|sent| sent + limits.pong_within);
        let wake = [Some(next_ping), Some(end), notice, pong_due].into_iter().flatten().min().unwrap_or(end);
        sleep_until(wake).await;
        let now = Instant::now();
        if pings.oldest().is_some_and(|sent| now >= sent + limits.pong_within) {
            debug!(connection = id, "no pong");
            return;
        }
        if notice.is_some_and(|at| now >= at) {
            notice = None;
            floor.announce_shutdown(id);
        }
        if now >= end {
            floor.send(id, Outgoing::Close(1001, "the connection's life has ended".to_owned()));
            return std::future::pending().await;
        }
        if now >= next_ping {
            next_ping = now + limits.ping_every;
            if floor.pings() {
                let payload = clock::millis().to_string().into_bytes();
                pings.sent(payload.clone(), now);
                floor.send(id, Outgoing::Ping(payload));
            }
        }
    }
}
