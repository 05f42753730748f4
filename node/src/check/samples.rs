//! Tables and pipelines for tests.

use crate::{
    config::Definitions,
    schema::{Column, Table, examples},
};

/// `public.<name>` with columns `id`, its key, and `total`.
pub(crate) fn table(oid: u32, name: &str) -> Table {
    Table {
        oid,
        name: name.to_owned(),
        unique_indexes: Vec::new(),
        approximate_pages: 1,
        ..examples::table(vec![column("id"), column("total")])
    }
}

/// A nullable bigint.
pub(crate) fn column(name: &str) -> Column {
    Column { type_oid: 20, type_sql: "bigint".to_owned(), array_type_oid: 1016, ..examples::column(name, "int8", -1) }
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
