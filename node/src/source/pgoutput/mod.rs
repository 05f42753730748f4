//! The messages of PostgreSQL's `pgoutput` plugin (PostgreSQL docs, "Logical Replication Message Formats").

mod decode;
mod tuple;

pub use decode::{DecodeError, decode};
pub use tuple::{Tuple, Value};

use rosetta_proto::Lsn;

/// One decoded message; tuples stay where they lie in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    Begin(Begin),
    Commit(Commit),
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate(Truncate),
    /// Somebody's pg_logical_emit_message, written at this position.
    Logical {
        lsn: Lsn,
    },
    /// What we do not act on: origins and types.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Microseconds since 2000-01-01, by the source's clock.
    pub committed_at: i64,
    pub xid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Where the commit record ends: the transaction's position.
    pub end_lsn: Lsn,
    pub committed_at: i64,
}

/// How a table looks from the next change on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// pg_class.relreplident: d(efault), n(othing), f(ull), i(ndex).
    pub identity: u8,
    pub columns: Vec<RelationColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    pub name: String,
    pub type_oid: u32,
    pub is_key: bool,
}

/// The row before the change, as much of it as the table's replica identity logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old<'a> {
    /// All columns (REPLICA IDENTITY FULL), not just the key.
    pub is_full: bool,
    pub tuple: Tuple<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    pub relations: Vec<u32>,
    pub restart_identity: bool,
}
