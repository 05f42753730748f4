//! Letters to put into a store.

use std::sync::Arc;

use rosetta_node::{
    dead_letters::{
        Addition, Failure, Letter, LetterChange, LetterId, Mailbox, Owner, Shape, ShapeColumn, ShapeKey, Spill,
        SpillStep,
    },
    pipeline::batch::Operation,
};
use rosetta_proto::{Epoch, Lsn};

pub(crate) const TABLE: &str = "public.t";

pub(crate) fn owner(epoch: u64) -> Owner {
    Owner { pipeline: "orders".to_owned(), epoch: Epoch(epoch) }
}

pub(crate) fn mailbox() -> Mailbox {
    Mailbox::new("orders", "mirror")
}

pub(crate) fn id(lsn: u64, ordinal: u64) -> LetterId {
    LetterId { commit_lsn: Lsn(lsn), ordinal }
}

/// After every letter.
pub(crate) fn end() -> LetterId {
    id(u64::MAX, u64::MAX)
}

pub(crate) fn shape() -> Arc<Shape> {
    let column = |name: &str, is_key| ShapeColumn { name: name.to_owned(), type_oid: 25, is_key };
    Arc::new(Shape {
        oid: 7,
        schema: "public".to_owned(),
        name: "t".to_owned(),
        identity: b'd',
        columns: vec![column("id", true), column("v", false)],
        key: ShapeKey::Columns(vec![0]),
        is_binary: false,
    })
}

/// A row of two texts, in pgoutput's form.
pub(crate) fn tuple(id: &[u8], value: &[u8]) -> Vec<u8> {
    let mut tuple = 2u16.to_be_bytes().to_vec();
    for text in [id, value] {
        tuple.push(b't');
        tuple.extend_from_slice(&(text.len() as u32).to_be_bytes());
        tuple.extend_from_slice(text);
    }
    tuple
}

pub(crate) fn letter(lsn: u64, ordinal: u64) -> Letter {
    let new = tuple(format!("{lsn}-{ordinal}").as_bytes(), b"\0\xff any bytes \r\n");
    let change = LetterChange::Row { operation: Operation::Insert, has_unchanged: false, old: Vec::new(), new };
    Letter { id: id(lsn, ordinal), shape: shape().id(), change, epoch: Epoch(1), added_at: 1000 + lsn, failure: None }
}

pub(crate) fn failure(class: &str, attempts: u32) -> Failure {
    let message = "it does not fit".to_owned();
    Failure { class: class.to_owned(), message, attempts, first_failed_at: 5, last_failed_at: 9 }
}

pub(crate) fn addition(letters: Vec<Letter>) -> Addition {
    let letters = letters.into_iter().map(|letter| (TABLE.to_owned(), letter)).collect();
    Addition { letters, shapes: vec![shape()], spill: None }
}

pub(crate) fn step(from: Option<u64>, to: u64) -> SpillStep {
    SpillStep { from: from.map(Lsn), to: Spill { worker: 0, end: Lsn(to), since: 77 } }
}
