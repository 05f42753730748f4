//! Whether the role may read and publish the tables: asked before anything is made at the source.

use foldhash::HashSet;

use super::{
    PipelineError,
    job::Job,
    selection::{self, Problem, Selected, publications},
};
use crate::{
    config::SnapshotMode,
    postgres::{Connection, PgError, Row, ident},
    schema::TableName,
    source::publication,
};

/// Of each table and of the partitions that hold its rows: those that the role may not read. A list of columns needs
/// no right on the whole table.
const UNREADABLE: &str = "\
    SELECT n.nspname, c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
      FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::bool[])) t(oid, has_list) \
     CROSS JOIN LATERAL (SELECT t.oid UNION SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(t.oid) p \
                          WHERE p.isleaf) r(oid) \
      JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND (pg_catalog.has_table_privilege(c.oid, 'SELECT') \
                OR t.has_list AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT'))) \
     ORDER BY 1, 2";

/// Of each table and of all its partitions: those of which row-level security would show the role only some rows.
const LIMITED: &str = "\
    SELECT DISTINCT n.nspname, c.relname, c.relforcerowsecurity FROM pg_catalog.unnest($1::oid[]) t(oid) \
     CROSS JOIN LATERAL (SELECT t.oid UNION SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(t.oid) p) r(oid) \
      JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE pg_catalog.row_security_active(c.oid) ORDER BY 1, 2";

/// Only an owner may add a table to a publication, whatever else was granted.
const NOT_OWNED: &str = "\
    SELECT n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner) \
      FROM pg_catalog.unnest($1::oid[]) t(oid) JOIN pg_catalog.pg_class c ON c.oid = t.oid \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1, 2";

const MAY_CREATE: &str = "\
    SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), pg_catalog.current_database()";

/// Refuses tables that the role may not read, where it copies, or not publish, where Rosetta makes the publication.
///
/// # Errors
/// The refusal, or the source's.
pub(super) async fn check(job: &Job, source: &mut Connection, selected: &[Selected]) -> Result<(), PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let mut problems = Vec::new();
    let copies = job.destinations.iter().any(|destination| destination.url.is_some());
    if copies && job.definition.snapshot == SnapshotMode::Initial {
        problems.extend(unreadable(job, source, selected).await.map_err(failed)?);
        problems.extend(limited(job, source, selected).await.map_err(failed)?);
    }
    if job.definition.publication.is_none() {
        problems.extend(unpublishable(job, source, selected).await?);
    }
    Problem::first(problems).map_or(Ok(()), |problem| Err(PipelineError::Refused(problem)))
}

async fn unreadable(job: &Job, source: &mut Connection, selected: &[Selected]) -> Result<Vec<Problem>, PgError> {
    let has_list = |selected: &Selected| selection::columns(selected).is_some().to_string();
    let oids = array(selected.iter().map(|selected| selected.table.oid.to_string()));
    let lists = array(selected.iter().map(has_list));
    let problem = |row: &Row| {
        let (role, table) = (&job.source.user, TableName::new(row.text(0)?, row.text(1)?));
        let remedy = match row.is_true(2) {
            true => format!("GRANT SELECT ON {} TO {}", table.sql(), ident(role)),
            false => format!("GRANT USAGE ON SCHEMA {} TO {}", ident(&table.schema), ident(role)),
        };
        Ok(Problem::new(format!("role {role} may not read table {table} at the source"), remedy))
    };
    source.query(UNREADABLE, &[Some(&oids), Some(&lists)]).await?.iter().map(problem).collect()
}

async fn limited(job: &Job, source: &mut Connection, selected: &[Selected]) -> Result<Vec<Problem>, PgError> {
    let oids = array(selected.iter().map(|selected| selected.table.oid.to_string()));
    let problem = |row: &Row| {
        let table = TableName::new(row.text(0)?, row.text(1)?);
        Ok(selection::limited(&job.source.user, "source", &table, row.is_true(2)))
    };
    source.query(LIMITED, &[Some(&oids)]).await?.iter().map(problem).collect()
}

/// What keeps the role from making the publications, or from adding to them what they lack.
async fn unpublishable(
    job: &Job,
    source: &mut Connection,
    selected: &[Selected],
) -> Result<Vec<Problem>, PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let role = &job.source.user;
    let wanted = match publications(&job.definition.source, &job.definition.name, selected) {
        Ok(wanted) => wanted,
        Err(problem) => return Ok(vec![problem]),
    };
    let (mut problems, mut published) = (Vec::new(), HashSet::default());
    for publication in &wanted {
        match publication::tables_of(source, &publication.name).await.map_err(failed)? {
            // The whole list of an exclusive publication is set anew at each start.
            Some(tables) if !publication.is_exclusive => published.extend(tables),
            Some(_) => {}
            None => problems.extend(may_not_create(source, role, &publication.name).await.map_err(failed)?),
        }
    }
    let is_new =
        |selected: &&Selected| !published.contains(&(selected.table.schema.clone(), selected.table.name.clone()));
    let oids = array(selected.iter().filter(is_new).map(|selected| selected.table.oid.to_string()));
    for row in source.query(NOT_OWNED, &[Some(&oids)]).await.map_err(failed)? {
        problems.push(not_owned(role, &row).map_err(failed)?);
    }
    Ok(problems)
}

fn not_owned(role: &str, row: &Row) -> Result<Problem, PgError> {
    let (table, owner) = (TableName::new(row.text(0)?, row.text(1)?), row.text(2)?);
    let what =
        format!("role {role} does not own table {table} at the source, and only its owner {owner} may publish it");
    let remedy = format!(
        "GRANT {} TO {}, or have the owner create a publication and name it with publication = \"...\"",
        ident(owner),
        ident(role)
    );
    Ok(Problem::new(what, remedy))
}

async fn may_not_create(source: &mut Connection, role: &str, publication: &str) -> Result<Option<Problem>, PgError> {
    let rows = source.simple(MAY_CREATE).await?;
    let row = rows.first().ok_or_else(|| PgError::protocol("no row"))?;
    if row.is_true(0) {
        return Ok(None);
    }
    let remedy = format!("GRANT CREATE ON DATABASE {} TO {}", ident(row.text(1)?), ident(role));
    Ok(Some(Problem::new(format!("role {role} may not create publication {publication} at the source"), remedy)))
}

fn array(elements: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", elements.collect::<Vec<_>>().join(","))
}
