//! However a socket cuts the bytes: the same frames come out, and reading the stream's events never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rosetta_node::{postgres::next_frame, source::stream::read_event};

/// The first bytes of the input say how long the pieces are in which the others arrive.
const SIZES: usize = 4;

fuzz_target!(|input: &[u8]| {
    let (sizes, stream) = input.split_at(input.len().min(SIZES));
    let whole = frames(std::iter::once(stream));
    let pieces = frames(pieces(stream, sizes));
    assert_eq!(whole, pieces);
    for (tag, body) in whole {
        if tag == b'd' {
            let _ = read_event(&body);
        }
    }
});

/// The frames that come out while the pieces come in, up to the first that cannot be one.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(u8, Vec<u8>)> {
    let (mut buffer, mut at, mut found) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&buffer, at) {
                Ok(Some(frame)) => {
                    assert!(frame.end() > at && frame.end() <= buffer.len());
                    at = frame.end();
                    found.push((frame.tag, buffer[frame.body].to_vec()));
                }
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

fn pieces<'a>(stream: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
    std::iter::from_fn(move || {
        let size = sizes.next().map_or(1, |size| usize::from(*size) + 1);
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
