//! For any interleaving of refusals, retries and crashes: the changes applied to a key are the source's, in its order,
//! each once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use rosetta_proto::{Epoch, Lsn};

use super::{
    aside::{Aside, Rejection, Verdicts, set_aside},
    convert::{Addressed, batch_of},
    letter::{Letter, LetterChange, LetterId, ShapeId},
    parked::{Block, Parked},
};
use crate::{
    pipeline::batch::{Batch, Operation, RowKey, Segment, SourceTable},
    source::pgoutput::{Relation, RelationColumn, Value},
};

#[derive(Debug, Clone, Copy)]
enum Source {
    Insert(u8),
    Update(u8),
    Delete(u8),
    Rekey(u8, u8),
    Truncate,
}

#[derive(Debug, Clone)]
enum Step {
    /// The next changes of the source arrive; the process dies before the commit, or not.
    Batch {
        changes: usize,
        dies: bool,
    },
    /// All letters are tried, so many at a time.
    Pass {
        page: usize,
    },
    Crash,
    /// The destination refuses these changes no longer.
    Heal(BTreeSet<usize>),
}

/// The destination and the store, as they would be on disk; and what the process knows.
struct World {
    table: Arc<SourceTable>,
    changes: Vec<Source>,
    bad: BTreeSet<usize>,
    /// Changes that the checkpoint is past.
    position: usize,
    /// What was done, in order.
    applied: Vec<usize>,
    /// rosetta.dead_letter, with what the store holds of each.
    waiting: BTreeMap<LetterId, Addressed>,
    parked: Parked,
}

fn table() -> Arc<SourceTable> {
    let column = RelationColumn { name: "id".to_owned(), type_oid: 23, is_key: true };
    let (schema, name) = ("public".to_owned(), "t".to_owned());
    let relation = Relation { oid: 1, schema, name, identity: b'd', columns: vec![column] };
    Arc::new(SourceTable { relation, key: RowKey::Columns(vec![0]), worker: 0 })
}

fn tuple(key: u8) -> Vec<u8> {
    let mut tuple = 1u16.to_be_bytes().to_vec();
    Value::Text(&[key]).write(&mut tuple);
    tuple
}

fn letter_change(source: Source) -> LetterChange {
    let row = |operation, old: Vec<u8>, new: Vec<u8>| LetterChange::Row { operation, has_unchanged: false, old, new };
    match source {
        Source::Insert(key) => row(Operation::Insert, Vec::new(), tuple(key)),
        Source::Update(key) => row(Operation::Update, Vec::new(), tuple(key)),
        Source::Delete(key) => row(Operation::Delete, tuple(key), Vec::new()),
        Source::Rekey(old, new) => row(Operation::Rekey, tuple(old), tuple(new)),
        Source::Truncate => LetterChange::Truncate { restart_identity: false },
    }
}

fn id(index: usize) -> LetterId {
    LetterId { commit_lsn: Lsn(1 + index as u64 / 3), ordinal: index as u64 % 3 }
}

fn index(id: LetterId) -> usize {
    usize::try_from((id.commit_lsn.0 - 1) * 3 + id.ordinal).unwrap()
}

fn keys(source: Source) -> Vec<u8> {
    match source {
        Source::Insert(key) | Source::Update(key) | Source::Delete(key) => vec![key],
        Source::Rekey(old, new) => vec![old, new],
        Source::Truncate => (0..KEYS).collect(),
    }
}

const KEYS: u8 = 4;

impl World {
    fn addressed(&self, index: usize) -> Addressed {
        let letter = Letter {
            id: id(index),
            shape: ShapeId(1),
            change: letter_change(self.changes[index]),
            epoch: Epoch(1),
            added_at: 0,
            failure: None,
        };
        Addressed { table: Arc::clone(&self.table), is_binary: false, letter }
    }

    /// What a destination does: tries everything in order, and tells what it refuses, until nothing is refused.
    fn judge(&self, batch: &Batch, parked: &Parked) -> Aside {
        let mut verdicts = Verdicts::default();
        loop {
            let aside = set_aside(batch, parked, &verdicts, |_, _| true);
            let mut refused = None;
            for change in batch.segments.iter().flat_map(Segment::tables).flat_map(|table| &table.changes) {
                let at = index(LetterId {
                    commit_lsn: batch.transactions[change.transaction as usize],
                    ordinal: change.ordinal,
                });
                if self.bad.contains(&at) && !aside.skips(change) {
                    let place = change.place();
                    refused = refused.filter(|earlier: &(u32, u64)| *earlier < place).or(Some(place));
                }
            }
            let Some(place) = refused else { return aside };
            verdicts.reject(1, place, Rejection { class: "22000".to_owned(), message: String::new() });
        }
    }

