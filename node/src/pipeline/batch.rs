use std::sync::Arc;

use rosetta_proto::Lsn;

use crate::source::pgoutput::{Relation, Tuple};

/// Changes that a destination applies together: whole source transactions, or a part of one that is too
/// large to be held. Immutable once built, and shared by all destinations.
#[derive(Debug, Default)]
pub struct Batch {
    pub segments: Vec<Segment>,
    /// Where the commit record of each transaction in here begins; `Change::transaction` points into it.
    pub transactions: Vec<Lsn>,
    /// The position after the last transaction; None when that transaction goes on in the next batch.
    pub end: Option<Position>,
    pub changes: usize,
    pub bytes: usize,
}

/// Up to where a source was read, and when its last transaction was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub lsn: Lsn,
    /// Microseconds since 2000-01-01 by the source's clock; None when the position is not a commit
    /// but a point in a stream at rest.
    pub committed_at: Option<i64>,
}

/// Changes between two points at which the order across rows matters.
#[derive(Debug)]
pub enum Segment {
    /// Only the net effect on each row matters.
    Net(Vec<TableChanges>),
    /// One by one, as the source did it.
    InOrder(Vec<TableChanges>),
    Truncate {
        relations: Vec<Arc<SourceTable>>,
        restart_identity: bool,
        transaction: u32,
        ordinal: u64,
    },
}

/// A table as the stream describes it, with what the catalog adds.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceTable {
    pub relation: Relation,
    pub key: RowKey,
    /// Which of the pipeline's `apply_workers` this table belongs to.
    pub worker: usize,
}

/// What tells the rows of a table apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKey {
    /// These columns, by index.
    Columns(Vec<usize>),
    /// Nothing but the whole row: REPLICA IDENTITY FULL without a primary key.
    WholeRow,
    /// Nothing: only inserts can come.
    None,
}

/// The changes of one table in a segment; their tuples lie in `bytes`.
#[derive(Debug)]
pub struct TableChanges {
    pub table: Arc<SourceTable>,
    pub bytes: Vec<u8>,
    pub changes: Vec<Change>,
    pub only_inserts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    /// An update that gave the row another key.
    Rekey,
    Delete,
}

/// Where a tuple lies in `TableChanges::bytes`; empty for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub operation: Operation,
    /// The new tuple has values that the log does not hold.
    pub has_unchanged: bool,
    /// Index into `Batch::transactions`.
    pub transaction: u32,
    /// Place among all changes of its source transaction, of whatever table, from 0.
    pub ordinal: u64,
    pub old: Span,
    pub new: Span,
}

impl TableChanges {
    pub fn tuple(&self, span: Span) -> Tuple<'_> {
        let start = span.start as usize;
        Tuple::from_checked(self.bytes.get(start..start + span.length as usize).unwrap_or_default())
    }
}

impl Change {
    /// Place in the order of the whole batch.
    pub fn place(&self) -> (u32, u64) {
        (self.transaction, self.ordinal)
    }
}

impl Segment {
    pub fn tables(&self) -> &[TableChanges] {
        match self {
            Segment::Net(tables) | Segment::InOrder(tables) => tables,
            Segment::Truncate { .. } => &[],
        }
    }
}
