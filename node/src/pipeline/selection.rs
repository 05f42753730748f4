//! Which tables a pipeline replicates, where each goes, and what stands in the way. Pure: `start`, `rosetta check` and
//! `rosetta verify` all decide by it.

use std::fmt;

use foldhash::HashMap;

use crate::{
    config::{Pipeline, Publish, TableEntry},
    postgres::ident,
    schema::{Generated, PartitionTree, ReplicaIdentity, Table, TableKind, TableName, Wanted},
    source::filter::Verdict,
};

pub use super::publications::publications;

/// Names of left-out relations that are shown.
const MAX_NAMES: usize = 5;

/// Row filters and column lists of publications came with this version.
pub const LISTS_SINCE: u32 = 15;

/// What a pipeline's patterns and entries come to.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// By name.
    pub tables: Vec<Selected>,
    pub problems: Vec<Problem>,
    /// What patterns meet but has no change stream: views, foreign and unlogged tables.
    pub left_out: Vec<TableName>,
    /// Patterns that select nothing.
    pub idle_patterns: Vec<String>,
}

impl Selection {
    /// What patterns meet and is left out, as one line; None where there is nothing.
    pub fn says_left_out(&self) -> Option<String> {
        let names = &self.left_out;
        let shown = names.iter().take(MAX_NAMES).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
        let line = || format!("left out, being views, foreign or unlogged tables ({}): {shown}{more}", names.len());
        (!names.is_empty()).then(line)
    }
}

/// A source table that the pipeline replicates, and where to.
#[derive(Debug, Clone)]
pub struct Selected {
    pub table: Table,
    pub routes: Vec<Route>,
    pub filter: Option<String>,
    pub publish: Publish,
}

impl Selected {
    /// What one route asks of its destination.
    pub fn wanted(&self, route: &Route) -> Wanted {
        Wanted {
            source: self.table.clone(),
            target: route.target.clone(),
            columns: route.columns.clone(),
            inserts_only: self.publish == Publish::Insert,
        }
    }
}

/// One way of a table into one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: String,
    pub target: TableName,
    /// None for all columns.
    pub columns: Option<Vec<String>>,
}

/// Something that must be put right before the pipeline can run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub what: String,
    pub remedy: String,
}

