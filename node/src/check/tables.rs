//! Whether the tables of a pipeline can be copied. Pure.

use super::{
    report::{Finding, Subject},
    source_facts::SourceFacts,
};
use crate::{
    config::{Pipeline, Publish, SnapshotMode},
    postgres::ident,
    schema::{ReplicaIdentity, Table, TableKind, TableName},
    verify::{Route, routes, selected},
};

/// Row filters and column lists of publications came with this version.
const FILTERS_SINCE: u32 = 15;

/// Names of left-out relations that are shown.
const MAX_NAMES: usize = 5;

pub(super) fn findings(pipeline: &Pipeline, facts: &SourceFacts) -> Vec<Finding> {
    let subject = Subject { pipeline: Some(&pipeline.name), source: Some(&pipeline.source), ..Subject::default() };
    let tables = selected(pipeline, &facts.tables);
    let mut findings = selection(subject, pipeline, &tables, facts);
    let inserts_only = publishes_inserts_only(pipeline, facts);
    for table in &tables {
        let routes = routes(pipeline, &table.table_name());
        if !inserts_only && routes.iter().all(|route| route.publish == Publish::All) {
            findings.extend(without_identity(subject, table, facts));
        }
        if let Some(reason) = table.unsupported() {
            findings.push(subject.problem(format!("table {} cannot be copied", table.table_name()), reason));
        }
        if !facts.readable.contains(&table.oid) && pipeline.snapshot == SnapshotMode::Initial {
            let remedy = format!("GRANT SELECT ON {} TO {}", table.table_name().sql(), ident(&facts.role));
            findings.push(subject.problem(format!("role {} may not read {}", facts.role, table.table_name()), remedy));
        }
        findings.extend(routes.iter().flat_map(|route| route_findings(subject, table, route, facts)));
    }
    dedup(&mut findings);
    if !tables.is_empty() && findings.iter().all(|finding| finding.level == super::Level::Ok) {
        findings.push(subject.ok(format!("{} tables can be copied", tables.len())));
    }
    findings
}

/// Names and patterns that lead to nothing, and what the patterns meet but cannot copy.
fn selection(subject: Subject<'_>, pipeline: &Pipeline, tables: &[&Table], facts: &SourceFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let exact = pipeline.tables.exact_names();
    for name in &exact {
        if tables.iter().any(|table| table.table_name() == **name) {
            continue;
        }
        let other = facts.unsupported.iter().find(|table| table.table_name() == **name);
        findings.push(match other.and_then(Table::unsupported) {
            Some(reason) => subject.problem(format!("{name} cannot be copied"), reason),
            None => subject.problem(format!("table {name} does not exist"), "correct the name, or create the table"),
        });
    }
    let names: Vec<TableName> = facts.tables.iter().map(Table::table_name).collect();
    for pattern in pipeline.tables.selecting_nothing(names.iter()) {
        findings.push(subject.warning(format!("pattern {pattern} selects no table"), "correct or remove it"));
    }
    if tables.is_empty() && exact.is_empty() {
        findings.push(subject.problem("the pipeline selects no table", "correct the patterns in tables"));
    }
    findings.extend(left_out(subject, pipeline, &exact, facts));
    findings
}

fn left_out(
    subject: Subject<'_>,
    pipeline: &Pipeline,
    exact: &[&TableName],
    facts: &SourceFacts,
) -> Option<Finding> {
    let candidates = facts.unsupported.iter().chain(&facts.tables).filter(|table| table.unsupported().is_some());
    let met = candidates.filter(|table| table.extension.is_none()).map(Table::table_name);
    let names: Vec<String> = met
        .filter(|name| pipeline.tables.matches(name) && !exact.contains(&name))
        .map(|name| name.to_string())
        .collect();
    let shown = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
    let what = format!("left out, being views, foreign or unlogged tables ({}): {shown}{more}", names.len());
    (!names.is_empty()).then(|| subject.warning(what, "exclude them from the patterns to silence this"))
}

