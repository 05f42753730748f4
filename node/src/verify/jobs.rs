//! What is compared with what: a pipeline's definition, its source's tables, and its destination's tables. Pure.

use std::collections::HashMap;

use super::{
    report::TableReport,
    sql::{KeyColumn, Relation},
    table::Job,
};
use crate::{
    config::{Pipeline, Publish},
    pipeline::selection::{self, Route, Selected, select},
    schema::{Column, Generated, Table, TableKind, TableName},
};

/// Bytes of a table per bucket: some thousand rows, so that one wrong row costs the reading of few others.
const BUCKET_BYTES: u64 = 256 * 1024;

/// Buckets of a table at most: they are held in memory, on both sides and here.
const MAX_BUCKETS: u64 = 65_536;

/// Types whose values `column = 'text'` finds exactly, in any session.
const FOUND_BY_VALUE: [&str; 11] =
    ["int2", "int4", "int8", "text", "varchar", "bpchar", "uuid", "numeric", "date", "timestamp", "timestamptz"];

/// What one side's server says of itself and of its tables.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) encoding: String,
    pub(super) tables: Vec<Table>,
    /// Bytes by table, partitions included.
    pub(super) sizes: HashMap<u32, u64>,
}

/// What the command asks for, beyond the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) destination: &'a str,
    pub(super) show_values: bool,
}

/// The tables of a pipeline that come to one destination, each with one of its routes there.
pub(super) fn arrivals(wanted: Wanted<'_>, source: &Catalog) -> Vec<(Selected, Route)> {
    let selection = select(wanted.pipeline, &source.tables, Publish::All);
    let mut arrivals = Vec::new();
    for selected in selection.tables {
        let routes = selected.routes.iter().filter(|route| route.destination == wanted.destination);
        let here: Vec<Route> = routes.cloned().collect();
        arrivals.extend(here.into_iter().map(|route| (selected.clone(), route)));
    }
    arrivals
}

/// The names of the publications that the pipeline reads.
pub(super) fn publications(pipeline: &Pipeline, source: &Catalog) -> Vec<String> {
    if let Some(name) = &pipeline.publication {
        return vec![name.clone()];
    }
    let selection = select(pipeline, &source.tables, Publish::All);
    let made = selection::publications(&pipeline.source, &pipeline.name, &selection.tables).unwrap_or_default();
    made.into_iter().map(|publication| publication.name).collect()
}

/// How to compare one route, or the report that says why it cannot be compared.
pub(super) fn job(
    wanted: Wanted<'_>,
    (selected, route): &(Selected, Route),
    source: &Catalog,
    destination: &Catalog,
) -> Result<Job, Box<TableReport>> {
    let report = report(wanted, selected, route);
    let fail = |error: String| Box::new(TableReport { error: Some(error), ..report.clone() });
    let missing = |name: &TableName| fail(format!("table {name} does not exist at {}", wanted.destination));
    let from = &selected.table;
    let to = find(destination, &route.target).ok_or_else(|| missing(&route.target))?;
    let columns = compared_columns(from, route);
    for side in [from, to] {
        if let Some(column) = columns.iter().find(|column| side.column(column).is_none()) {
            let place = if std::ptr::eq(side, from) { "source's" } else { "destination's" };
            return Err(fail(format!("the {place} table has no column \"{column}\"")));
        }
    }
    let relation = Relation {
        name: from.table_name(),
        is_partitioned: from.kind == TableKind::Partitioned,
        key: key(from, to, &columns),
        columns,
        filter: selected.filter.clone(),
        hash_as_utf8: source.encoding != destination.encoding,
    };
    let target = Relation {
        name: route.target.clone(),
        is_partitioned: to.kind == TableKind::Partitioned,
        filter: None,
        ..relation.clone()
    };
    let bytes = source.sizes.get(&from.oid).copied().unwrap_or_default();
    let bucket_count = u32::try_from((bytes / BUCKET_BYTES).clamp(1, MAX_BUCKETS)).unwrap_or(1);
    Ok(Job { report, source: relation, destination: target, bucket_count, show_values: wanted.show_values })
}

fn report(wanted: Wanted<'_>, selected: &Selected, route: &Route) -> TableReport {
    let note = match selected.publish {
        Publish::All => None,
        Publish::Insert => Some("published for inserts only: the source's updates and deletes count as differences"),
    };
    TableReport {
        pipeline: wanted.pipeline.name.clone(),
        destination: wanted.destination.to_owned(),
        table: selected.table.table_name().to_string(),
        target: route.target.to_string(),
        note: note.map(str::to_owned),
        ..TableReport::default()
    }
}

fn find<'a>(catalog: &'a Catalog, name: &TableName) -> Option<&'a Table> {
    catalog.tables.iter().find(|table| table.schema == name.schema && table.name == name.name)
}

/// The route's columns without the generated ones, which each server computes for itself.
fn compared_columns(table: &Table, route: &Route) -> Vec<String> {
    let is_generated = |name: &String| table.column(name).is_some_and(|column| column.generated != Generated::No);
    match &route.columns {
        Some(columns) => columns.iter().filter(|name| !is_generated(name)).cloned().collect(),
        None => table.columns.iter().map(|column| column.name.clone()).filter(|name| !is_generated(name)).collect(),
    }
}

/// The columns that identify a row of the source; none where the compared columns hold no whole key.
fn key(from: &Table, to: &Table, columns: &[String]) -> Vec<KeyColumn> {
    let index = from.unique_indexes.iter().find(|index| index.is_replica_identity);
    let candidates = [Some(&from.primary_key), index.map(|index| &index.columns)];
    let is_whole = |key: &&Vec<String>| !key.is_empty() && key.iter().all(|column| columns.contains(column));
    let Some(key) = candidates.into_iter().flatten().find(is_whole) else { return Vec::new() };
    let value_type = |name: &String| match (from.column(name), to.column(name)) {
        (Some(from), Some(to)) if from.type_oid == to.type_oid && is_found_by_value(from) => {
            Some(from.type_name.clone())
        }
        (Some(_) | None, Some(_) | None) => None,
    };
    key.iter().map(|name| KeyColumn { name: name.clone(), value_type: value_type(name) }).collect()
}

fn is_found_by_value(column: &Column) -> bool {
    column.type_schema == "pg_catalog" && FOUND_BY_VALUE.contains(&column.type_name.as_str())
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
