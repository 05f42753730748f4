//! What the server makes of a row filter, asked before it is put into a publication: SQL is not parsed here.

use crate::{
    postgres::{Connection, PgError, ident, sqlstate},
    schema::TableName,
};

/// What the server says of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Valid; the columns that it reads.
    Reads(Vec<String>),
    /// Not valid, and why.
    Refused(String),
    /// The role may not find out.
    Unknown,
}

/// The name of the publication that is made to be rolled back.
const PROBE: &str = "rosetta_filter_probe";

/// Without a column list: its columns would be dependencies, too.
const READS: &str = "\
    SELECT a.attname FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid \
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_publication_rel'::pg_catalog.regclass \
       AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = r.prrelid \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attnum > 0 \
     WHERE p.pubname = $1 ORDER BY a.attnum";

/// Tries a filter in a publication of its own, which is rolled back. Needs PostgreSQL 15.
///
/// # Errors
/// A lost connection.
pub async fn probe(source: &mut Connection, table: &TableName, filter: &str) -> Result<Verdict, PgError> {
    source.simple("BEGIN").await?;
    let verdict = probe_in_transaction(source, table, filter).await;
    source.simple("ROLLBACK").await?;
    match verdict {
        Ok(columns) => Ok(Verdict::Reads(columns)),
        Err(PgError::Server(error)) if error.code == sqlstate::INSUFFICIENT_PRIVILEGE => Ok(Verdict::Unknown),
        // Whether a table exists is not the filter's matter.
        Err(PgError::Server(error)) if error.code == sqlstate::UNDEFINED_TABLE => Ok(Verdict::Unknown),
        Err(PgError::Server(error)) if error.code == sqlstate::INVALID_SCHEMA_NAME => Ok(Verdict::Unknown),
        Err(error @ PgError::Server(_)) if error.is_transient() => Err(error),
        Err(PgError::Server(error)) => Ok(Verdict::Refused(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn probe_in_transaction(
    source: &mut Connection,
    table: &TableName,
    filter: &str,
) -> Result<Vec<String>, PgError> {
    // The extended protocol takes one statement only, so that a filter cannot smuggle in another.
    let create = format!("CREATE PUBLICATION {} FOR TABLE ONLY {} WHERE (\n{filter}\n)", ident(PROBE), table.sql());
    source.query(&create, &[]).await?;
    let rows = source.query(READS, &[Some(PROBE)]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}
