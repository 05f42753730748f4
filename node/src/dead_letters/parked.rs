//! Which rows have changes that wait, and what therefore has to wait behind them. No I/O, no clock.

use std::{
    collections::{BTreeSet, hash_map::Entry},
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use foldhash::{HashMap, HashSet, fast::FixedState};

use super::convert::table_name;
use crate::{
    pipeline::batch::{Change, Operation, RowKey, SourceTable, TableChanges},
    source::pgoutput::{Tuple, Value},
};

/// What a waiting change blocks. Keys are known by their hashes: two that collide wait for each other without need,
/// which harms nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Nothing: rows of a table without a key are only inserted.
    Nothing,
    /// The row before the change and the row after it, which may be the same.
    Keys(u64, u64),
    /// Every row of the table.
    Table,
}

/// The rows that have changes waiting, by the source table's oid.
#[derive(Debug, Clone, Default)]
pub struct Parked {
    tables: HashMap<u32, ParkedTable>,
}

#[derive(Debug, Clone, Default)]
struct ParkedTable {
    /// How many letters wait that block the table.
    whole: u64,
    /// How many letters wait that block the key.
    keys: HashMap<u64, u32>,
    /// How many letters wait at all.
    letters: u64,
    /// Their keys cannot be compared with those that the stream brings now: the table waits until they are gone.
    is_foreign: bool,
    /// What the table was when the last was written.
    described: Option<Arc<SourceTable>>,
    names: BTreeSet<String>,
}

impl ParkedTable {
    fn remember(&mut self, described: &Arc<SourceTable>) {
        if self.described.as_ref().is_some_and(|before| Arc::ptr_eq(before, described)) {
            return;
        }
        self.is_foreign |= self.described.as_ref().is_some_and(|before| !has_same_key(before, described));
        self.described = Some(Arc::clone(described));
        self.names.insert(table_name(described));
    }

    fn is_blocked(&self) -> bool {
        self.whole > 0 || self.is_foreign
    }
}

impl Block {
    /// What this change of a row blocks while it waits.
    pub fn of(key: &RowKey, operation: Operation, old: Tuple<'_>, new: Tuple<'_>) -> Block {
        let hash = |tuple| match key {
            RowKey::Columns(columns) => hash_columns(tuple, columns),
            RowKey::WholeRow => hash_bytes(tuple.as_bytes()),
            RowKey::None => 0,
        };
        match (key, operation) {
            (RowKey::None, _) => Block::Nothing,
            (RowKey::Columns(_) | RowKey::WholeRow, Operation::Insert) => Block::Keys(hash(new), hash(new)),
            (RowKey::Columns(_), Operation::Update) => Block::Keys(hash(new), hash(new)),
            (RowKey::WholeRow, Operation::Update) | (_, Operation::Rekey) => Block::Keys(hash(old), hash(new)),
            (RowKey::Columns(_) | RowKey::WholeRow, Operation::Delete) => Block::Keys(hash(old), hash(old)),
        }
    }

    /// The same for a change in a batch.
    pub fn of_change(table: &TableChanges, change: &Change) -> Block {
        Block::of(&table.table.key, change.operation, table.tuple(change.old), table.tuple(change.new))
    }
}

impl Parked {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many letters wait.
    pub fn letters(&self) -> u64 {
        self.tables.values().map(|table| table.letters).sum()
    }

    /// Whether any letter of this table waits.
    pub fn has_table(&self, oid: u32) -> bool {
        self.tables.contains_key(&oid)
    }

    /// Whether the whole table waits.
    pub fn is_table_blocked(&self, oid: u32) -> bool {
        self.tables.get(&oid).is_some_and(ParkedTable::is_blocked)
    }

    /// Whether a change that would block this has to wait itself.
    pub fn holds(&self, oid: u32, block: Block) -> bool {
        let Some(table) = self.tables.get(&oid) else { return false };
        match block {
            _ if table.is_blocked() => true,
            Block::Nothing => false,
            Block::Keys(old, new) => table.keys.contains_key(&old) || table.keys.contains_key(&new),
            Block::Table => table.letters > 0,
        }
    }

