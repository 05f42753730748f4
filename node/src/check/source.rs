//! Whether a source can serve its pipelines. Pure.

use std::collections::HashSet;

use super::{
    VERSIONS,
    report::{Finding, Subject},
    source_facts::{Publication, Slot, SourceFacts},
};
use crate::{
    config::Pipeline,
    pipeline::selection::{Selection, publications},
    postgres::{ident, literal},
    schema::{PartitionTree, Table, TableKind, TableName},
    source::publication::Publication as Wanted,
};

/// What concerns the whole server.
pub(super) fn server_findings(name: &str, pipelines: &[&Pipeline], facts: &SourceFacts) -> Vec<Finding> {
    let subject = Subject { source: Some(name), ..Subject::default() };
    let mut findings = vec![subject.ok(format!("connected: PostgreSQL {}, role {}", facts.version, facts.role))];
    if !VERSIONS.contains(&facts.version) {
        findings.push(unsupported_version(subject, facts.version));
    }
    if facts.wal_level != "logical" {
        let what = format!("wal_level is {}, which carries no row changes", facts.wal_level);
        findings.push(subject.problem(what, "ALTER SYSTEM SET wal_level = logical, then restart the server"));
    }
    if facts.is_standby {
        findings.push(subject.problem("the server is a standby", "name its primary in the url"));
    }
    if !facts.can_replicate {
        let what = format!("role {} may not replicate", facts.role);
        findings.push(subject.problem(what, format!("ALTER ROLE {} REPLICATION", ident(&facts.role))));
    }
    findings.extend(room(subject, pipelines, facts));
    findings
}

pub(super) fn unsupported_version(subject: Subject<'_>, version: u32) -> Finding {
    let (first, last) = (VERSIONS.start(), VERSIONS.end());
    let remedy = format!("use a server of version {first} to {last}");
    subject.problem(format!("PostgreSQL {version} is not supported"), remedy)
}

/// Slots and senders that the pipelines still need.
fn room(subject: Subject<'_>, pipelines: &[&Pipeline], facts: &SourceFacts) -> Vec<Finding> {
    let slot = |pipeline: &Pipeline| facts.slots.iter().find(|slot| slot.name == pipeline.slot);
    let new_slots = pipelines.iter().filter(|pipeline| slot(pipeline).is_none()).count();
    let new_senders =
        pipelines.iter().filter(|pipeline| slot(pipeline).is_none_or(|slot| slot.reader.is_none())).count();
    let needs = [
        ("max_replication_slots", facts.max_slots, facts.slots.len(), new_slots),
        ("max_wal_senders", facts.max_senders, facts.used_senders, new_senders),
    ];
    let lacking = needs.into_iter().filter(|(_, limit, used, new)| used + new > *limit);
    let problem = |(setting, limit, used, new): (&str, usize, usize, usize)| {
        let what = format!("{setting} is {limit}, {used} are in use, and the pipelines need {new} more");
        let remedy = format!("ALTER SYSTEM SET {setting} = {}, then restart the server", used + new);
        subject.problem(what, remedy)
    };
    lacking.map(problem).collect()
}

/// What concerns one pipeline's slot and publication.
pub(super) fn pipeline_findings(pipeline: &Pipeline, selection: &Selection, facts: &SourceFacts) -> Vec<Finding> {
    let subject = Subject { pipeline: Some(&pipeline.name), source: Some(&pipeline.source), ..Subject::default() };
    let slot = facts.slots.iter().find(|slot| slot.name == pipeline.slot);
    let mut findings: Vec<Finding> = slot.and_then(|slot| slot_problem(subject, slot, facts)).into_iter().collect();
    match &pipeline.publication {
        Some(name) => {
            let tables: Vec<&Table> = selection.tables.iter().map(|selected| &selected.table).collect();
            findings.extend(given_publication(subject, name, &tables, facts));
        }
        None => match publications(&pipeline.source, &pipeline.name, &selection.tables) {
            Ok(wanted) => findings.extend(wanted.iter().flat_map(|wanted| own_publication(subject, wanted, facts))),
            Err(problem) => findings.push(subject.problem(problem.what, problem.remedy)),
        },
    }
    findings
}

