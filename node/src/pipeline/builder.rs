use std::{mem, sync::Arc};

use rosetta_proto::Lsn;

use super::batch::{Batch, Change, Operation, Position, RowKey, Segment, SourceTable, Span, TableChanges};
use crate::source::pgoutput::{Old, Tuple, Value};

/// Gathers the changes of one worker's tables into batches. No I/O, no clock.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    batch: Batch,
    open: Vec<TableChanges>,
    ordinal: u64,
    in_transaction: bool,
}

/// A change that contradicts what the stream said about its table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the change of {table} does not fit: {reason}")]
pub struct MisfitError {
    table: String,
    reason: &'static str,
}

impl BatchBuilder {
    /// A transaction begins; its commit record begins at `commit_lsn`.
    pub fn begin(&mut self, commit_lsn: Lsn) {
        self.batch.transactions.push(commit_lsn);
        self.batch.end = None;
        self.in_transaction = true;
    }

    /// The transaction that began last is complete.
    pub fn commit(&mut self, end: Position) {
        self.batch.end = Some(end);
        self.in_transaction = false;
    }

    /// The stream is at rest at `end`: everything before it has been given to this builder.
    pub fn rest_at(&mut self, end: Position) {
        self.batch.end = Some(end);
    }

    /// The next change's place among all of its transaction.
    pub fn at(&mut self, ordinal: u64) -> &mut BatchBuilder {
        self.ordinal = ordinal;
        self
    }

    pub fn insert(&mut self, table: &Arc<SourceTable>, new: Tuple<'_>) -> Result<(), MisfitError> {
        check_width(table, new)?;
        self.push(table, Operation::Insert, None, new, false);
        Ok(())
    }

    pub fn update(
        &mut self,
        table: &Arc<SourceTable>,
        old: Option<&Old<'_>>,
        new: Tuple<'_>,
    ) -> Result<(), MisfitError> {
        check_width(table, new)?;
        let mut filled = Vec::new();
        let mut new = new;
        if let Some(old) = old {
            check_width(table, old.tuple)?;
            if new.values().any(|value| value == Value::Unchanged) {
                fill_unchanged(table, old, new, &mut filled);
                new = Tuple::from_checked(&filled);
            }
        }
        let has_unchanged = new.values().any(|value| value == Value::Unchanged);
        let rekeyed = match (&table.key, old) {
            (RowKey::Columns(key), Some(old)) => !same_key(key, old.tuple, new),
            (RowKey::Columns(_), None) => false,
            (RowKey::WholeRow, Some(_)) => true,
            (RowKey::WholeRow, None) | (RowKey::None, _) => {
                return Err(misfit(table, "it has no identity to find the row by"));
            }
        };
        let operation = if rekeyed { Operation::Rekey } else { Operation::Update };
        self.changed(table, operation, old.map(|old| old.tuple).filter(|_| rekeyed), new, has_unchanged);
        Ok(())
    }

    /// A change as a batch holds it.
    pub fn changed(
        &mut self,
        table: &Arc<SourceTable>,
        operation: Operation,
        old: Option<Tuple<'_>>,
        new: Tuple<'_>,
        has_unchanged: bool,
    ) {
        if operation == Operation::Rekey && has_unchanged {
            self.alone(|builder| builder.push(table, operation, old, new, has_unchanged));
        } else {
            self.push(table, operation, old, new, has_unchanged);
        }
    }

    pub fn delete(&mut self, table: &Arc<SourceTable>, old: &Old<'_>) -> Result<(), MisfitError> {
        check_width(table, old.tuple)?;
        if table.key == RowKey::None {
            return Err(misfit(table, "it has no identity to find the row by"));
        }
        self.push(table, Operation::Delete, Some(old.tuple), Tuple::from_checked(&[]), false);
        Ok(())
    }

    pub fn truncate(&mut self, relations: Vec<Arc<SourceTable>>, restart_identity: bool) {
        self.close_segment();
        let (transaction, ordinal) = (self.transaction(), self.ordinal);
        self.batch.changes += 1;
        self.batch.segments.push(Segment::Truncate { relations, restart_identity, transaction, ordinal });
    }

