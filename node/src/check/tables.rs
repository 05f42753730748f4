//! Whether the tables of a pipeline can be copied. Pure.

use super::{
    report::{Finding, Subject},
    source_facts::SourceFacts,
};
use crate::{
    config::{Pipeline, Publish, SnapshotMode},
    pipeline::selection::{self, Problem, Selection, filter_problems, list_problems},
    postgres::ident,
    schema::{PartitionTree, Table},
};

pub(super) fn findings(pipeline: &Pipeline, selection: &Selection, facts: &SourceFacts) -> Vec<Finding> {
    let subject = Subject { pipeline: Some(&pipeline.name), source: Some(&pipeline.source), ..Subject::default() };
    let lists = list_problems(pipeline, &selection.tables, facts.version);
    let problem = |problem: &Problem| subject.problem(&problem.what, &problem.remedy);
    let mut findings: Vec<Finding> = selection.problems.iter().chain(&lists).map(problem).collect();
    for pattern in &selection.idle_patterns {
        findings.push(subject.warning(format!("pattern {pattern} selects no table"), "correct or remove it"));
    }
    let silence = "exclude them from the patterns to silence this";
    findings.extend(selection.says_left_out().map(|what| subject.warning(what, silence)));
    let tree = PartitionTree::new(&facts.tables);
    for table in selection.tables.iter().map(|selected| &selected.table) {
        findings.extend(unreadable(subject, pipeline, table, facts));
        findings.extend(limited(pipeline, table, &tree, facts).iter().map(problem));
    }
    for selected in &selection.tables {
        let filter = selected.filter.as_ref().map(|filter| (selected.table.table_name(), filter.clone()));
        let verdict = filter.and_then(|filter| facts.filters.get(&filter));
        let problems = verdict.map(|verdict| filter_problems(selected, verdict, &tree)).unwrap_or_default();
        findings.extend(problems.iter().map(problem));
    }
    if !selection.tables.is_empty() && findings.iter().all(|finding| finding.level == super::Level::Ok) {
        findings.push(subject.ok(format!("{} tables can be copied", selection.tables.len())));
    }
    findings
}

/// What the user's publication carries; Rosetta's own carries all.
pub(super) fn published(pipeline: &Pipeline, facts: &SourceFacts) -> Publish {
    let name = pipeline.publication.as_ref();
    let publication = name.and_then(|name| facts.publications.iter().find(|publication| publication.name == *name));
    let leaves_out = |kind| publication.is_some_and(|publication| publication.left_out.contains(&kind));
    if leaves_out("update") && leaves_out("delete") { Publish::Insert } else { Publish::All }
}

fn unreadable(subject: Subject<'_>, pipeline: &Pipeline, table: &Table, facts: &SourceFacts) -> Option<Finding> {
    if facts.readable.contains(&table.oid) || pipeline.snapshot != SnapshotMode::Initial {
        return None;
    }
    let remedy = format!("GRANT SELECT ON {} TO {}", table.table_name().sql(), ident(&facts.role));
    Some(subject.problem(format!("role {} may not read {}", facts.role, table.table_name()), remedy))
}

/// The copy reads the partitions; verify reads the table above them, too.
fn limited(pipeline: &Pipeline, table: &Table, tree: &PartitionTree<'_>, facts: &SourceFacts) -> Vec<Problem> {
    if pipeline.snapshot != SnapshotMode::Initial {
        return Vec::new();
    }
    let read = std::iter::once(table).chain(tree.beneath(table));
    let found = read.filter_map(|table| Some((table.table_name(), *facts.limited.get(&table.oid)?)));
    found.map(|(table, is_forced)| selection::limited(&facts.role, "source", &table, is_forced)).collect()
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
