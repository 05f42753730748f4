use std::{fmt, str::FromStr, sync::Arc};

use rosetta_proto::{Epoch, Lsn};
use serde::{Deserialize, Serialize};

use crate::{pipeline::batch::Operation, source::pgoutput::Tuple};

/// Whose letters: one destination of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    pub pipeline: String,
    pub destination: String,
}

/// The letters of one table, in the order of the source's log. `table` is `schema.table` at the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterStream {
    pub mailbox: Mailbox,
    pub table: String,
}

/// A change's place in the source's log: what a letter of a table is known by. It is the same whenever and however
/// the source is read, so that one change is never two letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Where the commit record of the change's transaction begins.
    pub commit_lsn: Lsn,
    /// The change's place among all changes of its transaction, from 0.
    pub ordinal: u64,
}

/// A change that waits outside of its destination, with the values as the source sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub id: LetterId,
    pub shape: ShapeId,
    pub change: LetterChange,
    /// The owner that wrote it.
    pub epoch: Epoch,
    /// Milliseconds since 1970.
    pub added_at: u64,
    /// Why the destination did not take this very change; None where the destination was away.
    pub failure: Option<Failure>,
}

/// What the source did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterChange {
    Row {
        operation: Operation,
        /// The new tuple has values that the log does not hold.
        has_unchanged: bool,
        /// Tuples in pgoutput's form; empty for none.
        old: Vec<u8>,
        new: Vec<u8>,
    },
    Truncate {
        restart_identity: bool,
    },
}

/// Why a destination did not take a change, and how often it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// PostgreSQL's SQLSTATE, or [`BLOCKED`] or [`TABLE_STOPPED`].
    pub class: String,
    /// One line, without values of rows.
    pub message: String,
    pub attempts: u32,
    /// Milliseconds since 1970.
    pub first_failed_at: u64,
    pub last_failed_at: u64,
}

/// The change waits behind another of the same key.
pub const BLOCKED: &str = "blocked";
/// The change waits because its table has stopped.
pub const TABLE_STOPPED: &str = "table_stopped";

/// Names a [`Shape`]: equal shapes have equal names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeId(pub u64);

/// How a table looked when a letter was written: what its tuples mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The table's oid at the source.
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// pg_class.relreplident.
    pub identity: u8,
    pub columns: Vec<ShapeColumn>,
    pub key: ShapeKey,
    /// Values are as PostgreSQL sends them, not as it prints them.
    pub is_binary: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeColumn {
    pub name: String,
    pub type_oid: u32,
    pub is_key: bool,
}

/// What tells the rows apart: see `RowKey`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeKey {
    Columns(Vec<usize>),
    WholeRow,
    None,
}

/// How far the changes of one lane have been written to the store instead of to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spill {
    pub worker: u32,
    /// Every change of the lane before this position, and after the destination's checkpoint, is in the store.
    pub end: Lsn,
    /// When the spill began; milliseconds since 1970.
    pub since: u64,
}

/// A spill's next step. `from` must be where the store has it, so that a store that forgot what it had is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillStep {
    /// The end of the step before; None where the spill begins.
    pub from: Option<Lsn>,
    pub to: Spill,
}

impl SpillStep {
    /// Whether a store whose spill ends at `stored` may take this step, or has taken it already.
    pub fn follows(&self, stored: Option<Lsn>) -> bool {
        stored == self.from || stored == Some(self.to.end)
    }
}

/// What waits in one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamFigures {
    pub letters: u64,
    /// As the store counts them.
    pub bytes: u64,
    /// When the oldest was added; milliseconds since 1970.
    pub oldest: Option<u64>,
}

/// A letter's name in calls and commands: `<pipeline>:<destination>:<commit lsn>-<ordinal>:<table>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterName {
    pub stream: LetterStream,
    pub id: LetterId,
}

/// The text names no letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a dead letter's id: take one from `rosetta dlq list`")]
pub struct LetterNameError(String);

impl Mailbox {
    pub fn new(pipeline: &str, destination: &str) -> Mailbox {
        Mailbox { pipeline: pipeline.to_owned(), destination: destination.to_owned() }
    }

    pub fn stream(&self, table: &str) -> LetterStream {
        LetterStream { mailbox: self.clone(), table: table.to_owned() }
    }
}

impl LetterId {
    /// After every letter.
    pub const END: LetterId = LetterId { commit_lsn: Lsn(u64::MAX), ordinal: u64::MAX };

