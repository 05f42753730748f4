//! Whatever a source sends: the decoder never panics, and a tuple that it accepts reads back to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rosetta_node::source::pgoutput::{Message, Tuple, decode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = decode(bytes) {
        tuples(&message).for_each(check);
    }
});

fn tuples<'a>(message: &Message<'a>) -> impl Iterator<Item = Tuple<'a>> {
    let pair = match message {
        Message::Insert { new, .. } => [Some(*new), None],
        Message::Update { old, new, .. } => [old.as_ref().map(|old| old.tuple), Some(*new)],
        Message::Delete { old, .. } => [Some(old.tuple), None],
        Message::Begin(_)
        | Message::Commit(_)
        | Message::Relation(_)
        | Message::Truncate(_)
        | Message::Logical { .. }
        | Message::Other => [None, None],
    };
    pair.into_iter().flatten()
}

fn check(tuple: Tuple<'_>) {
    assert_eq!(tuple.values().count(), tuple.column_count());
    let mut again = u16::try_from(tuple.column_count()).expect("a count of two bytes").to_be_bytes().to_vec();
    tuple.values().for_each(|value| value.write(&mut again));
    assert_eq!(again, tuple.as_bytes());
    let split = Tuple::split(tuple.as_bytes()).expect("a tuple is a whole one");
    assert_eq!(split, (tuple, &[][..]));
}