    /// A letter of this table waits from now on.
    pub fn park(&mut self, described: &Arc<SourceTable>, block: Block) {
        let table = self.tables.entry(described.relation.oid).or_default();
        table.remember(described);
        table.letters += 1;
        match block {
            Block::Nothing => {}
            Block::Table => table.whole += 1,
            Block::Keys(old, new) => {
                *table.keys.entry(old).or_default() += 1;
                *table.keys.entry(new).or_default() += 1;
            }
        }
    }

    /// A letter that was parked with this block waits no longer.
    pub fn release(&mut self, oid: u32, block: Block) {
        let Some(table) = self.tables.get_mut(&oid) else { return };
        table.letters = table.letters.saturating_sub(1);
        match block {
            Block::Nothing => {}
            Block::Table => table.whole = table.whole.saturating_sub(1),
            Block::Keys(old, new) => {
                for key in [old, new] {
                    if let Some(count) = table.keys.get_mut(&key) {
                        *count = count.saturating_sub(1);
                        if *count == 0 {
                            table.keys.remove(&key);
                        }
                    }
                }
            }
        }
        if table.letters == 0 {
            self.tables.remove(&oid);
        }
    }

    /// The whole table waits until its letters are gone.
    pub fn block_table(&mut self, oid: u32) {
        if let Some(table) = self.tables.get_mut(&oid) {
            table.is_foreign = true;
        }
    }

    /// What the table was called when its letters were written: more than one name if it was renamed.
    pub fn names(&self, oid: u32) -> BTreeSet<String> {
        self.tables.get(&oid).map(|table| table.names.clone()).unwrap_or_default()
    }

    /// The table was emptied at the source: nothing that waited for it matters any more.
    pub fn clear(&mut self, oid: u32) {
        self.tables.remove(&oid);
    }
}

/// What is parked, and what a batch would add to it if it were applied.
#[derive(Debug)]
pub struct Outlook<'a> {
    parked: &'a Parked,
    cleared: HashSet<u32>,
    /// Tables whose parked keys cannot be compared.
    foreign: HashSet<u32>,
    added: Parked,
}

impl<'a> Outlook<'a> {
    pub fn new(parked: &'a Parked) -> Outlook<'a> {
        let (cleared, foreign) = (HashSet::default(), HashSet::default());
        Outlook { parked, cleared, foreign, added: Parked::default() }
    }

    /// Whether changes of this table need to be looked at one by one.
    pub fn concerns(&self, oid: u32) -> bool {
        self.added.has_table(oid) || (!self.cleared.contains(&oid) && self.parked.has_table(oid))
    }

    /// See [`Parked::holds`].
    pub fn holds(&self, oid: u32, block: Block) -> bool {
        let is_blocked = || self.foreign.contains(&oid) || self.parked.holds(oid, block);
        self.added.holds(oid, block) || (!self.cleared.contains(&oid) && self.parked.has_table(oid) && is_blocked())
    }

    /// See [`Parked::is_table_blocked`].
    pub fn is_table_blocked(&self, oid: u32) -> bool {
        self.added.is_table_blocked(oid) || (!self.cleared.contains(&oid) && self.parked.is_table_blocked(oid))
    }

    pub fn park(&mut self, table: &Arc<SourceTable>, block: Block) {
        self.added.park(table, block);
    }

    /// See [`Parked::names`].
    pub fn names(&self, oid: u32) -> BTreeSet<String> {
        let mut names = self.added.names(oid);
        if !self.cleared.contains(&oid) {
            names.extend(self.parked.names(oid));
        }
        names
    }

    /// The stream describes the table like this now.
    pub fn see(&mut self, described: &Arc<SourceTable>) {
        let oid = described.relation.oid;
        let before = self.parked.tables.get(&oid).and_then(|table| table.described.as_ref());
        if before.is_some_and(|before| !Arc::ptr_eq(before, described) && !has_same_key(before, described)) {
            self.foreign.insert(oid);
        }
    }

    pub fn clear(&mut self, oid: u32) {
        self.added.clear(oid);
        self.cleared.insert(oid);
    }

    /// What the batch changes, once it is applied.
    pub fn into_change(self) -> ParkedChange {
        ParkedChange { cleared: self.cleared, added: self.added }
    }
}

/// What an applied batch changed in what is parked.
#[derive(Debug, Default)]
pub struct ParkedChange {
    cleared: HashSet<u32>,
    added: Parked,
}

impl ParkedChange {
    pub fn is_empty(&self) -> bool {
        self.cleared.is_empty() && self.added.is_empty()
    }

