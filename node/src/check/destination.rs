//! Whether a destination can take what is sent to it. Pure.

use super::{
    VERSIONS,
    destination_facts::{DestinationFacts, SchemaRights},
    report::{Finding, Subject},
    source::unsupported_version,
};
use crate::{
    postgres::ident,
    schema::{Generated, Table, TableKind},
    verify::Route,
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
pub(super) fn route_findings(pipeline: &str, route: &Route, from: &Table, facts: &DestinationFacts) -> Vec<Finding> {
    let subject = Subject { pipeline: Some(pipeline), destination: Some(&route.destination), ..Subject::default() };
    let target = &route.target;
    let existing = facts.tables.iter().find(|table| table.schema == target.schema && table.name == target.name);
    match existing {
        Some(table) => existing_table(subject, route, from, table, facts),
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

fn existing_table(
    subject: Subject<'_>,
    route: &Route,
    from: &Table,
    table: &Table,
    facts: &DestinationFacts,
) -> Vec<Finding> {
    let name = &route.target;
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
    findings.extend(misfits(subject, route, from, table));
    findings
}

/// Columns that one side has and the other cannot do without.
fn misfits(subject: Subject<'_>, route: &Route, from: &Table, table: &Table) -> Vec<Finding> {
    let name = &route.target;
    let mut findings = Vec::new();
    let is_sent = |column: &str| route.columns.as_ref().is_none_or(|columns| columns.iter().any(|c| c == column));
    for column in &from.columns {
        let is_copied = column.generated == Generated::No && is_sent(&column.name);
        if is_copied && table.column(&column.name).is_none() {
            let add = format!("ALTER TABLE {} ADD COLUMN {} {}", name.sql(), ident(&column.name), column.type_sql);
            let remedy = format!("{add}, or leave the column out by columns");
            findings.push(subject.problem(format!("table {name} has no column \"{}\"", column.name), remedy));
        }
    }
    for column in &table.columns {
        let is_filled = column.default_sql.is_some()
            || column.identity != crate::schema::Identity::No
            || (from.column(&column.name).is_some() && is_sent(&column.name));
        if column.not_null && !is_filled {
            let what =
                format!("table {name}: column \"{}\" is NOT NULL without a default, and nothing fills it", column.name);
            let remedy = format!("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL", name.sql(), ident(&column.name));
            findings.push(subject.problem(what, remedy));
        }
    }
    findings
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
