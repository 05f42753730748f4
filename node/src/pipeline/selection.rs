use foldhash::HashMap;

use crate::{
    config::{Pipeline, Publish, TableEntry},
    schema::{Generated, ReplicaIdentity, Table, TableKind, TableName},
    source::publication::{Publication, Published},
};

/// PostgreSQL cuts names at 63 bytes; a publication cut short could be another's.
const NAME_LIMIT: usize = 63;

/// A source table that the pipeline replicates, and where to.
#[derive(Debug, Clone)]
pub struct Selected {
    pub table: Table,
    pub routes: Vec<Route>,
    pub filter: Option<String>,
    pub publish: Publish,
}

/// One way of a table into one or several destinations.
#[derive(Debug, Clone)]
pub struct Route {
    pub target: TableName,
    pub columns: Option<Vec<String>>,
    /// By name; None for all of the pipeline's.
    pub destinations: Option<Vec<String>>,
}

impl Route {
    pub fn leads_to(&self, destination: &str) -> bool {
        self.destinations.as_ref().is_none_or(|names| names.iter().any(|name| name == destination))
    }
}

/// The tables that `pipeline` replicates, out of those that the source has.
///
/// # Errors
/// One line: what is missing or cannot be replicated, with its remedy. Nothing was changed.
pub fn select(pipeline: &Pipeline, tables: Vec<Table>) -> Result<Vec<Selected>, String> {
    let found: HashMap<TableName, Table> = tables.into_iter().map(|table| (table.table_name(), table)).collect();
    let mut problems = Vec::new();
    for name in pipeline.tables.exact_names() {
        if !found.contains_key(name) {
            problems.push(format!("table {name} does not exist at the source"));
        }
    }
    let mut selected = Vec::new();
    for table in found.values() {
        let name = table.table_name();
        let is_named = pipeline.tables.exact_names().contains(&&name);
        // A partition's changes come as its root's; it is replicated by itself only when named.
        if !pipeline.tables.matches(&name) || (table.is_partition && !is_named) {
            continue;
        }
        let entries: Vec<_> = pipeline.entries.iter().filter(|entry| entry.name == name).collect();
        let table = selected_table(table, &entries);
        problems.extend(problem(&table));
        selected.push(table);
    }
    if selected.is_empty() && problems.is_empty() {
        problems.push("its patterns match no table of the source".to_owned());
    }
    problems.sort();
    if let Some(first) = problems.first() {
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more such tables; rosetta check lists them all)"),
        };
        return Err(format!("{first}{more}"));
    }
    selected.sort_by_key(|selected| selected.table.table_name());
    Ok(selected)
}

fn selected_table(table: &Table, entries: &[&TableEntry]) -> Selected {
    let routes = entries.iter().map(|entry| Route {
        target: entry.target.clone().unwrap_or_else(|| table.table_name()),
        columns: entry.columns.clone(),
        destinations: entry.destinations.clone(),
    });
    let mut routes: Vec<_> = routes.collect();
    if routes.is_empty() {
        routes.push(Route { target: table.table_name(), columns: None, destinations: None });
    }
    let first = entries.first();
    Selected {
        table: table.clone(),
        routes,
        filter: first.and_then(|entry| entry.filter.clone()),
        publish: first.map_or(Publish::All, |entry| entry.publish),
    }
}

/// Why the table cannot be replicated, if it cannot.
fn problem(selected: &Selected) -> Option<String> {
    let table = &selected.table;
    let name = table.table_name();
    if let Some(reason) = table.unsupported() {
        return Some(format!("table {name}: {reason}"));
    }
    for route in &selected.routes {
        for column in route.columns.iter().flatten() {
            if table.column(column).is_none_or(|column| column.generated != Generated::No) {
                return Some(format!("table {name} has no column '{column}' that can be replicated"));
            }
        }
        let left_out = |key: &&String| route.columns.as_ref().is_some_and(|columns| !columns.contains(key));
        if let Some(key) = table.identity_columns.iter().find(left_out) {
            return Some(format!("table {name}: its key column '{key}' must be in the list of columns"));
        }
    }
    let is_identified = table.identity == ReplicaIdentity::Full || !table.identity_columns.is_empty();
    (!is_identified && selected.publish == Publish::All).then(|| {
        format!(
            "table {name} has no replica identity, so that publishing its updates would make them fail at the source: \
             ALTER TABLE {} REPLICA IDENTITY FULL there, or give it a primary key, or publish = \"insert\" in its \
             [[pipeline.table]], or exclude it with \"!{name}\"",
            name.sql()
        )
    })
}

/// The publications that Rosetta makes for these tables.
///
/// # Errors
/// A name that PostgreSQL would cut short.
pub fn publications(source: &str, pipeline: &str, selected: &[Selected]) -> Result<Vec<Publication>, String> {
    let is_exclusive = selected.iter().any(|table| table.filter.is_some() || columns(table).is_some());
    let name = if is_exclusive { format!("rosetta_{source}_{pipeline}") } else { format!("rosetta_{source}") };
    let mut publications = Vec::new();
    for (inserts_only, name) in [(false, name.clone()), (true, format!("{name}_inserts"))] {
        let tables: Vec<_> = selected
            .iter()
            .filter(|table| (table.publish == Publish::Insert) == inserts_only)
            .map(|table| Published {
                schema: table.table.schema.clone(),
                name: table.table.name.clone(),
                columns: columns(table),
                filter: table.filter.clone(),
            })
            .collect();
        if tables.is_empty() {
            continue;
        }
        if name.len() > NAME_LIMIT {
            return Err(format!("its publication would be called '{name}', longer than PostgreSQL's 63 bytes: shorten the source's name"));
        }
        publications.push(Publication { name, tables, inserts_only, is_exclusive });
    }
    Ok(publications)
}

/// The columns that any route wants, in the table's order; None for all.
pub fn columns(selected: &Selected) -> Option<Vec<String>> {
    if selected.routes.iter().any(|route| route.columns.is_none()) {
        return None;
    }
    let is_wanted = |name: &String| selected.routes.iter().any(|route| route.columns.iter().flatten().any(|column| column == name));
    let names = selected.table.columns.iter().map(|column| column.name.clone());
    Some(names.filter(is_wanted).collect())
}

/// Which of `workers` the table belongs to: by its name, so that it is the same after a restart.
pub fn worker_of(table: &TableName, workers: usize) -> usize {
    let bytes = table.schema.bytes().chain([0]).chain(table.name.bytes());
    // FNV-1a: fixed for ever, unlike the hashes of a library.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % workers.max(1) as u64).unwrap_or(0)
}

/// Whether the table's rows lie in its partitions.
pub fn is_partitioned(table: &Table) -> bool {
    table.kind == TableKind::Partitioned
}
