use super::{Transfer, TypeKind};
use crate::table_name::TableName;

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
    /// The OID of the table directly above a partition.
    pub partition_of: Option<u32>,
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

    /// Whether the change stream of an UPDATE or DELETE tells which row was meant; without, the server refuses both
    /// once the table is published.
    pub fn has_identity(&self) -> bool {
        match self.identity {
            ReplicaIdentity::Full => true,
            ReplicaIdentity::Nothing => false,
            ReplicaIdentity::Default | ReplicaIdentity::Index => !self.identity_columns.is_empty(),
        }
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
    pub type_kind: TypeKind,
    /// The extension that the type, or the element of an array type, belongs to.
    pub type_extension: Option<String>,
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

/// Tables and columns for tests.
#[cfg(test)]
pub(crate) mod examples {
    use super::*;

    /// A nullable column of a built-in type.
    pub(crate) fn column(name: &str, type_name: &str, modifier: i32) -> Column {
        Column {
            name: name.to_owned(),
            number: 1,
            type_oid: 0,
            type_modifier: modifier,
            type_sql: type_name.to_owned(),
            type_schema: "pg_catalog".to_owned(),
            type_name: type_name.to_owned(),
            type_kind: TypeKind::Base,
            type_extension: None,
            array_type_oid: 0,
            is_array: false,
            not_null: false,
            default_sql: None,
            default_is_portable: false,
            generated: Generated::No,
            identity: Identity::No,
            collation: None,
            transfer: Transfer::Binary,
        }
    }

    /// `public.t` with primary key `id`.
    pub(crate) fn table(columns: Vec<Column>) -> Table {
        Table {
            oid: 1,
            schema: "public".to_owned(),
            name: "t".to_owned(),
            kind: TableKind::Ordinary,
            partition_of: None,
            unlogged: false,
            extension: None,
            columns,
            identity: ReplicaIdentity::Default,
            identity_columns: vec!["id".to_owned()],
            primary_key: vec!["id".to_owned()],
            unique_indexes: vec![UniqueIndex {
                name: "t_pkey".to_owned(),
                columns: vec!["id".to_owned()],
                is_primary: true,
                is_replica_identity: false,
            }],
            approximate_pages: 0,
        }
    }
}
