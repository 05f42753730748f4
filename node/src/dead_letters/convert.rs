//! Between what the stream brings and what letters hold. No I/O, no clock.

use std::sync::Arc;

use foldhash::HashMap;

use super::letter::{Letter, LetterChange, LetterId, Shape, ShapeColumn, ShapeKey};
use crate::{
    pipeline::{
        batch::{Batch, Position, RowKey, SourceTable},
        builder::BatchBuilder,
    },
    source::pgoutput::{Relation, RelationColumn, Tuple},
};

/// `schema.table` of a source table, as letters name it.
pub fn table_name(table: &SourceTable) -> String {
    crate::config::TableName { schema: table.relation.schema.clone(), name: table.relation.name.clone() }.to_string()
}

impl Shape {
    /// How `table` looks now.
    pub fn of(table: &SourceTable, is_binary: bool) -> Shape {
        let Relation { oid, schema, name, identity, columns } = table.relation.clone();
        let column = |RelationColumn { name, type_oid, is_key }| ShapeColumn { name, type_oid, is_key };
        let key = match &table.key {
            RowKey::Columns(columns) => ShapeKey::Columns(columns.clone()),
            RowKey::WholeRow => ShapeKey::WholeRow,
            RowKey::None => ShapeKey::None,
        };
        Shape { oid, schema, name, identity, columns: columns.into_iter().map(column).collect(), key, is_binary }
    }

    /// The table as it was then.
    pub fn source_table(&self) -> SourceTable {
        let Shape { oid, schema, name, identity, columns, key, is_binary: _ } = self.clone();
        let column = |ShapeColumn { name, type_oid, is_key }| RelationColumn { name, type_oid, is_key };
        let key = match key {
            ShapeKey::Columns(columns) => RowKey::Columns(columns),
            ShapeKey::WholeRow => RowKey::WholeRow,
            ShapeKey::None => RowKey::None,
        };
        let relation = Relation { oid, schema, name, identity, columns: columns.into_iter().map(column).collect() };
        SourceTable { relation, key, worker: 0 }
    }
}

/// A letter, and the table that it is of.
#[derive(Debug, Clone)]
pub struct Addressed {
    pub table: Arc<SourceTable>,
    pub is_binary: bool,
    pub letter: Letter,
}

impl Addressed {
    /// Whether the letter is one of this table, `schema.table`.
    pub fn is_of(&self, table: &str) -> bool {
        table_name(&self.table) == table
    }
}

/// Letters in the source's order as a batch again. With `end` the last transaction is complete.
pub fn batch_of(letters: &[Addressed], end: Option<Position>) -> Batch {
    let mut builder = BatchBuilder::default();
    let mut tables: HashMap<u32, &Arc<SourceTable>> = HashMap::default();
    let mut transaction = None;
    let mut rest = letters;
    while let Some((first, after)) = rest.split_first() {
        let LetterId { commit_lsn, ordinal } = first.letter.id;
        if transaction != Some(commit_lsn) {
            builder.begin(commit_lsn);
            transaction = Some(commit_lsn);
        }
        let before = tables.insert(first.table.relation.oid, &first.table);
        if before.is_some_and(|before| !Arc::ptr_eq(before, &first.table)) {
            builder.close_segment();
        }
        rest = after;
        match &first.letter.change {
            LetterChange::Row { operation, has_unchanged, old, new } => {
                let old = (!old.is_empty()).then(|| Tuple::from_checked(old));
                let new = Tuple::from_checked(new);
                builder.at(ordinal).changed(&first.table, *operation, old, new, *has_unchanged);
            }
            LetterChange::Truncate { restart_identity } => {
                // One statement of the source, a letter for each of its tables.
                let same = rest.iter().take_while(|other| other.letter.id == first.letter.id).count();
                let (others, after) = rest.split_at(same);
                rest = after;
                let relations = [first].into_iter().chain(others).map(|one| Arc::clone(&one.table)).collect();
                builder.at(ordinal).truncate(relations, *restart_identity);
            }
        }
    }
    if let Some(end) = end {
        builder.commit(end);
    }
    builder.take()
}
