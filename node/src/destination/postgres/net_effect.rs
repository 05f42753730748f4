use std::{collections::BTreeMap, collections::hash_map::Entry, mem, ops::Range};

use foldhash::{HashMap, HashMapExt};

use crate::{
    pipeline::batch::{Change, Operation, TableChanges},
    source::pgoutput::{Tuple, Value},
};

/// Which columns of an update keep the value they have, because the log does not hold it.
pub(super) type Unchanged = Vec<usize>;

/// What a table's changes come to, row by row: at most one of the three for each key.
/// Applied in the order deletes, updates, inserts, so that a unique value that one row gives up can be
/// taken by another.
#[derive(Debug, Default)]
pub(super) struct NetEffect {
    pub(super) deletes: Vec<RowRef>,
    pub(super) updates: BTreeMap<Unchanged, Vec<RowRef>>,
    pub(super) inserts: Vec<RowRef>,
    merged: Vec<u8>,
}

/// A tuple in the table's changes, or one merged from several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowRef {
    Given(crate::pipeline::batch::Span),
    Merged(usize, usize),
}

/// What is known of one key while the changes are read.
struct Row {
    existed: bool,
    /// The row was deleted and came again: it must be written as a new one.
    reborn: bool,
    /// A tuple that holds the key's columns, for the delete.
    key: RowRef,
    now: Option<Version>,
}

#[derive(Clone, Copy)]
struct Version {
    tuple: RowRef,
    has_unchanged: bool,
}

impl NetEffect {
    /// The net effect of `changes` on the rows told apart by the columns `key`.
    pub(super) fn of(table: &TableChanges, changes: &[Change], key: &[usize]) -> NetEffect {
        let mut effect = NetEffect::default();
        let keys = Keys::of(table, changes, key);
        let mut rows: HashMap<&[u8], Row> = HashMap::with_capacity(changes.len());
        let mut order: Vec<&[u8]> = Vec::with_capacity(changes.len());
        for (change, key) in changes.iter().zip(&keys.spans) {
            let (old_key, new_key) = (keys.get(&key.old), keys.get(&key.new));
            match change.operation {
                Operation::Insert => effect.put(table, &mut rows, &mut order, new_key, change, false),
                Operation::Update => effect.put(table, &mut rows, &mut order, new_key, change, true),
                Operation::Delete => remove(&mut rows, &mut order, old_key, change),
                Operation::Rekey => {
                    remove(&mut rows, &mut order, old_key, change);
                    effect.put(table, &mut rows, &mut order, new_key, change, false);
                }
            }
        }
        for key in order {
            if let Some(row) = rows.remove(key) {
                effect.settle(table, row);
            }
        }
        effect
    }

    /// Makes every update whose row is known in full a delete and an insert.
    pub(super) fn replace_updated(&mut self) {
        for row in self.updates.remove(&Vec::new()).unwrap_or_default() {
            self.deletes.push(row);
            self.inserts.push(row);
        }
    }

    /// The tuple that `row` stands for.
    pub(super) fn tuple<'a>(&'a self, table: &'a TableChanges, row: RowRef) -> Tuple<'a> {
        match row {
            RowRef::Given(span) => table.tuple(span),
            RowRef::Merged(start, end) => Tuple::from_checked(self.merged.get(start..end).unwrap_or_default()),
        }
    }

