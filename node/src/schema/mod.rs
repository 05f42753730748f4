//! What tables look like on a server, and how a destination is made to fit its source.
//!
//! ```text
//! read      catalogs of one server -> Table (set-based: a few queries, however many tables)
//! types     a type's catalog entry -> how its values cross between servers (pure)
//! ```

mod read;
mod table;
mod types;

pub use read::{read_named, read_tables, read_unsupported};
pub use table::{Column, Generated, Identity, ReplicaIdentity, Table, TableKind, TableName, UniqueIndex};
pub use types::{Transfer, TypeInfo, TypeKind, Types};