    pub fn apply_to(self, parked: &mut Parked) {
        for oid in self.cleared {
            parked.clear(oid);
        }
        for (oid, added) in self.added.tables {
            match parked.tables.entry(oid) {
                Entry::Vacant(vacant) => drop(vacant.insert(added)),
                Entry::Occupied(mut occupied) => occupied.get_mut().join(added),
            }
        }
    }
}

impl ParkedTable {
    fn join(&mut self, added: ParkedTable) {
        let ParkedTable { whole, keys, letters, is_foreign, described, names } = added;
        self.whole += whole;
        self.letters += letters;
        self.is_foreign |= is_foreign;
        if let Some(described) = described {
            self.remember(&described);
        }
        self.names.extend(names);
        for (key, count) in keys {
            *self.keys.entry(key).or_default() += count;
        }
    }
}

/// Whether the key of a table means the same in two descriptions of it.
fn has_same_key(one: &SourceTable, other: &SourceTable) -> bool {
    let names = |table: &SourceTable| match &table.key {
        RowKey::Columns(columns) => {
            let column = |index: &usize| table.relation.columns.get(*index);
            columns.iter().map(|index| column(index).map(|found| (found.name.clone(), found.type_oid))).collect()
        }
        RowKey::WholeRow | RowKey::None => {
            table.relation.columns.iter().map(|found| Some((found.name.clone(), found.type_oid))).collect::<Vec<_>>()
        }
    };
    std::mem::discriminant(&one.key) == std::mem::discriminant(&other.key) && names(one) == names(other)
}

fn hash_columns(tuple: Tuple<'_>, columns: &[usize]) -> u64 {
    let mut bytes = Vec::with_capacity(16 * columns.len());
    for &column in columns {
        tuple.values().nth(column).unwrap_or(Value::Null).write(&mut bytes);
    }
    hash_bytes(&bytes)
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::pgoutput::Relation;

    fn table(oid: u32) -> Arc<SourceTable> {
        let (schema, name) = ("public".to_owned(), format!("t{oid}"));
        let relation = Relation { oid, schema, name, identity: b'd', columns: Vec::new() };
        Arc::new(SourceTable { relation, key: RowKey::Columns(vec![0]), worker: 0 })
    }

    #[test]
    fn what_touches_a_parked_row_waits() {
        let mut parked = Parked::default();
        assert!(!parked.holds(1, Block::Keys(5, 5)));
        parked.park(&table(1), Block::Keys(5, 6));
        assert!(parked.holds(1, Block::Keys(5, 5)) && parked.holds(1, Block::Keys(7, 6)));
        assert!(!parked.holds(1, Block::Keys(7, 7)) && !parked.holds(2, Block::Keys(5, 5)));
        assert!(!parked.holds(1, Block::Nothing) && parked.holds(1, Block::Table));
        parked.park(&table(1), Block::Keys(6, 6));
        parked.release(1, Block::Keys(5, 6));
        assert!(!parked.holds(1, Block::Keys(5, 5)) && parked.holds(1, Block::Keys(6, 6)));
        parked.release(1, Block::Keys(6, 6));
        assert!(parked.is_empty());
    }

    #[test]
    fn a_blocked_table_holds_everything_of_it() {
        let mut parked = Parked::default();
        parked.park(&table(1), Block::Table);
        assert!(parked.holds(1, Block::Keys(9, 9)) && parked.holds(1, Block::Nothing) && parked.is_table_blocked(1));
        parked.release(1, Block::Table);
        assert!(parked.is_empty());
    }

    #[test]
    fn an_outlook_changes_nothing_before_it_is_applied() {
        let mut parked = Parked::default();
        parked.park(&table(1), Block::Keys(5, 5));
        let mut outlook = Outlook::new(&parked);
        outlook.clear(1);
        assert!(!outlook.holds(1, Block::Keys(5, 5)) && !outlook.concerns(1));
        outlook.park(&table(1), Block::Keys(8, 8));
        assert!(outlook.holds(1, Block::Keys(8, 8)) && outlook.concerns(1));
        let change = outlook.into_change();
        assert!(parked.holds(1, Block::Keys(5, 5)));
        change.apply_to(&mut parked);
        assert!(!parked.holds(1, Block::Keys(5, 5)) && parked.holds(1, Block::Keys(8, 8)));
        assert_eq!(parked.letters(), 1);
    }
}