fn slot_problem(subject: Subject<'_>, slot: &Slot, facts: &SourceFacts) -> Option<Finding> {
    let name = &slot.name;
    let another = "give the pipeline another name, or set slot to a name that is free";
    if slot.plugin.as_deref() != Some("pgoutput") {
        let plugin = slot.plugin.as_deref().map_or("physical".to_owned(), |plugin| format!("of plugin {plugin}"));
        return Some(subject.problem(format!("slot {name} is {plugin}, not of pgoutput"), another));
    }
    if slot.database.as_deref() != Some(facts.database.as_str()) {
        let database = slot.database.as_deref().unwrap_or_default();
        return Some(subject.problem(format!("slot {name} belongs to database {database}"), another));
    }
    if slot.is_lost {
        let what = format!("slot {name} is lost: the server removed log that it had not read");
        let remedy = format!("SELECT pg_drop_replication_slot({}), then copy the tables again", literal(name));
        return Some(subject.problem(what, remedy));
    }
    let reader = slot.reader.as_ref()?;
    let pid = reader.pid;
    match reader.application_name.as_deref() {
        Some(program) if program.starts_with("rosetta") => {
            Some(subject.ok(format!("slot {name} is being read by {program}")))
        }
        Some(program) => {
            let what = format!("slot {name} is being read by {program} (process {pid})");
            Some(subject.problem(what, format!("stop that program, or {another}")))
        }
        None => {
            let what = format!("slot {name} is being read by process {pid}, whose name the role may not see");
            Some(subject.warning(what, "make sure that it is Rosetta"))
        }
    }
}

fn given_publication(subject: Subject<'_>, name: &str, tables: &[&Table], facts: &SourceFacts) -> Vec<Finding> {
    let Some(publication) = facts.publications.iter().find(|publication| publication.name == name) else {
        let remedy =
            format!("CREATE PUBLICATION {} FOR TABLE ..., or remove the key: Rosetta makes its own", ident(name));
        return vec![subject.problem(format!("publication \"{name}\" does not exist"), remedy)];
    };
    let mut findings = Vec::new();
    for table in tables.iter().filter(|table| !is_published(table, publication, facts)) {
        let table = table.table_name();
        let remedy = format!("ALTER PUBLICATION {} ADD TABLE {}, or exclude the table", ident(name), table.sql());
        findings.push(subject.problem(format!("publication \"{name}\" does not hold table {table}"), remedy));
    }
    if !publication.left_out.is_empty() {
        let left_out = publication.left_out.join(", ");
        let what = format!("publication \"{name}\" leaves out {left_out}, so the copies will not follow these");
        let remedy = format!("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')", ident(name));
        findings.push(subject.warning(what, remedy));
    }
    findings
}

/// Whether a publication holds the table itself, one above it, or all its partitions.
fn is_published(table: &Table, publication: &Publication, facts: &SourceFacts) -> bool {
    let parent = |table: &&Table| facts.tables.iter().find(|other| Some(other.oid) == table.partition_of);
    let is_held = |table: &Table| publication.tables.contains(&table.table_name());
    if is_held(table) || std::iter::successors(parent(&table), parent).any(is_held) {
        return true;
    }
    let beneath = match table.kind {
        TableKind::Partitioned => PartitionTree::new(&facts.tables).beneath(table),
        TableKind::Ordinary | TableKind::View | TableKind::MaterializedView | TableKind::Foreign => Vec::new(),
    };
    let mut leaves = beneath.into_iter().filter(|partition| partition.kind == TableKind::Ordinary).peekable();
    leaves.peek().is_some() && leaves.all(is_held)
}

/// A publication that Rosetta makes takes CREATE on the database, and the ownership of the tables.
fn own_publication(subject: Subject<'_>, wanted: &Wanted, facts: &SourceFacts) -> Vec<Finding> {
    let name = &wanted.name;
    let existing = facts.publications.iter().find(|publication| publication.name == *name);
    let role = ident(&facts.role);
    let mut findings = Vec::new();
    if existing.is_none() && !facts.can_create && !facts.is_superuser {
        let what = format!("role {} may not create publication {name}", facts.role);
        let grant = format!("GRANT CREATE ON DATABASE {} TO {role}", ident(&facts.database));
        findings.push(subject.problem(what, format!("{grant}, or create a publication and name it in publication")));
    }
    if facts.is_superuser {
        return findings;
    }
    let names: HashSet<TableName> =
        wanted.tables.iter().map(|table| TableName::new(&*table.schema, &*table.name)).collect();
    let tables = facts.tables.iter().filter(|table| names.contains(&table.table_name()));
    let is_there = |table: &Table| existing.is_some_and(|publication| is_published(table, publication, facts));
    let foreign = tables.filter(|table| !facts.owned.contains(&table.oid) && !is_there(table));
    let foreign: HashSet<TableName> = foreign.map(Table::table_name).collect();
    if let Some(example) = foreign.iter().min() {
        let count = foreign.len();
        let what = format!(
            "role {} does not own {count} of the tables, such as {example}, and cannot publish them",
            facts.role
        );
        let remedy = format!(
            "GRANT the tables' owner TO {role}, or have the owner create a publication and name it in publication"
        );
        findings.push(subject.problem(what, remedy));
    }
    findings
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
