//! Tables for tests.

use crate::{
    config::Definitions,
    schema::{Column, Generated, Identity, ReplicaIdentity, Table, TableKind, Transfer, TypeKind},
};

pub(crate) fn table(oid: u32, name: &str) -> Table {
    Table {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: TableKind::Ordinary,
        partition_of: None,
        unlogged: false,
        extension: None,
        columns: vec![column("id"), column("total")],
        identity: ReplicaIdentity::Default,
        identity_columns: vec!["id".to_owned()],
        primary_key: vec!["id".to_owned()],
        unique_indexes: Vec::new(),
        approximate_pages: 1,
    }
}

pub(crate) fn column(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        number: 1,
        type_oid: 20,
        type_modifier: -1,
        type_sql: "bigint".to_owned(),
        type_schema: "pg_catalog".to_owned(),
        type_name: "int8".to_owned(),
        type_kind: TypeKind::Base,
        type_extension: None,
        array_type_oid: 1016,
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

/// One pipeline `p` from source `s` to destination `d`, with these lines of its own.
pub(crate) fn definitions(pipeline: &str) -> Definitions {
    let text = format!(
        "source = [{{ name = \"s\", url = \"postgres://a@b/c\" }}]\n\
         destination = [{{ name = \"d\", kind = \"null\" }}]\n\
         [[pipeline]]\nname = \"p\"\nsource = \"s\"\ndestinations = [\"d\"]\n{pipeline}\n"
    );
    Definitions::parse(&text, &|_| None).expect("a valid file")
}
