//! What a destination says of itself, and of the tables that are to be written.

use std::collections::{HashMap, HashSet};

use crate::{
    postgres::{Connection, PgError, Row, sqlstate},
    schema::{Table, TableName, read_named},
};

#[derive(Clone, Debug, Default)]
pub(super) struct DestinationFacts {
    pub(super) version: u32,
    pub(super) database: String,
    pub(super) role: String,
    pub(super) is_standby: bool,
    pub(super) is_read_only: bool,
    /// CREATE on the database, which a new schema takes.
    pub(super) can_create: bool,
    pub(super) can_set_replication_role: bool,
    /// What the role may do, by schema.
    pub(super) schemas: HashMap<String, SchemaRights>,
    /// Rosetta's own tables that the role may not write.
    pub(super) closed_tables: Vec<String>,
    /// The targets that exist.
    pub(super) tables: Vec<Table>,
    /// Rights that the role lacks, by table.
    pub(super) lacking: HashMap<u32, Vec<String>>,
    /// Where row-level security keeps rows from the role; true where it is forced on the owner, too.
    pub(super) limited: HashMap<u32, bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaRights {
    /// Not even reach its tables.
    None,
    Use,
    UseAndCreate,
}

const SERVER: &str = "\
    SELECT current_database(), current_user, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
           has_database_privilege(current_database(), 'CREATE')";

const SCHEMAS: &str = "\
    SELECT nspname, has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE') FROM pg_namespace";

const CLOSED: &str = "\
    SELECT relname FROM pg_class \
     WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'rosetta') AND relkind IN ('r', 'p') \
       AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') \
                AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))";

const LACKING: &str = "\
    SELECT c.oid, p.name FROM unnest($1::oid[]) c(oid), \
           unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p(name) \
     WHERE NOT has_table_privilege(c.oid, p.name)";

const LIMITED: &str = "\
    SELECT oid, relforcerowsecurity FROM pg_class WHERE oid = ANY ($1::oid[]) AND row_security_active(oid)";

/// Reads everything that concerns these targets.
///
/// # Errors
/// What the server says.
pub(super) async fn read(
    connection: &mut Connection,
    targets: &HashSet<TableName>,
) -> Result<DestinationFacts, PgError> {
    let targets: Vec<TableName> = targets.iter().cloned().collect();
    let rows = connection.simple(SERVER).await?;
    let row = rows.first().ok_or_else(|| PgError::protocol("no row"))?;
    let mut facts = DestinationFacts {
        version: connection.server_version(),
        database: row.text(0)?.to_owned(),
        role: row.text(1)?.to_owned(),
        is_standby: row.is_true(2),
        is_read_only: row.is_true(3),
        can_create: row.is_true(4),
        can_set_replication_role: can_set_replication_role(connection).await?,
        tables: read_named(connection, &targets).await?,
        ..DestinationFacts::default()
    };
    let rights = |row: &Row| match (row.is_true(1), row.is_true(2)) {
        (true, true) => SchemaRights::UseAndCreate,
        (true, false) => SchemaRights::Use,
        (false, _) => SchemaRights::None,
    };
    let schema = |row: &Row| Ok((row.text(0)?.to_owned(), rights(row)));
    facts.schemas = connection.simple(SCHEMAS).await?.iter().map(schema).collect::<Result<_, PgError>>()?;
    for row in connection.simple(CLOSED).await? {
        facts.closed_tables.push(row.text(0)?.to_owned());
    }
    let oids: Vec<String> = facts.tables.iter().map(|table| table.oid.to_string()).collect();
    let oids = format!("{{{}}}", oids.join(","));
    for row in connection.query(LACKING, &[Some(&oids)]).await? {
        facts.lacking.entry(row.parse(0)?).or_default().push(row.text(1)?.to_owned());
    }
    for row in connection.query(LIMITED, &[Some(&oids)]).await? {
        facts.limited.insert(row.parse(0)?, row.is_true(1));
    }
    Ok(facts)
}

/// Tried instead of looked up: managed services allow it to roles that are no superusers in ways of their own.
async fn can_set_replication_role(connection: &mut Connection) -> Result<bool, PgError> {
    let tried = connection.simple("BEGIN; SET LOCAL session_replication_role = replica").await;
    connection.simple("ROLLBACK").await?;
    match tried {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(error),
    }
}
