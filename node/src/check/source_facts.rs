//! What a source says of itself.

use std::collections::{HashMap, HashSet};

use crate::{
    pipeline::selection::LISTS_SINCE,
    postgres::{Connection, PgError, Row},
    schema::{Table, TableName, read_tables, read_unsupported},
    source::filter::{Verdict, probe},
};

#[derive(Clone, Debug, Default)]
pub(super) struct SourceFacts {
    pub(super) version: u32,
    pub(super) wal_level: String,
    pub(super) is_standby: bool,
    pub(super) database: String,
    pub(super) role: String,
    pub(super) is_superuser: bool,
    pub(super) can_replicate: bool,
    /// CREATE on the database, which a new publication takes.
    pub(super) can_create: bool,
    pub(super) max_slots: usize,
    pub(super) max_senders: usize,
    pub(super) used_senders: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) publications: Vec<Publication>,
    /// Relations of every kind: views and foreign tables, too.
    pub(super) tables: Vec<Table>,
    /// Owned by the role, or by one that it belongs to.
    pub(super) owned: HashSet<u32>,
    /// SELECT on the table, and USAGE on its schema.
    pub(super) readable: HashSet<u32>,
    /// Where row-level security keeps rows from the role; true where it is forced on the owner, too.
    pub(super) limited: HashMap<u32, bool>,
    /// What the server says of the filters.
    pub(super) filters: HashMap<(TableName, String), Verdict>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    /// None for a physical slot.
    pub(super) plugin: Option<String>,
    pub(super) database: Option<String>,
    pub(super) reader: Option<Reader>,
    pub(super) is_lost: bool,
}

/// Who reads a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) pid: i32,
    /// None where the role may not see it.
    pub(super) application_name: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Publication {
    pub(super) name: String,
    /// Of insert, update, delete, truncate: those that it leaves out.
    pub(super) left_out: Vec<&'static str>,
    pub(super) tables: HashSet<TableName>,
}

// The members of rds_replication may replicate without the attribute (Amazon RDS).
const SERVER: &str = "\
    SELECT current_setting('wal_level'), pg_is_in_recovery(), current_database(), current_user, r.rolsuper, \
           r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication' \
                                                     AND pg_has_role(m.oid, 'MEMBER')), \
           has_database_privilege(current_database(), 'CREATE'), \
           current_setting('max_replication_slots'), current_setting('max_wal_senders'), \
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender') \
      FROM pg_roles r WHERE r.rolname = current_user";

const SLOTS: &str = "\
    SELECT s.slot_name, s.plugin, s.database, s.active_pid, nullif(a.application_name, ''), s.wal_status = 'lost' \
      FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid";

const PUBLICATIONS: &str = "SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication";

const PUBLISHED: &str = "SELECT pubname, schemaname, tablename FROM pg_publication_tables";

const RIGHTS: &str = "\
    SELECT c.oid, pg_has_role(c.relowner, 'USAGE'), \
           has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE'), \
           row_security_active(c.oid), c.relforcerowsecurity \
      FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'";

/// Reads everything, and tries these filters.
///
/// # Errors
/// What the server says.
pub(super) async fn read(connection: &mut Connection, filters: &[(TableName, String)]) -> Result<SourceFacts, PgError> {
    let mut facts = read_server(connection).await?;
    for row in connection.simple(SLOTS).await? {
        facts.slots.push(slot(&row)?);
    }
    facts.publications = read_publications(connection).await?;
    facts.tables = read_tables(connection).await?;
    facts.tables.extend(read_unsupported(connection).await?);
    for row in connection.simple(RIGHTS).await? {
        let oid = row.parse(0)?;
        if row.is_true(1) {
            facts.owned.insert(oid);
        }
        if row.is_true(2) {
            facts.readable.insert(oid);
        }
        if row.is_true(3) {
            facts.limited.insert(oid, row.is_true(4));
        }
    }
    // On a server without filters in publications there is nothing to ask.
    for (table, filter) in filters.iter().filter(|_| facts.version >= LISTS_SINCE && !facts.is_standby) {
        let verdict = probe(connection, table, filter).await?;
        facts.filters.insert((table.clone(), filter.clone()), verdict);
    }
    Ok(facts)
}

async fn read_server(connection: &mut Connection) -> Result<SourceFacts, PgError> {
    let rows = connection.simple(SERVER).await?;
    let row = rows.first().ok_or_else(|| PgError::protocol("no row for the current role"))?;
    Ok(SourceFacts {
        version: connection.server_version(),
        wal_level: row.text(0)?.to_owned(),
        is_standby: row.is_true(1),
        database: row.text(2)?.to_owned(),
        role: row.text(3)?.to_owned(),
        is_superuser: row.is_true(4),
        can_replicate: row.is_true(5),
        can_create: row.is_true(6),
        max_slots: row.parse(7)?,
        max_senders: row.parse(8)?,
        used_senders: row.parse(9)?,
        ..SourceFacts::default()
    })
}

fn slot(row: &Row) -> Result<Slot, PgError> {
    let owned = |index| row.get(index).map(str::to_owned);
    let reader = match row.get(3) {
        Some(_) => Some(Reader { pid: row.parse(3)?, application_name: owned(4) }),
        None => None,
    };
    Ok(Slot { name: row.text(0)?.to_owned(), plugin: owned(1), database: owned(2), reader, is_lost: row.is_true(5) })
}

async fn read_publications(connection: &mut Connection) -> Result<Vec<Publication>, PgError> {
    let mut tables: HashMap<String, HashSet<TableName>> = HashMap::new();
    for row in connection.simple(PUBLISHED).await? {
        tables.entry(row.text(0)?.to_owned()).or_default().insert(TableName::new(row.text(1)?, row.text(2)?));
    }
    let publication = |row: &Row| {
        let name = row.text(0)?.to_owned();
        let kinds = [(1, "insert"), (2, "update"), (3, "delete"), (4, "truncate")];
        let left_out = kinds.into_iter().filter(|(index, _)| !row.is_true(*index)).map(|(_, kind)| kind).collect();
        Ok(Publication { left_out, tables: tables.remove(&name).unwrap_or_default(), name })
    };
    connection.simple(PUBLICATIONS).await?.iter().map(publication).collect()
}