/// Whether the user's publication has no updates and deletes, which alone need an identity.
fn publishes_inserts_only(pipeline: &Pipeline, facts: &SourceFacts) -> bool {
    let name = pipeline.publication.as_ref();
    let publication = name.and_then(|name| facts.publications.iter().find(|publication| publication.name == *name));
    publication.is_some_and(|publication| ["update", "delete"].iter().all(|kind| publication.left_out.contains(kind)))
}

/// The partitions that hold a partitioned table's rows.
pub(super) fn leaves<'a>(table: &Table, facts: &'a SourceFacts) -> impl Iterator<Item = &'a Table> {
    let root = table.oid;
    let is_leaf = move |leaf: &&Table| {
        leaf.kind == TableKind::Ordinary && leaf.oid != root && facts.roots.get(&leaf.oid) == Some(&root)
    };
    facts.tables.iter().filter(is_leaf)
}

/// A published table without an identity makes its owner's own updates fail; rows live in the leaves, so each leaf's
/// identity counts.
fn without_identity(subject: Subject<'_>, table: &Table, facts: &SourceFacts) -> Vec<Finding> {
    let holders: Vec<&Table> = match table.kind {
        TableKind::Partitioned => leaves(table, facts).collect(),
        TableKind::Ordinary | TableKind::View | TableKind::MaterializedView | TableKind::Foreign => vec![table],
    };
    let nameless = holders.into_iter().filter(|table| !has_identity(table));
    let problem = |table: &Table| {
        let name = table.table_name();
        let what = format!("table {name} has no replica identity: once published, its own updates and deletes fail");
        let remedy = format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL, or publish = \"insert\" in its [[pipeline.table]], or exclude it",
            name.sql()
        );
        subject.problem(what, remedy)
    };
    nameless.map(problem).collect()
}

fn has_identity(table: &Table) -> bool {
    match table.identity {
        ReplicaIdentity::Full => true,
        ReplicaIdentity::Nothing => false,
        ReplicaIdentity::Default | ReplicaIdentity::Index => !table.identity_columns.is_empty(),
    }
}

fn route_findings(subject: Subject<'_>, table: &Table, route: &Route, facts: &SourceFacts) -> Vec<Finding> {
    let name = &route.table;
    let mut findings = Vec::new();
    if facts.version < FILTERS_SINCE && (route.filter.is_some() || route.columns.is_some()) {
        let what =
            format!("table {name} has a filter or a column list, which PostgreSQL {} cannot publish", facts.version);
        findings.push(subject.problem(what, format!("remove them, or use PostgreSQL {FILTERS_SINCE} or newer")));
    }
    let refused = route.filter.as_ref().and_then(|filter| facts.refused_filters.get(&(name.clone(), filter.clone())));
    if let Some(reason) = refused {
        findings.push(subject.problem(format!("table {name}: the server refuses the filter: {reason}"), "correct it"));
    }
    let Some(columns) = &route.columns else { return findings };
    for column in columns.iter().filter(|column| table.column(column).is_none()) {
        let what = format!("table {name} has no column \"{column}\"");
        findings.push(subject.problem(what, "correct columns in its [[pipeline.table]]"));
    }
    let full: Vec<String>;
    let needed = match (route.publish, table.identity) {
        (Publish::Insert, _) | (Publish::All, ReplicaIdentity::Nothing) => return findings,
        (Publish::All, ReplicaIdentity::Full) => {
            full = table.columns.iter().map(|column| column.name.clone()).collect();
            &full
        }
        (Publish::All, ReplicaIdentity::Default | ReplicaIdentity::Index) => &table.identity_columns,
    };
    for column in needed.iter().filter(|column| !columns.contains(column)) {
        let what = format!("table {name}: columns leaves out \"{column}\", which is part of its replica identity");
        findings.push(subject.problem(what, "add it to columns"));
    }
    findings
}

/// Several routes of a table find the same.
fn dedup(findings: &mut Vec<Finding>) {
    let mut seen = std::collections::HashSet::new();
    findings.retain(|finding| seen.insert(finding.what.clone()));
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