    fn put<'k>(
        &mut self,
        table: &TableChanges,
        rows: &mut HashMap<&'k [u8], Row>,
        order: &mut Vec<&'k [u8]>,
        key: &'k [u8],
        change: &Change,
        exists: bool,
    ) {
        let given = Version { tuple: RowRef::Given(change.new), has_unchanged: change.has_unchanged };
        match rows.entry(key) {
            Entry::Vacant(vacant) => {
                order.push(key);
                vacant.insert(Row { existed: exists, reborn: false, key: given.tuple, now: Some(given) });
            }
            Entry::Occupied(mut occupied) => {
                let row = occupied.get_mut();
                row.reborn |= row.now.is_none();
                row.now = Some(match row.now {
                    Some(before) if given.has_unchanged => self.merge(table, before, given),
                    Some(_) | None => given,
                });
            }
        }
    }

    /// `after` with the values that it leaves out taken from `before`.
    fn merge(&mut self, table: &TableChanges, before: Version, after: Version) -> Version {
        let mut merged = mem::take(&mut self.merged);
        let start = merged.len();
        let mut has_unchanged = false;
        {
            let old = match before.tuple {
                RowRef::Given(span) => table.tuple(span).as_bytes().to_vec(),
                RowRef::Merged(from, to) => merged.get(from..to).unwrap_or_default().to_vec(),
            };
            let (old, new) = (Tuple::from_checked(&old), self.tuple(table, after.tuple));
            merged.extend_from_slice(&(new.column_count() as u16).to_be_bytes());
            for (value, previous) in new.values().zip(old.values()) {
                let value = if value == Value::Unchanged { previous } else { value };
                has_unchanged |= value == Value::Unchanged;
                value.write(&mut merged);
            }
        }
        let tuple = RowRef::Merged(start, merged.len());
        self.merged = merged;
        Version { tuple, has_unchanged }
    }

    fn settle(&mut self, table: &TableChanges, row: Row) {
        match (row.existed, row.now) {
            (false, None) => {}
            (true, None) => self.deletes.push(row.key),
            (false, Some(now)) => self.inserts.push(now.tuple),
            (true, Some(now)) if row.reborn => {
                self.deletes.push(row.key);
                self.inserts.push(now.tuple);
            }
            (true, Some(now)) => {
                let values = self.tuple(table, now.tuple).values().enumerate();
                let unchanged = match now.has_unchanged {
                    true => values.filter(|(_, value)| *value == Value::Unchanged).map(|(index, _)| index).collect(),
                    false => Vec::new(),
                };
                self.updates.entry(unchanged).or_default().push(now.tuple);
            }
        }
    }
}

fn remove<'k>(rows: &mut HashMap<&'k [u8], Row>, order: &mut Vec<&'k [u8]>, key: &'k [u8], change: &Change) {
    match rows.entry(key) {
        Entry::Vacant(vacant) => {
            order.push(key);
            vacant.insert(Row { existed: true, reborn: false, key: RowRef::Given(change.old), now: None });
        }
        Entry::Occupied(mut occupied) => occupied.get_mut().now = None,
    }
}

/// The key of each change's old and new tuple, as bytes that are equal when the stored keys are.
///
/// The log repeats a stored key to the bit, and PostgreSQL logs the old key whenever its bits change,
/// so two spellings of one value (numeric 1.0 and 1.00) are two keys here, at most one of them alive.
struct Keys {
    bytes: Vec<u8>,
    spans: Vec<KeySpans>,
}

struct KeySpans {
    old: Range<usize>,
    new: Range<usize>,
}

impl Keys {
    fn of(table: &TableChanges, changes: &[Change], key: &[usize]) -> Keys {
        let mut keys = Keys { bytes: Vec::with_capacity(changes.len() * 16), spans: Vec::with_capacity(changes.len()) };
        for change in changes {
            let old = match change.operation {
                Operation::Delete | Operation::Rekey => keys.append(table.tuple(change.old), key),
                Operation::Insert | Operation::Update => 0..0,
            };
            let new = match change.operation {
                Operation::Delete => 0..0,
                Operation::Insert | Operation::Update | Operation::Rekey => keys.append(table.tuple(change.new), key),
            };
            keys.spans.push(KeySpans { old, new });
        }
        keys
    }

    fn append(&mut self, tuple: Tuple<'_>, key: &[usize]) -> Range<usize> {
        let start = self.bytes.len();
        for &column in key {
            tuple.values().nth(column).unwrap_or(Value::Null).write(&mut self.bytes);
        }
        start..self.bytes.len()
    }

    fn get(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}
