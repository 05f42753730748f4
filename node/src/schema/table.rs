use std::fmt;

use super::Transfer;
use crate::postgres::qualified;

/// A table's schema and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> TableName {
        TableName { schema: schema.into(), name: name.into() }
    }

    /// `"schema"."name"`, for SQL.
    pub fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

/// `schema.name`, for people.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// pg_class.relkind, for what can carry a table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Ordinary,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
}

/// pg_class.relreplident: which old values an UPDATE or DELETE carries in the change stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    Default,
    Full,
    Nothing,
    Index,
}

/// pg_attribute.attgenerated; virtual columns exist from PostgreSQL 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    No,
    Stored,
    Virtual,
}

/// pg_attribute.attidentity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    No,
    Always,
    ByDefault,
}

/// A unique index that identifies rows: valid, immediate, whole (no predicate), over plain columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueIndex {
    pub name: String,
    pub columns: Vec<String>,
    pub is_primary: bool,
    /// Chosen by REPLICA IDENTITY USING INDEX.
    pub is_replica_identity: bool,
}

/// A table as one server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    pub is_partition: bool,
    pub unlogged: bool,
    /// The extension that the table belongs to: CREATE EXTENSION makes and fills it.
    pub extension: Option<String>,
    /// In attnum order, without the dropped.
    pub columns: Vec<Column>,
    pub identity: ReplicaIdentity,
    /// The columns whose old values identify a row in the change stream: the primary key by default, the
    /// index's columns if an index is chosen; empty for FULL, for NOTHING, and without a primary key.
    /// A deferrable primary key identifies nothing (PostgreSQL, RelationGetIndexList).
    pub identity_columns: Vec<String>,
    pub primary_key: Vec<String>,
    pub unique_indexes: Vec<UniqueIndex>,
    /// Pages of the main fork: what the last VACUUM or ANALYZE noted, or the file's size if none ran.
    pub approximate_pages: u64,
}

impl Table {
    pub fn table_name(&self) -> TableName {
        TableName::new(&*self.schema, &*self.name)
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Why the table's changes cannot be replicated, if they cannot.
    pub fn unsupported(&self) -> Option<&'static str> {
        match self.kind {
            TableKind::Ordinary | TableKind::Partitioned if self.unlogged => {
                Some("it is unlogged, so its changes are not in the log: ALTER TABLE ... SET LOGGED, or leave it out")
            }
            TableKind::Ordinary | TableKind::Partitioned => None,
            TableKind::View => Some("it is a view: replicate the tables beneath it"),
            TableKind::MaterializedView => {
                Some("it is a materialized view, whose changes are not in the log: replicate the tables beneath it")
            }
            TableKind::Foreign => Some("it is a foreign table: replicate it from the server that holds it"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// pg_attribute.attnum.
    pub number: i16,
    pub type_oid: u32,
    /// pg_attribute.atttypmod; -1 for none.
    pub type_modifier: i32,
    /// As format_type writes it under an empty search_path: qualified unless built-in, with its modifier.
    pub type_sql: String,
    pub type_schema: String,
    pub type_name: String,
    /// The type of arrays of this type; 0 if there is none.
    pub array_type_oid: u32,
    /// Whether the type is an array itself (a domain over an array is not).
    pub is_array: bool,
    /// Also false for a constraint that was added NOT VALID (PostgreSQL 18): rows may break it.
    pub not_null: bool,
    /// The default, or the expression of a generated column.
    pub default_sql: Option<String>,
    /// Whether `default_sql` means the same on another server: no sequence, no user's function in it.
    pub default_is_portable: bool,
    pub generated: Generated,
    pub identity: Identity,
    /// Schema and name of the collation, if it is not the type's own.
    pub collation: Option<(String, String)>,
    pub transfer: Transfer,
}
