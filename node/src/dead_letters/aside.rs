//! Which changes of a batch go into letters instead of into the destination. No I/O, no clock.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::{HashMap, HashSet};
use rosetta_proto::Lsn;

use super::{
    letter::{BLOCKED, LetterChange, LetterId, TABLE_STOPPED},
    parked::{Block, Outlook, Parked, ParkedChange},
};
use crate::pipeline::batch::{Batch, Change, Segment, SourceTable, TableChanges};

/// Why a change is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub class: String,
    pub message: String,
}

/// What the destination said against a batch's changes.
#[derive(Debug, Default)]
pub struct Verdicts {
    rejected: HashMap<(u32, u64), Rejection>,
    /// Tables that stop, and at which change.
    stopped: HashMap<u32, ((u32, u64), Rejection)>,
    tables: HashSet<u32>,
}

/// The changes of a batch that are set aside.
#[derive(Debug, Default)]
pub struct Aside {
    skipped: HashSet<(u32, u64)>,
    pub letters: Vec<AsideLetter>,
    /// Tables that the batch empties: their letters, under these names, before this place matter no more.
    pub emptied: Vec<Emptied>,
    /// What is parked after the batch.
    pub change: ParkedChange,
}

/// A table with letters that a TRUNCATE makes void.
#[derive(Debug, Clone)]
pub struct Emptied {
    pub oid: u32,
    pub names: BTreeSet<String>,
    pub before: LetterId,
}

/// A change to be written as a letter.
#[derive(Debug)]
pub struct AsideLetter {
    pub table: Arc<SourceTable>,
    pub id: LetterId,
    pub change: LetterChange,
    pub rejection: Rejection,
}

impl Verdicts {
    pub fn reject(&mut self, oid: u32, place: (u32, u64), rejection: Rejection) {
        self.tables.insert(oid);
        self.rejected.insert(place, rejection);
    }

    /// The table stops at this change.
    pub fn stop(&mut self, oid: u32, place: (u32, u64), reason: &Rejection) {
        let message = format!("the table has stopped, since most of its changes are rejected: {}", reason.message);
        self.stopped.insert(oid, (place, Rejection { class: TABLE_STOPPED.to_owned(), message }));
    }

    pub fn is_rejected(&self, place: (u32, u64)) -> bool {
        self.rejected.contains_key(&place)
    }

    pub fn has_stopped(&self, oid: u32, place: (u32, u64)) -> bool {
        self.stopped.get(&oid).is_some_and(|(at, _)| place > *at)
    }

    pub fn rejections(&self) -> usize {
        self.rejected.len()
    }

    fn concerns(&self, oid: u32) -> bool {
        self.tables.contains(&oid)
    }

    fn of(&self, oid: u32, place: (u32, u64)) -> Option<&Rejection> {
        let stopped = || self.stopped.get(&oid).filter(|(at, _)| place > *at).map(|(_, reason)| reason);
        self.rejected.get(&place).or_else(stopped)
    }
}

impl Aside {
    /// The usual case: everything is applied.
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.emptied.is_empty()
    }

    pub fn skips(&self, change: &Change) -> bool {
        self.skipped.contains(&change.place())
    }
}

/// What of `batch` is set aside, when `parked` waits already and the destination said `verdicts`. `is_wanted` tells
/// whether a table's changes of the transaction at this position are to be applied at all.
pub fn set_aside(batch: &Batch, parked: &Parked, verdicts: &Verdicts, is_wanted: impl Fn(u32, Lsn) -> bool) -> Aside {
    let mut aside = Aside::default();
    let mut outlook = Outlook::new(parked);
    for segment in &batch.segments {
        match segment {
            Segment::Net(tables) | Segment::InOrder(tables) => {
                for table in tables {
                    aside_table(batch, table, verdicts, &is_wanted, &mut outlook, &mut aside);
                }
            }
            Segment::Truncate { relations, transaction, ordinal, .. } => {
                let commit_lsn = batch.transactions.get(*transaction as usize).copied().unwrap_or_default();
                for table in relations.iter().filter(|table| is_wanted(table.relation.oid, commit_lsn)) {
                    let oid = table.relation.oid;
                    if outlook.concerns(oid) {
                        aside.letters.retain(|letter| letter.table.relation.oid != oid);
                        let before = LetterId { commit_lsn, ordinal: *ordinal };
                        aside.emptied.push(Emptied { oid, names: outlook.names(oid), before });
                        outlook.clear(oid);
                    }
                }
            }
        }
    }
    aside.change = outlook.into_change();
    aside
}

