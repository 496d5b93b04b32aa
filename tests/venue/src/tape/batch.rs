//! A run of frames rendered once for all connections.

use crate::server::frame;

use super::Event;

/// Frames in wire form (combined envelope, WebSocket header included), and where each of them lies.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

/// One frame of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// The stream, as its place in the tape's list.
    pub stream: u32,
    /// What it tells.
    pub event: Event,
    start: u32,
    data_start: u32,
    data_end: u32,
    end: u32,
}

impl Batch {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// The frames in order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Whether it holds no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// All frames as they go out on a combined connection that takes every stream in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One frame as it goes out on a combined connection.
    pub fn combined(&self, frame: &Frame) -> &[u8] {
        &self.bytes[frame.start as usize..frame.end as usize]
    }

    /// The inner object of one frame, which is the payload on a raw connection.
    pub fn data(&self, frame: &Frame) -> &[u8] {
        &self.bytes[frame.data_start as usize..frame.data_end as usize]
    }

    /// Appends a text frame whose payload is `envelope`; its inner object lies at `data` within it.
    #[inline]
    pub fn push(&mut self, stream: u32, event: Event, envelope: &[u8], data: std::ops::Range<usize>) {
        let start = self.bytes.len();
        frame::push_header(&mut self.bytes, frame::TEXT, envelope.len());
        let payload = self.bytes.len();
        self.bytes.extend_from_slice(envelope);
        self.frames.push(Frame {
            stream,
            event,
            start: start as u32,
            data_start: (payload + data.start) as u32,
            data_end: (payload + data.end) as u32,
            end: self.bytes.len() as u32,
        });
    }
}