    /// Before every letter of the transaction whose commit record begins at `commit_lsn`.
    pub fn first_of(commit_lsn: Lsn) -> LetterId {
        LetterId { commit_lsn, ordinal: 0 }
    }
}

impl Letter {
    /// Bytes of its values.
    pub fn size(&self) -> usize {
        let (old, new) = self.change.tuples();
        old.len() + new.len()
    }
}

impl LetterChange {
    /// What was done, as stores keep it beside the tuples.
    pub fn code(&self) -> &'static str {
        match self {
            LetterChange::Row { operation, has_unchanged, .. } => match (operation, has_unchanged) {
                (Operation::Insert, _) => "insert",
                (Operation::Update, false) => "update",
                (Operation::Update, true) => "update_some",
                (Operation::Rekey, false) => "rekey",
                (Operation::Rekey, true) => "rekey_some",
                (Operation::Delete, _) => "delete",
            },
            LetterChange::Truncate { restart_identity: false } => "truncate",
            LetterChange::Truncate { restart_identity: true } => "truncate_restart",
        }
    }

    /// From `code` and the tuples; None for what no version of ours wrote.
    pub fn from_code(code: &str, old: Vec<u8>, new: Vec<u8>) -> Option<LetterChange> {
        let (operation, has_unchanged) = match code {
            "insert" => (Operation::Insert, false),
            "update" => (Operation::Update, false),
            "update_some" => (Operation::Update, true),
            "rekey" => (Operation::Rekey, false),
            "rekey_some" => (Operation::Rekey, true),
            "delete" => (Operation::Delete, false),
            "truncate" => return Some(LetterChange::Truncate { restart_identity: false }),
            "truncate_restart" => return Some(LetterChange::Truncate { restart_identity: true }),
            _ => return None,
        };
        let is_whole = |tuple: &[u8]| tuple.is_empty() || Tuple::split(tuple).is_some_and(|(_, rest)| rest.is_empty());
        (is_whole(&old) && is_whole(&new)).then_some(LetterChange::Row { operation, has_unchanged, old, new })
    }

    /// The tuples; empty for none.
    pub fn tuples(&self) -> (&[u8], &[u8]) {
        match self {
            LetterChange::Row { old, new, .. } => (old, new),
            LetterChange::Truncate { .. } => (&[], &[]),
        }
    }
}

impl Shape {
    /// The name of this shape.
    pub fn id(&self) -> ShapeId {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.to_json().as_bytes());
        ShapeId(digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // a struct of numbers and texts always has a form
    }

    pub fn from_json(text: &str) -> Option<Arc<Shape>> {
        serde_json::from_str(text).ok().map(Arc::new)
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}-{}", self.commit_lsn.0, self.ordinal)
    }
}

impl FromStr for LetterId {
    type Err = LetterNameError;

    fn from_str(text: &str) -> Result<LetterId, LetterNameError> {
        let error = || LetterNameError(text.to_owned());
        let (lsn, ordinal) = text.split_once('-').ok_or_else(error)?;
        let lsn = u64::from_str_radix(lsn, 16).map_err(|_| error())?;
        Ok(LetterId { commit_lsn: Lsn(lsn), ordinal: ordinal.parse().map_err(|_| error())? })
    }
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mailbox { pipeline, destination } = &self.stream.mailbox;
        write!(f, "{pipeline}:{destination}:{}:{}", self.id, self.stream.table)
    }
}

impl FromStr for LetterName {
    type Err = LetterNameError;

    fn from_str(text: &str) -> Result<LetterName, LetterNameError> {
        let error = || LetterNameError(text.chars().take(200).collect());
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or_else(error);
        let mailbox = Mailbox::new(next()?, next()?);
        let id = next()?.parse().map_err(|_| error())?;
        Ok(LetterName { stream: mailbox.stream(next()?), id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_round_trip(lsn: u64, ordinal: u64, table in "\\PC{1,20}") {
            let name = LetterName {
                stream: Mailbox::new("orders", "mirror-2").stream(&table),
                id: LetterId { commit_lsn: Lsn(lsn), ordinal },
            };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<LetterName>();
        }
    }

    #[test]
    fn the_order_of_ids_is_the_order_of_the_log() {
        let id = |lsn, ordinal| LetterId { commit_lsn: Lsn(lsn), ordinal };
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1));
    }
}
