//! What tables look like on a server, and how a destination is made to fit its source.
//!
//! ```text
//! read            catalogs of one server -> Table (set-based: a few queries, however many tables)
//! types           a type's catalog entry -> how its values cross between servers (pure)
//! prepare         Wanted tables -> TargetTables: create what is missing, then check that all fit
//!   definition      the source's own types, each after its parts
//!   create          schemas, types (create_types) and tables that the destination lacks
//!   enums           labels that its enums lack
//!   fit             (source table, target table) -> misfits (pure)
//! ```

mod create;
mod create_types;
mod definition;
mod enums;
mod error;
mod fit;
mod partitions;
mod prepare;
mod read;
mod table;
mod types;

pub use crate::table_name::TableName;
pub use enums::sync_enums;
pub use error::SchemaError;
pub use fit::{Misfit, Severity, fit};
pub use partitions::PartitionTree;
pub use prepare::{TargetColumn, TargetTable, Wanted, prepare};
pub(crate) use read::array_literal;
pub use read::{read_named, read_tables, read_unsupported};
#[cfg(test)]
pub(crate) use table::examples;
pub use table::{Column, Generated, Identity, ReplicaIdentity, Table, TableKind, UniqueIndex};
pub use types::{Transfer, TypeInfo, TypeKind, Types};
