use std::ops::Range;

use super::PgError;

/// The header of every message after start-up: a tag byte and a length that counts itself
/// (PostgreSQL docs, "Message Formats").
const HEADER: usize = 5;

/// A backend may not send more than this in one message (PQ_LARGE_MESSAGE_LIMIT is just below 1 GiB).
const MAX_FRAME: usize = 0x4000_0000;

/// One message inside a buffer: its tag, and where its body lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Range<usize>,
}

impl Frame {
    /// Where the next message begins.
    pub fn end(&self) -> usize {
        self.body.end
    }
}

/// The message that begins at `at`, or None while it is incomplete.
///
/// # Errors
/// A length that no server sends: the stream is not what we think it is.
pub fn next_frame(buffer: &[u8], at: usize) -> Result<Option<Frame>, PgError> {
    let Some(header) = buffer.get(at..at + HEADER) else { return Ok(None) };
    let &[tag, a, b, c, d] = header else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..MAX_FRAME).contains(&length) {
        return Err(PgError::protocol(format!("a message of {length} bytes")));
    }
    let body = at + HEADER..at + 1 + length;
    Ok((buffer.len() >= body.end).then_some(Frame { tag, body }))
}

/// How many bytes the message that begins at `at` needs in all, as far as that is known yet.
pub(crate) fn bytes_needed(buffer: &[u8], at: usize) -> usize {
    match buffer.get(at + 1..at + HEADER) {
        Some(&[a, b, c, d]) => 1 + (u32::from_be_bytes([a, b, c, d]) as usize).min(MAX_FRAME),
        _ => HEADER,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_of_a_stream_gives_the_same_frames(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 0usize..400,
        ) {
            let mut wire = Vec::new();
            for body in &bodies {
                wire.push(b'd');
                wire.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
                wire.extend_from_slice(body);
            }
            let cut = cut.min(wire.len());
            let mut found = Vec::new();
            let mut at = 0;
            for part in [&wire[..cut], &wire[..]] {
                while let Some(frame) = next_frame(part, at).unwrap() {
                    at = frame.end();
                    found.push(part[frame.body].to_vec());
                }
            }
            prop_assert_eq!(found, bodies);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = next_frame(&bytes, 0);
        }
    }
}
