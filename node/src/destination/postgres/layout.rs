use std::sync::Arc;

use rosetta_proto::Lsn;

use crate::pipeline::batch::{RowKey, SourceTable};

/// How values travel; one choice for all tables of a pipeline, because it is an option of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As the server sends them; only when the types mean the same on both sides.
    Binary,
    /// As PostgreSQL prints them under our fixed settings.
    Text,
}

/// A table at the destination, as a pipeline writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The source table: by its oid, which a rename leaves alone.
    pub source_oid: u32,
    /// Quoted and qualified.
    pub table_sql: String,
    pub columns: Vec<TargetColumn>,
    /// Only some of the source's columns are wanted; others in the stream are not drift.
    pub is_projection: bool,
    /// Transactions whose commit record begins before this are in the table already (first copy).
    pub start: Lsn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetColumn {
    pub name: String,
    /// The type at the source when the pipeline started: what the other fields were decided by.
    pub source_type_oid: u32,
    /// The type as SQL names it, for casts.
    pub type_sql: String,
    pub type_oid: u32,
    /// An array type: unnest would take it apart.
    pub is_array: bool,
    /// GENERATED ALWAYS AS IDENTITY: an UPDATE cannot set it.
    pub identity_always: bool,
}

/// How the tuples of a source table become rows of a target: made anew when the stream describes the
/// table anew.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) table_sql: String,
    pub(super) columns: Vec<LayoutColumn>,
    pub(super) key: LayoutKey,
    pub(super) format: Format,
    pub(super) start: Lsn,
    /// Distinguishes prepared statements.
    pub(super) id: u32,
}

#[derive(Debug)]
pub(super) struct LayoutColumn {
    pub(super) tuple_index: usize,
    /// Quoted.
    pub(super) name_sql: String,
    pub(super) type_sql: String,
    pub(super) type_oid: u32,
    pub(super) is_array: bool,
    pub(super) identity_always: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum LayoutKey {
    /// Indexes into the tuple, in order.
    Columns(Vec<usize>),
    WholeRow,
    None,
}

/// The stream and the destination's table do not go together (any more).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error(
        "column {column} of {table} is new at the source; unless {target} has it, add it with \
         ALTER TABLE {target} ADD COLUMN, then restart the pipeline"
    )]
    NewColumn { table: String, column: String, target: String },
    #[error(
        "column {column} of {table} has another type now; change it in {target}, too, with ALTER TABLE {target} ALTER \
         COLUMN, then restart the pipeline"
    )]
    TypeChanged { table: String, column: String, target: String },
    #[error("key column {column} of {table} is not among the columns that go to {target}; add it to the list")]
    KeyLeftOut { table: String, column: String, target: String },
}

impl Layout {
    pub(super) fn new(
        source: &Arc<SourceTable>,
        target: &Target,
        format: Format,
        id: u32,
    ) -> Result<Layout, LayoutError> {
        let relation = &source.relation;
        let table = || format!("{}.{}", relation.schema, relation.name);
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (tuple_index, column) in relation.columns.iter().enumerate() {
            match target.columns.iter().find(|candidate| candidate.name == column.name) {
                Some(found) if found.source_type_oid != column.type_oid => {
                    let (column, target) = (column.name.clone(), target.table_sql.clone());
                    return Err(LayoutError::TypeChanged { table: table(), column, target });
                }
                Some(found) => columns.push(LayoutColumn::new(tuple_index, found)),
                None if target.is_projection => {}
                None => {
                    let (column, target) = (column.name.clone(), target.table_sql.clone());
                    return Err(LayoutError::NewColumn { table: table(), column, target });
                }
            }
        }
        let key = match &source.key {
            RowKey::None => LayoutKey::None,
            RowKey::WholeRow => LayoutKey::WholeRow,
            RowKey::Columns(key) => {
                let left_out = key.iter().find(|index| !columns.iter().any(|column| column.tuple_index == **index));
                if let Some(name) = left_out.and_then(|index| relation.columns.get(*index)) {
                    let (column, target) = (name.name.clone(), target.table_sql.clone());
                    return Err(LayoutError::KeyLeftOut { table: table(), column, target });
                }
                LayoutKey::Columns(key.clone())
            }
        };
        let (table_sql, start) = (target.table_sql.clone(), target.start);
        Ok(Layout { table_sql, columns, key, format, start, id })
    }

    /// `"a", "b"`: the columns of a COPY or an INSERT.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| column.name_sql.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The columns that the key is made of.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &LayoutColumn> {
        let key = match &self.key {
            LayoutKey::Columns(key) => key.as_slice(),
            LayoutKey::WholeRow | LayoutKey::None => &[],
        };
        self.columns.iter().filter(|column| key.contains(&column.tuple_index))
    }

    /// Rows can only be replaced as a whole: a column's values cannot be set by an UPDATE.
    pub(super) fn must_replace(&self) -> bool {
        self.columns.iter().any(|column| column.identity_always && !self.is_key(column))
    }

    pub(super) fn is_key(&self, column: &LayoutColumn) -> bool {
        matches!(&self.key, LayoutKey::Columns(key) if key.contains(&column.tuple_index))
    }
}

impl LayoutColumn {
    fn new(tuple_index: usize, target: &TargetColumn) -> LayoutColumn {
        LayoutColumn {
            tuple_index,
            name_sql: crate::postgres::ident(&target.name),
            type_sql: target.type_sql.clone(),
            type_oid: target.type_oid,
            is_array: target.is_array,
            identity_always: target.identity_always,
        }
    }
}
