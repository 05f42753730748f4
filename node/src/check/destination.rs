//! Whether a destination can take what is sent to it. Pure.

use super::{
    VERSIONS,
    destination_facts::{DestinationFacts, SchemaRights},
    report::{Finding, Subject},
    source::unsupported_version,
};
use crate::{
    pipeline::selection::{Route, Selected, limited},
    postgres::ident,
    schema::{Column, Severity, Table, TableKind, Wanted, fit},
};

/// Rights on single settings came with this version.
const PARAMETER_RIGHTS_SINCE: u32 = 15;

/// What concerns the whole server.
pub(super) fn server_findings(name: &str, facts: &DestinationFacts) -> Vec<Finding> {
    let subject = Subject { destination: Some(name), ..Subject::default() };
    let role = ident(&facts.role);
    let mut findings = vec![subject.ok(format!("connected: PostgreSQL {}, role {}", facts.version, facts.role))];
    if !VERSIONS.contains(&facts.version) {
        findings.push(unsupported_version(subject, facts.version));
    }
    if facts.is_standby {
        findings.push(subject.problem("the server is a standby and takes no writes", "name its primary in the url"));
    } else if facts.is_read_only {
        let remedy = format!("ALTER ROLE {role} SET default_transaction_read_only = off, or name a writable server");
        findings.push(subject.problem("transactions are read-only", remedy));
    }
    findings.extend(own_schema(subject, facts));
    if !facts.can_set_replication_role {
        let what = format!(
            "role {} may not set session_replication_role: triggers and foreign keys fire at the destination",
            facts.role
        );
        let remedy = if facts.version >= PARAMETER_RIGHTS_SINCE {
            format!("GRANT SET ON PARAMETER session_replication_role TO {role}")
        } else {
            "log in as a superuser, or drop the triggers and foreign keys there".to_owned()
        };
        findings.push(subject.warning(what, remedy));
    }
    findings
}

/// Schema `rosetta`, in which a destination remembers how far it is.
fn own_schema(subject: Subject<'_>, facts: &DestinationFacts) -> Option<Finding> {
    let role = ident(&facts.role);
    match facts.schemas.get("rosetta") {
        None if facts.can_create => None,
        None => {
            let remedy = format!("GRANT CREATE ON DATABASE {} TO {role}", ident(&facts.database));
            Some(subject.problem(format!("role {} may not create schema rosetta", facts.role), remedy))
        }
        Some(SchemaRights::None | SchemaRights::Use) => {
            let what = format!("role {} may not create tables in schema rosetta", facts.role);
            Some(subject.problem(what, format!("GRANT USAGE, CREATE ON SCHEMA rosetta TO {role}")))
        }
        Some(SchemaRights::UseAndCreate) if facts.closed_tables.is_empty() => None,
        Some(SchemaRights::UseAndCreate) => {
            let tables = facts.closed_tables.join(", ");
            let remedy = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rosetta TO {role}");
            Some(subject.problem(format!("role {} may not write to {tables} in schema rosetta", facts.role), remedy))
        }
    }
}

/// What concerns one route: its source's table, and its target. Findings of routes into one schema may repeat.
pub(super) fn route_findings(
    pipeline: &str,
    route: &Route,
    selected: &Selected,
    facts: &DestinationFacts,
) -> Vec<Finding> {
    let subject = Subject { pipeline: Some(pipeline), destination: Some(&route.destination), ..Subject::default() };
    let target = &route.target;
    let existing = facts.tables.iter().find(|table| table.schema == target.schema && table.name == target.name);
    match existing {
        Some(table) => existing_table(subject, &selected.wanted(route), table, facts),
        None => missing_table(subject, route, facts).into_iter().collect(),
    }
}

fn missing_table(subject: Subject<'_>, route: &Route, facts: &DestinationFacts) -> Option<Finding> {
    let schema = &route.target.schema;
    let role = ident(&facts.role);
    match facts.schemas.get(schema) {
        Some(SchemaRights::UseAndCreate) => None,
        Some(SchemaRights::None | SchemaRights::Use) => {
            let what = format!("role {} may not create tables in schema {schema}", facts.role);
            Some(subject.problem(what, format!("GRANT USAGE, CREATE ON SCHEMA {} TO {role}", ident(schema))))
        }
        None if facts.can_create => None,
        None => {
            let what = format!("role {} may not create schema {schema}", facts.role);
            Some(subject.problem(what, format!("GRANT CREATE ON DATABASE {} TO {role}", ident(&facts.database))))
        }
    }
}

fn existing_table(subject: Subject<'_>, wanted: &Wanted, table: &Table, facts: &DestinationFacts) -> Vec<Finding> {
    let name = &wanted.target;
    if !matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned) {
        return vec![subject.problem(format!("{name} exists and is not a table"), "set target to another name")];
    }
    let mut findings = Vec::new();
    if facts.schemas.get(&name.schema) == Some(&SchemaRights::None) {
        let what = format!("role {} may not use schema {}", facts.role, name.schema);
        let remedy = format!("GRANT USAGE ON SCHEMA {} TO {}", ident(&name.schema), ident(&facts.role));
        findings.push(subject.problem(what, remedy));
    }
    if let Some(rights) = facts.lacking.get(&table.oid) {
        let rights = rights.join(", ");
        let remedy = format!("GRANT {rights} ON {} TO {}", name.sql(), ident(&facts.role));
        findings.push(subject.problem(format!("role {} lacks {rights} on table {name}", facts.role), remedy));
    }
    if let Some(is_forced) = facts.limited.get(&table.oid) {
        let limited = limited(&facts.role, "destination", name, *is_forced);
        findings.push(subject.problem(limited.what, limited.remedy));
    }
    let sent: Vec<&Column> = wanted.sent_columns().collect();
    findings.extend(fit(wanted, table, &sent).into_iter().map(|misfit| {
        let what = format!("table {} {}", misfit.table, misfit.what);
        match misfit.severity {
            Severity::Error => subject.problem(what, misfit.remedy),
            Severity::Warning => subject.warning(what, misfit.remedy),
        }
    }));
    findings
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
