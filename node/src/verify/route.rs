//! Which tables a pipeline copies, and where each goes.

use crate::{
    config::{self, Pipeline, Publish},
    schema::{Table, TableName},
};

/// One table of a source on its way to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub table: TableName,
    pub destination: String,
    pub target: TableName,
    /// None for all columns.
    pub columns: Option<Vec<String>>,
    pub filter: Option<String>,
    pub publish: Publish,
}

/// The tables that a pipeline copies. Unless they are named in full, a partition comes through its root, a table of an
/// extension is made and filled by the extension, and a table that cannot be copied is left out.
pub fn selected<'a>(pipeline: &Pipeline, tables: &'a [Table]) -> Vec<&'a Table> {
    let exact = pipeline.tables.exact_names();
    let is_selected = |table: &&Table| {
        let name = table.table_name();
        let comes_otherwise = table.is_partition || table.extension.is_some() || table.unsupported().is_some();
        pipeline.tables.matches(&name) && (!comes_otherwise || exact.contains(&&name))
    };
    tables.iter().filter(is_selected).collect()
}

/// The routes of one table: those of its entries, or, without any, to every destination under its own name.
pub fn routes(pipeline: &Pipeline, table: &TableName) -> Vec<Route> {
    let to = |destination: &String| Route {
        table: table.clone(),
        destination: destination.clone(),
        target: table.clone(),
        columns: None,
        filter: None,
        publish: Publish::All,
    };
    let entries: Vec<_> = pipeline.entries.iter().filter(|entry| entry.name == *table).collect();
    if entries.is_empty() {
        return pipeline.destinations.iter().map(to).collect();
    }
    let of_entry = |entry: &config::TableEntry| {
        let destinations = entry.destinations.as_ref().unwrap_or(&pipeline.destinations);
        let target = entry.target.as_ref().unwrap_or(table).clone();
        let (columns, filter, publish) = (entry.columns.clone(), entry.filter.clone(), entry.publish);
        let route = |destination| Route { target, columns, filter, publish, ..to(destination) };
        destinations.iter().map(move |destination| route.clone()(destination)).collect::<Vec<_>>()
    };
    entries.into_iter().flat_map(of_entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Definitions;

    const FILE: &str = r#"
        source = [{ name = "s", url = "postgres://a@b/c" }]
        destination = [{ name = "x", kind = "null" }, { name = "y", kind = "null" }]
        [[pipeline]]
        name = "p"
        source = "s"
        destinations = ["x", "y"]
        tables = ["public.*"]
        [[pipeline.table]]
        name = "public.orders"
        target = "sales.orders"
        destinations = ["y"]
        columns = ["id"]
        [[pipeline.table]]
        name = "public.orders"
        target = "sales.copy"
    "#;

    #[test]
    fn entries_replace_the_default_route() {
        let definitions = Definitions::parse(FILE, &|_| None).expect("a valid file");
        let pipeline = definitions.pipelines.first().expect("a pipeline");
        let shown = |name| -> Vec<String> {
            let routes = routes(pipeline, &TableName::new("public", name));
            routes.iter().map(|route| format!("{} {} {:?}", route.destination, route.target, route.columns)).collect()
        };
        assert_eq!(shown("items"), ["x public.items None", "y public.items None"]);
        assert_eq!(shown("orders"), ["y sales.orders Some([\"id\"])", "x sales.copy None", "y sales.copy None"]);
    }
}