    fn batch(&mut self, changes: usize, dies: bool) {
        let end = (self.position + changes).min(self.changes.len());
        let letters: Vec<_> = (self.position..end).map(|index| self.addressed(index)).collect();
        let batch = batch_of(&letters, None);
        let aside = self.judge(&batch, &self.parked);
        if dies {
            return self.crash(); // letters in the store that the destination does not know of are none
        }
        let skipped_for_good = |index: &usize| {
            let place = id(*index);
            aside.emptied.iter().any(|emptied| place < emptied.before)
        };
        let kept: BTreeSet<_> = aside.letters.iter().map(|letter| index(letter.id)).collect();
        for emptied in &aside.emptied {
            self.waiting.retain(|id, _| *id >= emptied.before);
        }
        let is_skipped = self.skipped(&batch, &aside);
        for index in self.position..end {
            if kept.contains(&index) {
                self.waiting.insert(id(index), self.addressed(index));
            } else if !(is_skipped.contains(&index) && skipped_for_good(&index)) {
                self.applied.push(index);
            }
        }
        self.position = end;
        aside.change.apply_to(&mut self.parked);
    }

    fn skipped(&self, batch: &Batch, aside: &Aside) -> BTreeSet<usize> {
        let changes = batch.segments.iter().flat_map(Segment::tables).flat_map(|table| &table.changes);
        let at = |transaction: u32, ordinal| {
            index(LetterId { commit_lsn: batch.transactions[transaction as usize], ordinal })
        };
        changes.filter(|change| aside.skips(change)).map(|change| at(change.transaction, change.ordinal)).collect()
    }

    fn pass(&mut self, page: usize) {
        let mut held = Parked::default();
        let letters: Vec<_> = self.waiting.values().cloned().collect();
        for letters in letters.chunks(page) {
            let batch = batch_of(letters, None);
            let aside = self.judge(&batch, &held);
            let kept: BTreeSet<_> = aside.letters.iter().map(|letter| letter.id).collect();
            for letter in letters.iter().filter(|letter| !kept.contains(&letter.letter.id)) {
                self.applied.push(index(letter.letter.id));
                self.waiting.remove(&letter.letter.id);
                self.parked.release(1, letter.block());
            }
            aside.change.apply_to(&mut held);
        }
    }

    /// The process is gone; the next one knows what the destination waits for.
    fn crash(&mut self) {
        self.parked = Parked::default();
        for letter in self.waiting.values() {
            self.parked.park(&letter.table, letter.block());
        }
    }
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        6 => (0..KEYS).prop_map(Source::Insert),
        6 => (0..KEYS).prop_map(Source::Update),
        4 => (0..KEYS).prop_map(Source::Delete),
        4 => (0..KEYS, 0..KEYS).prop_map(|(old, new)| Source::Rekey(old, new)),
        1 => Just(Source::Truncate),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..8, prop::bool::weighted(0.2)).prop_map(|(changes, dies)| Step::Batch { changes, dies }),
        3 => (1usize..5).prop_map(|page| Step::Pass { page }),
        1 => Just(Step::Crash),
        2 => prop::collection::btree_set(0usize..60, 0..10).prop_map(Step::Heal),
    ]
}

proptest! {
    #[test]
    fn each_key_sees_the_changes_of_the_source_in_its_order(
        changes in prop::collection::vec(source(), 1..60),
        bad in prop::collection::btree_set(0usize..60, 0..20),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        // A TRUNCATE is not about a row: it is never refused.
        let bad = bad.into_iter().filter(|at| !matches!(changes.get(*at), Some(Source::Truncate) | None)).collect();
        let (applied, waiting) = (Vec::new(), BTreeMap::new());
        let mut world = World { table: table(), changes, bad, position: 0, applied, waiting, parked: Parked::default() };
        for step in steps {
            match step {
                Step::Batch { changes, dies } => world.batch(changes, dies),
                Step::Pass { page } => world.pass(page),
                Step::Crash => world.crash(),
                Step::Heal(healed) => world.bad.retain(|at| !healed.contains(at)),
            }
            prop_assert_eq!(world.parked.letters(), world.waiting.len() as u64);
        }
        world.bad.clear();
        while world.position < world.changes.len() {
            world.batch(7, false);
        }
        world.pass(3);
        prop_assert!(world.waiting.is_empty() && world.parked.is_empty());
        for key in 0..KEYS {
            let seen: Vec<_> = world.applied.iter().filter(|at| keys(world.changes[**at]).contains(&key)).collect();
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "key {}: {:?}", key, seen);
        }
        let truncated = world.changes.iter().rposition(|change| matches!(change, Source::Truncate)).unwrap_or(0);
        let applied: BTreeSet<_> = world.applied.iter().copied().collect();
        prop_assert!((truncated..world.changes.len()).all(|at| applied.contains(&at)), "something was lost");
    }
}

#[test]
fn a_block_of_a_key_change_is_of_both_keys() {
    let world = World {
        table: table(),
        changes: vec![Source::Rekey(1, 2)],
        bad: BTreeSet::new(),
        position: 0,
        applied: Vec::new(),
        waiting: BTreeMap::new(),
        parked: Parked::default(),
    };
    let Block::Keys(old, new) = world.addressed(0).block() else { panic!("no keys") };
    assert_ne!(old, new);
}