fn aside_table(
    batch: &Batch,
    table: &TableChanges,
    verdicts: &Verdicts,
    is_wanted: &impl Fn(u32, Lsn) -> bool,
    outlook: &mut Outlook<'_>,
    aside: &mut Aside,
) {
    let oid = table.table.relation.oid;
    if !outlook.concerns(oid) && !verdicts.concerns(oid) {
        return;
    }
    outlook.see(&table.table);
    for change in &table.changes {
        let commit_lsn = batch.transactions.get(change.transaction as usize).copied().unwrap_or_default();
        if !is_wanted(oid, commit_lsn) {
            continue;
        }
        let block = Block::of_change(table, change);
        let Some((rejection, block)) = judge(oid, change, block, verdicts, outlook) else { continue };
        outlook.park(&table.table, block);
        aside.skipped.insert(change.place());
        aside.letters.push(AsideLetter {
            table: Arc::clone(&table.table),
            id: LetterId { commit_lsn, ordinal: change.ordinal },
            change: letter_change(table, change),
            rejection,
        });
    }
}

/// Why this change waits, if it does, and what it blocks.
fn judge(
    oid: u32,
    change: &Change,
    block: Block,
    verdicts: &Verdicts,
    outlook: &Outlook<'_>,
) -> Option<(Rejection, Block)> {
    if let Some(rejection) = verdicts.of(oid, change.place()) {
        let block = if rejection.class == TABLE_STOPPED { Block::Table } else { block };
        return Some((rejection.clone(), block));
    }
    if outlook.is_table_blocked(oid) {
        let message = "the table has stopped: this change waits behind others".to_owned();
        return Some((Rejection { class: TABLE_STOPPED.to_owned(), message }, Block::Table));
    }
    let message = || "it waits behind another change of its row".to_owned();
    outlook.holds(oid, block).then(|| (Rejection { class: BLOCKED.to_owned(), message: message() }, block))
}

fn letter_change(table: &TableChanges, change: &Change) -> LetterChange {
    LetterChange::Row {
        operation: change.operation,
        has_unchanged: change.has_unchanged,
        old: table.tuple(change.old).as_bytes().to_vec(),
        new: table.tuple(change.new).as_bytes().to_vec(),
    }
}

/// A batch as letters, every change of it, in order.
pub fn letters_of(batch: &Batch) -> Vec<(Arc<SourceTable>, LetterId, LetterChange)> {
    let mut letters = Vec::with_capacity(batch.changes);
    let id = |transaction: u32, ordinal| {
        let commit_lsn = batch.transactions.get(transaction as usize).copied().unwrap_or_default();
        LetterId { commit_lsn, ordinal }
    };
    for segment in &batch.segments {
        match segment {
            Segment::Net(tables) | Segment::InOrder(tables) => {
                for table in tables {
                    let of_change = |change: &Change| {
                        (Arc::clone(&table.table), id(change.transaction, change.ordinal), letter_change(table, change))
                    };
                    letters.extend(table.changes.iter().map(of_change));
                }
            }
            Segment::Truncate { relations, restart_identity, transaction, ordinal } => {
                let change = LetterChange::Truncate { restart_identity: *restart_identity };
                let of_table =
                    |table: &Arc<SourceTable>| (Arc::clone(table), id(*transaction, *ordinal), change.clone());
                letters.extend(relations.iter().map(of_table));
            }
        }
    }
    letters
}
