//! WebSocket frames (RFC 6455, section 5.2) of the server's side: unmasked out, masked in, no extensions.

use thiserror::Error;

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a pong frame.
pub const PONG: u8 = 0xa;

/// The largest frame that the venue takes. A SUBSCRIBE of 1,024 streams is about 40 KiB.
const MAX_INCOMING: usize = 256 << 10;

/// Appends the header of a final, unmasked frame.
#[inline]
pub fn push_header(out: &mut Vec<u8>, opcode: u8, length: usize) {
    let first = 0x80 | opcode;
    if length < 126 {
        out.extend_from_slice(&[first, length as u8]);
    } else if let Ok(length) = u16::try_from(length) {
        let [high, low] = length.to_be_bytes();
        out.extend_from_slice(&[first, 126, high, low]);
    } else {
        out.extend_from_slice(&[first, 127]);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// Appends a whole frame.
pub fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// The payload of a close frame: the code, then the reason, cut to what a control frame may carry.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..cut]);
    payload
}

/// A frame from a client, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Whether it ends its message.
    pub last: bool,
    /// The opcode.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Why bytes from a client are not a frame. Each is answered with close code 1002.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A reserved bit without an extension that gives it a meaning.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// RFC 6455 5.1: a client masks every frame.
    #[error("the frame is not masked")]
    NotMasked,
    /// Longer than the venue takes.
    #[error("a frame of {0} bytes")]
    TooLong(u64),
    /// RFC 6455 5.5: control frames are whole and carry at most 125 bytes.
    #[error("a control frame is fragmented or longer than 125 bytes")]
    BadControl,
}

/// Takes one frame off the front of `buffer`, when it is there whole.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Incoming>, FrameError> {
    let &[first, second, ..] = buffer.as_slice() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBit);
    }
    if second & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let (length, header) = match second & 0x7f {
        126 => match buffer.get(2..4) {
            Some(&[high, low]) => (u64::from(u16::from_be_bytes([high, low])), 4),
            _ => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
            Some(bytes) => (u64::from_be_bytes(bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > MAX_INCOMING as u64 {
        return Err(FrameError::TooLong(length));
    }
    let opcode = first & 0x0f;
    if opcode >= CLOSE && (first & 0x80 == 0 || length > 125) {
        return Err(FrameError::BadControl);
    }
    let (body, end) = (header + 4, header + 4 + length as usize);
    if buffer.len() < end {
        return Ok(None);
    }
    let mask: [u8; 4] = [buffer[header], buffer[header + 1], buffer[header + 2], buffer[header + 3]];
    let payload = buffer[body..end].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    buffer.drain(..end);
    Ok(Some(Incoming { last: first & 0x80 != 0, opcode, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_masked_hello_is_read_byte_by_byte() {
        let wire = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut buffer = Vec::new();
        for byte in &wire[..10] {
            buffer.push(*byte);
            assert_eq!(take(&mut buffer), Ok(None));
        }
        buffer.push(wire[10]);
        buffer.push(0x89);
        assert_eq!(take(&mut buffer), Ok(Some(Incoming { last: true, opcode: TEXT, payload: b"Hello".to_vec() })));
        assert_eq!(buffer, [0x89]);
    }

    #[test]
    fn an_unmasked_frame_is_refused() {
        assert_eq!(take(&mut vec![0x81, 0x05, b'H']), Err(FrameError::NotMasked));
    }

    #[test]
    fn the_header_grows_with_the_length() {
        let header = |length| {
            let mut out = Vec::new();
            push_header(&mut out, TEXT, length);
            out
        };
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
