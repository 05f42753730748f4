//! Whether a publication of the user's carries what the pipeline is to copy: what it leaves out would be missed
//! in silence.

use super::selection::{self, Problem, Selected};
use crate::{
    config::SnapshotMode,
    postgres::{Connection, PgError, ident, literal},
    source::publication,
};

/// What the publication `name` leaves out.
///
/// # Errors
/// The source's.
pub(super) async fn problems(
    source: &mut Connection,
    name: &str,
    selected: &[Selected],
    snapshot: SnapshotMode,
) -> Result<Vec<Problem>, PgError> {
    let held = publication::tables_of(source, name).await?.unwrap_or_default();
    let sql = format!("SELECT pubviaroot FROM pg_catalog.pg_publication WHERE pubname = {}", literal(name));
    let via_root = source.simple(&sql).await?.first().is_some_and(|row| row.is_true(0));
    let publication = ident(name);
    let mut problems = Vec::new();
    for table in selected.iter().map(|selected| &selected.table) {
        let table_name = table.table_name();
        if selection::is_partitioned(table) && !via_root {
            let what = format!("publication '{name}' sends the partitions of {table_name} under their own names");
            let remedy = format!("ALTER PUBLICATION {publication} SET (publish_via_partition_root = true)");
            problems.push(Problem::new(what, remedy));
        } else if !held.contains(&(table.schema.clone(), table.name.clone())) {
            let what = format!("publication '{name}' does not hold table {table_name}");
            let remedy = format!("ALTER PUBLICATION {publication} ADD TABLE {}", table_name.sql());
            problems.push(Problem::new(what, remedy));
        }
    }
    if snapshot == SnapshotMode::Initial && has_lists(source, name).await? {
        problems.push(Problem::new(
            format!("publication '{name}' has row filters or column lists, which the first copy would not follow"),
            "leave `publication` out and write them as filter and columns, or use snapshot = \"never\"",
        ));
    }
    Ok(problems)
}

/// Row filters and column lists exist from PostgreSQL 15.
async fn has_lists(source: &mut Connection, name: &str) -> Result<bool, PgError> {
    if source.server_version() < 15 {
        return Ok(false);
    }
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
         WHERE p.pubname = {} AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL) LIMIT 1",
        literal(name)
    );
    Ok(!source.simple(&sql).await?.is_empty())
}