impl Problem {
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { what: what.into(), remedy: remedy.into() }
    }

    /// The first of some problems, in their order, as one line that counts the others.
    pub fn first(mut problems: Vec<Problem>) -> Option<String> {
        problems.sort();
        let first = problems.first()?;
        Some(match problems.len() - 1 {
            0 => first.to_string(),
            more => format!("{first} (and {more} more such problems; rosetta check lists them all)"),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// The tables that `pipeline` replicates, out of the source's `relations` of every kind. `published` says what the
/// user's publication carries; a publication of Rosetta's carries all.
///
/// Unless it is named in full, a partition comes through its root, a table of an extension is made and filled by the
/// extension, and what has no change stream is left out.
pub fn select(pipeline: &Pipeline, relations: &[Table], published: Publish) -> Selection {
    let exact = pipeline.tables.exact_names();
    let mut selection = Selection::default();
    for table in relations.iter().filter(|table| pipeline.tables.matches(&table.table_name())) {
        let name = table.table_name();
        let is_named = exact.contains(&&name);
        if !is_named && (table.partition_of.is_some() || table.extension.is_some()) {
            continue;
        }
        match table.unsupported() {
            Some(reason) if is_named => {
                selection.problems.push(Problem::new(format!("table {name} cannot be replicated"), reason));
            }
            Some(_) => selection.left_out.push(name),
            None => selection.tables.push(selected(pipeline, table, published)),
        }
    }
    for name in exact.iter().filter(|name| !relations.iter().any(|table| table.table_name() == ***name)) {
        let what = format!("table {name} does not exist at the source");
        selection.problems.push(Problem::new(what, "correct the name, or create the table"));
    }
    let names: Vec<TableName> = relations.iter().map(Table::table_name).collect();
    selection.idle_patterns = pipeline.tables.selecting_nothing(names.iter());
    if selection.tables.is_empty() && selection.problems.is_empty() {
        let what = "its patterns match no table of the source";
        selection.problems.push(Problem::new(what, "correct the patterns in tables"));
    }
    selection.tables.sort_by_cached_key(|selected| selected.table.table_name());
    let tree = PartitionTree::new(relations);
    selection.problems.extend(selection.tables.iter().flat_map(|table| problems(table, &tree)));
    selection.problems.extend(selected_twice(&selection.tables, &tree));
    selection
}

/// Entries replace the default route: to every destination under its own name.
fn selected(pipeline: &Pipeline, table: &Table, published: Publish) -> Selected {
    let name = table.table_name();
    let entries: Vec<&TableEntry> = pipeline.entries.iter().filter(|entry| entry.name == name).collect();
    let route = |destination: &String| Route { destination: destination.clone(), target: name.clone(), columns: None };
    let of_entry = |entry: &&TableEntry| -> Vec<Route> {
        let destinations = entry.destinations.as_ref().unwrap_or(&pipeline.destinations).iter();
        let (target, columns) = (entry.target.as_ref().unwrap_or(&name), &entry.columns);
        destinations.map(|to| Route { target: target.clone(), columns: columns.clone(), ..route(to) }).collect()
    };
    let first = entries.first();
    let routes = match first {
        None => pipeline.destinations.iter().map(route).collect(),
        Some(_) => entries.iter().flat_map(of_entry).collect(),
    };
    Selected {
        table: table.clone(),
        routes,
        filter: first.and_then(|entry| entry.filter.clone()),
        publish: first.map_or(published, |entry| if entry.publish == Publish::All { published } else { entry.publish }),
    }
}

/// Why the table cannot be replicated as it is wanted.
fn problems(selected: &Selected, tree: &PartitionTree<'_>) -> Vec<Problem> {
    let name = selected.table.table_name();
    let mut problems = missing_columns(selected);
    for partition in tree.beneath(&selected.table).into_iter().filter(|partition| partition.unlogged) {
        let what = format!("partition {} cannot be replicated", partition.table_name());
        problems.push(Problem::new(what, partition.unsupported().unwrap_or_default()));
    }
    if selected.publish == Publish::Insert {
        return problems;
    }
    for holder in tree.holders(&selected.table) {
        if !holder.has_identity() {
            problems.push(without_identity(&holder.table_name()));
            continue;
        }
        // The server refuses every list for an identity of all columns (PostgreSQL docs, CREATE PUBLICATION).
        if holder.identity == ReplicaIdentity::Full && columns(selected).is_some() {
            let what = format!("table {name}: columns leaves out some of the replica identity, which is FULL");
            problems.push(Problem::new(what, "remove columns, or choose a key: REPLICA IDENTITY DEFAULT"));
        }
        let lists = selected.routes.iter().filter_map(|route| route.columns.as_ref());
        let left_out = lists.flat_map(|list| holder.identity_columns.iter().filter(|key| !list.contains(key)));
        for column in left_out {
            let what = format!("table {name}: columns leaves out \"{column}\", which is part of its replica identity");
            problems.push(Problem::new(what, "add it to columns"));
        }
    }
    let mut seen = Vec::new();
    problems.retain(|problem| {
        !seen.contains(problem) && {
            seen.push(problem.clone());
            true
        }
    });
    problems
}

fn missing_columns(selected: &Selected) -> Vec<Problem> {
    let table = &selected.table;
    let is_sent = |name: &String| table.column(name).is_some_and(|column| column.generated == Generated::No);
    let mut wanted: Vec<&String> = selected.routes.iter().flat_map(|route| route.columns.iter().flatten()).collect();
    wanted.sort();
    wanted.dedup();
    let problem = |column: &&String| {
        let what = format!("table {} has no column \"{column}\" that can be replicated", table.table_name());
        Problem::new(what, "correct columns in its [[pipeline.table]]")
    };
    wanted.iter().filter(|name| !is_sent(name)).map(problem).collect()
}

fn without_identity(name: &TableName) -> Problem {
    let what = format!("table {name} has no replica identity: once published, its own updates and deletes fail");
    let remedy = format!(
        "ALTER TABLE {} ADD PRIMARY KEY (...) or REPLICA IDENTITY FULL, or set publish = \"insert\" in its \
         [[pipeline.table]], or exclude it with \"!{name}\"",
        name.sql()
    );
    Problem::new(what, remedy)
}

/// Row-level security stands between the role and some of a table's rows, at the source or at the destination. An
/// owner passes it, unless it `is_forced`.
pub fn limited(role: &str, side: &str, table: &TableName, is_forced: bool) -> Problem {
    let what = format!("row-level security of table {table} at the {side} keeps rows from role {role}");
    let bypass = format!("ALTER ROLE {} BYPASSRLS", ident(role));
    Problem::new(what, if is_forced { bypass } else { format!("{bypass}, or log in as the table's owner") })
}

/// A partition's changes come as its root's, so that none would be left for a route of its own.
fn selected_twice(selected: &[Selected], tree: &PartitionTree<'_>) -> Vec<Problem> {
    let names: HashMap<u32, TableName> =
        selected.iter().map(|selected| (selected.table.oid, selected.table.table_name())).collect();
    let mut problems = Vec::new();
    for root in selected {
        let twice = tree.beneath(&root.table).into_iter().filter_map(|partition| names.get(&partition.oid));
        let root = root.table.table_name();
        problems.extend(twice.map(|partition| {
            let what = format!("table {partition} is a partition of {root}, and both are selected");
            Problem::new(what, format!("leave out {partition}, or exclude \"!{root}\""))
        }));
    }
    problems
}

/// What a source of this version, or the user's publication, does not allow.
pub fn list_problems(pipeline: &Pipeline, selected: &[Selected], version: u32) -> Vec<Problem> {
    let has_list = |table: &&Selected| table.filter.is_some() || columns(table).is_some();
    let Some(first) = selected.iter().find(has_list) else { return Vec::new() };
    let table = first.table.table_name();
    let mut problems = Vec::new();
    if version < LISTS_SINCE {
        let what = format!("table {table} has a filter or a column list, which PostgreSQL {version} cannot publish");
        problems.push(Problem::new(what, format!("remove them, or use PostgreSQL {LISTS_SINCE} or newer")));
    }
    if pipeline.publication.is_some() {
        let what = format!("table {table} has a filter or a column list, which are part of a publication");
        problems.push(Problem::new(what, "remove publication so that Rosetta makes one, or put them into yours"));
    }
    problems
}

/// Why a filter cannot be published. Once it is, the server refuses every update and delete of a table whose filter
/// reads more than the replica identity (PostgreSQL docs, "Row Filters").
pub fn filter_problems(selected: &Selected, verdict: &Verdict, tree: &PartitionTree<'_>) -> Vec<Problem> {
    let name = selected.table.table_name();
    let columns = match verdict {
        Verdict::Reads(columns) => columns,
        Verdict::Refused(reason) => {
            return vec![Problem::new(format!("table {name}: the server refuses its filter: {reason}"), "correct it")];
        }
        Verdict::Unknown => return Vec::new(),
    };
    if selected.publish == Publish::Insert {
        return Vec::new();
    }
    let reads_more = |holder: &&Table| {
        let is_outside = |column: &&String| !holder.identity_columns.contains(column);
        let outside = columns.iter().find(is_outside).filter(|_| holder.identity != ReplicaIdentity::Full);
        outside.map(|column| (holder.table_name(), column))
    };
    let found = tree.holders(&selected.table).iter().find_map(reads_more);
    let problem = |(holder, column): (TableName, &String)| {
        let what = format!(
            "table {name}: its filter reads column \"{column}\", which is not in the replica identity of {holder}, so that \
             updates and deletes at the source would fail"
        );
        let remedy = format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL, or filter by columns of the key, or set publish = \"insert\"",
            holder.sql()
        );
        Problem::new(what, remedy)
    };
    found.map(problem).into_iter().collect()
}

/// The columns that any route wants, in the table's order; None for all.
pub fn columns(selected: &Selected) -> Option<Vec<String>> {
    if selected.routes.iter().any(|route| route.columns.is_none()) {
        return None;
    }
    let is_wanted = |name: &str| selected.routes.iter().any(|route| route.columns.iter().flatten().any(|c| c == name));
    let (wanted, others): (Vec<_>, Vec<_>) = selected.table.columns.iter().partition(|column| is_wanted(&column.name));
    if others.iter().all(|column| column.generated != Generated::No) {
        return None;
    }
    Some(wanted.into_iter().map(|column| column.name.clone()).collect())
}

/// Which of `workers` the table belongs to: by its name, so that it is the same after a restart.
pub fn worker_of(table: &TableName, workers: usize) -> usize {
    let bytes = table.schema.bytes().chain([0]).chain(table.name.bytes());
    // FNV-1a: fixed for ever, unlike the hashes of a library.
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % workers.max(1) as u64).unwrap_or(0)
}

/// Whether the table's rows lie in its partitions.
pub fn is_partitioned(table: &Table) -> bool {
    table.kind == TableKind::Partitioned
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