    /// A table's description changed: what was gathered under the old one stands apart.
    pub fn close_segment(&mut self) {
        if !self.open.is_empty() {
            self.batch.segments.push(Segment::Net(mem::take(&mut self.open)));
        }
    }

    /// What was gathered; the next batch begins empty, inside the same transaction if one is open.
    pub fn take(&mut self) -> Batch {
        self.close_segment();
        let mut batch = mem::take(&mut self.batch);
        if self.in_transaction {
            batch.end = None;
            self.batch.transactions.extend(batch.transactions.last());
        }
        batch
    }

    /// Nothing gathered, not even a position.
    pub fn is_empty(&self) -> bool {
        self.batch.transactions.is_empty() && self.batch.end.is_none()
    }

    /// Ends at a transaction's end, so that it can be committed.
    pub fn is_complete(&self) -> bool {
        self.batch.end.is_some() && !self.in_transaction
    }

    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    pub fn changes(&self) -> usize {
        self.batch.changes
    }

    pub fn bytes(&self) -> usize {
        self.batch.bytes
    }

    fn transaction(&self) -> u32 {
        (self.batch.transactions.len() as u32).saturating_sub(1)
    }

    /// Runs `add` so that its changes form an in-order segment of their own.
    fn alone(&mut self, add: impl FnOnce(&mut Self)) {
        self.close_segment();
        add(self);
        let tables = mem::take(&mut self.open);
        self.batch.segments.push(Segment::InOrder(tables));
    }

    fn push(
        &mut self,
        table: &Arc<SourceTable>,
        operation: Operation,
        old: Option<Tuple<'_>>,
        new: Tuple<'_>,
        has_unchanged: bool,
    ) {
        let (transaction, ordinal) = (self.transaction(), self.ordinal);
        let changes = self.open_table(table);
        let before = changes.bytes.len();
        let old = old.map_or(Span::default(), |old| changes.append(old));
        let new = if operation == Operation::Delete { Span::default() } else { changes.append(new) };
        changes.only_inserts &= operation == Operation::Insert;
        changes.changes.push(Change { operation, has_unchanged, transaction, ordinal, old, new });
        let added = changes.bytes.len() - before + mem::size_of::<Change>();
        self.batch.bytes += added;
        self.batch.changes += 1;
    }

    fn open_table(&mut self, table: &Arc<SourceTable>) -> &mut TableChanges {
        // The table of the last change is likely that of this one; otherwise tables in a batch are few.
        let found = self.open.iter().rposition(|open| Arc::ptr_eq(&open.table, table));
        let index = found.unwrap_or(self.open.len());
        if found.is_none() {
            let table = Arc::clone(table);
            self.open.push(TableChanges { table, bytes: Vec::new(), changes: Vec::new(), only_inserts: true });
        } else if index + 1 != self.open.len() {
            let last = self.open.len() - 1;
            self.open.swap(index, last);
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }
}

impl TableChanges {
    fn append(&mut self, tuple: Tuple<'_>) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(tuple.as_bytes());
        Span { start, length: tuple.as_bytes().len() as u32 }
    }
}

fn misfit(table: &SourceTable, reason: &'static str) -> MisfitError {
    MisfitError { table: format!("{}.{}", table.relation.schema, table.relation.name), reason }
}

fn check_width(table: &SourceTable, tuple: Tuple<'_>) -> Result<(), MisfitError> {
    if tuple.column_count() == table.relation.columns.len() {
        return Ok(());
    }
    Err(misfit(table, "its number of columns is not the one announced"))
}

/// Values that the log leaves out of the new tuple but has in the old one: all of them under
/// REPLICA IDENTITY FULL, otherwise those of the key.
fn fill_unchanged(table: &SourceTable, old: &Old<'_>, new: Tuple<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&(new.column_count() as u16).to_be_bytes());
    let columns = &table.relation.columns;
    for ((value, before), column) in new.values().zip(old.tuple.values()).zip(columns) {
        let known = value == Value::Unchanged && (old.is_full || column.is_key);
        if known { before.write(out) } else { value.write(out) }
    }
}

fn same_key(key: &[usize], old: Tuple<'_>, new: Tuple<'_>) -> bool {
    key.iter().all(|&column| old.values().nth(column) == new.values().nth(column))
}
