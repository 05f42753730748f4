use std::collections::{BTreeSet, HashSet};

use super::{
    Column, Generated, Identity, SchemaError, TableName, UniqueIndex, Wanted,
    create_types::{self, Present, read_present},
    definition::read_definitions,
    read::array_literal,
};
use crate::postgres::{Connection, PgError, ident, sqlstate};

/// Tables created in one transaction. Each locks itself, its index and its TOAST table, and a server's lock
/// table holds about 6,400 locks by default (max_locks_per_transaction 64 x max_connections 100).
const TABLES_PER_TRANSACTION: usize = 250;

/// How often somebody else may be quicker before it counts as an error.
const LOST_RACES_MAX: u32 = 5;

/// Pipelines that create things take turns: "Rosetta" as a number.
const TURN: &str = "SELECT pg_advisory_xact_lock(23203489504326753)";

/// One statement that creates one thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// What it creates, for messages.
    pub(super) what: String,
    pub(super) sql: String,
    /// The type that is wanted and the extension that makes it, for CREATE EXTENSION.
    pub(super) extension: Option<(String, String)>,
}

/// Creates the target tables that the destination lacks, with the schemas and types that they need.
/// Others may do the same at the same time.
pub(super) async fn create_missing(
    source: &mut Connection,
    destination: &mut Connection,
    wanted: &[Wanted],
) -> Result<(), SchemaError> {
    let mut lost_races = 0;
    while !missing_tables(destination, wanted).await.map_err(SchemaError::Destination)?.is_empty() {
        match create_in_transaction(source, destination, wanted).await {
            Err(error) if error.is_duplicate() && lost_races < LOST_RACES_MAX => lost_races += 1,
            created => created?,
        }
    }
    Ok(())
}

/// The first route to each target that does not exist, by name.
async fn missing_tables<'a>(destination: &mut Connection, wanted: &'a [Wanted]) -> Result<Vec<&'a Wanted>, PgError> {
    let schemas = array_literal(wanted.iter().map(|wanted| wanted.target.schema.as_str()));
    let names = array_literal(wanted.iter().map(|wanted| wanted.target.name.as_str()));
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r','p','v','m','f') AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    let mut known = HashSet::new();
    for row in destination.query(sql, &[Some(&schemas), Some(&names)]).await? {
        known.insert(TableName::new(row.text(0)?, row.text(1)?));
    }
    let mut missing: Vec<_> = wanted.iter().filter(|wanted| known.insert(wanted.target.clone())).collect();
    missing.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(missing)
}

async fn create_in_transaction(
    source: &mut Connection,
    destination: &mut Connection,
    wanted: &[Wanted],
) -> Result<(), SchemaError> {
    // Under READ COMMITTED the catalogs read after our turn has come show what the one before us created.
    let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {TURN}");
    destination.simple(&begin).await.map_err(SchemaError::Destination)?;
    let created = create_some(source, destination, wanted).await;
    let end = if created.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = destination.simple(end).await.map_err(SchemaError::Destination);
    created.and(ended.map(drop))
}

/// As many of the missing tables as one transaction may create.
async fn create_some(
    source: &mut Connection,
    destination: &mut Connection,
    wanted: &[Wanted],
) -> Result<(), SchemaError> {
    let mut missing = missing_tables(destination, wanted).await.map_err(SchemaError::Destination)?;
    missing.truncate(TABLES_PER_TRANSACTION);
    let types = missing.iter().flat_map(|wanted| wanted.created_columns()).map(|column| column.type_oid);
    let needed = read_definitions(source, types).await.map_err(SchemaError::Source)?;
    let present = read_present(destination, &needed).await.map_err(SchemaError::Destination)?;
    let types = create_types::missing(&needed, &present);
    let targets = missing.iter().map(|wanted| wanted.target.schema.clone());
    let schemas: BTreeSet<String> = create_types::schemas(&types).into_iter().chain(targets).collect();
    // CREATE SCHEMA IF NOT EXISTS asks for the right to create one also when it exists.
    let mut statements: Vec<_> =
        schemas.difference(&present.schemas.iter().cloned().collect()).map(create_schema).collect();
    for needed in types {
        statements.push(create_types::create_type(needed, &present)?);
    }
    let version = destination.server_version();
    statements.extend(missing.iter().flat_map(|wanted| create_table(wanted, &present, version)));
    for statement in statements {
        destination.simple(&statement.sql).await.map_err(|error| failed(statement, error))?;
    }
    Ok(())
}

fn failed(statement: Statement, error: PgError) -> SchemaError {
    /// What a server without the extension's files says (undefined_file before PostgreSQL 16).
    const UNDEFINED_FILE: &str = "58P01";
    let is_lacking = [sqlstate::FEATURE_NOT_SUPPORTED, sqlstate::INSUFFICIENT_PRIVILEGE, UNDEFINED_FILE];
    match statement.extension {
        Some((name, extension)) if error.code().is_some_and(|code| is_lacking.contains(&code)) => {
            SchemaError::Extension { name, extension, error }
        }
        Some(_) | None => SchemaError::Create { what: statement.what, error },
    }
}

fn create_schema(name: &String) -> Statement {
    let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", ident(name));
    Statement { what: format!("schema {name}"), sql, extension: None }
}

/// The table, with its primary key or else the index that is its replica identity. Partitioned tables become
/// plain ones; foreign keys, other indexes and triggers stay away, as they would reject or repeat changes.
fn create_table(wanted: &Wanted, present: &Present, version: u32) -> Vec<Statement> {
    let columns: Vec<&Column> = wanted.created_columns().collect();
    let mut lines: Vec<String> = columns.iter().map(|column| column_sql(column, present, version)).collect();
    let has_all = |names: &[String]| names.iter().all(|name| columns.iter().any(|column| column.name == *name));
    let key = &wanted.source.primary_key;
    let has_key = !key.is_empty() && has_all(key);
    if has_key {
        lines.push(primary_key(wanted));
    }
    let target = &wanted.target;
    let sql = format!("CREATE TABLE {} ({})", target.sql(), lines.join(", "));
    let mut statements = vec![Statement { what: format!("table {target}"), sql, extension: None }];
    let identity = wanted.source.unique_indexes.iter().find(|index| index.is_replica_identity);
    if let Some(index) = identity.filter(|index| !has_key && has_all(&index.columns)) {
        statements.push(create_index(wanted, index));
    }
    statements
}

/// A deferrable key, which is no index that identifies rows, may be double within a transaction.
fn primary_key(wanted: &Wanted) -> String {
    let columns = list(&wanted.source.primary_key);
    match wanted.source.unique_indexes.iter().find(|index| index.is_primary) {
        // Names are per schema: two routes of one table into one schema cannot both keep the key's name.
        Some(index) if wanted.keeps_name() => format!("CONSTRAINT {} PRIMARY KEY ({columns})", ident(&index.name)),
        Some(_) => format!("PRIMARY KEY ({columns})"),
        None => format!("PRIMARY KEY ({columns}) DEFERRABLE INITIALLY DEFERRED"),
    }
}

fn create_index(wanted: &Wanted, index: &UniqueIndex) -> Statement {
    let name = if wanted.keeps_name() { ident(&index.name) } else { String::new() };
    let sql = format!("CREATE UNIQUE INDEX {name} ON {} ({})", wanted.target.sql(), list(&index.columns));
    Statement { what: format!("index {} of table {}", index.name, wanted.target), sql, extension: None }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ")
}

fn column_sql(column: &Column, present: &Present, version: u32) -> String {
    let collate = present.collate(column.collation.as_ref());
    let mut sql = format!("{} {}{collate}", ident(&column.name), present.type_sql(&column.type_sql));
    let default = column.default_sql.as_deref();
    // Virtual columns exist from PostgreSQL 18; a stored one shows the same values.
    let storage = match column.generated {
        Generated::No => None,
        Generated::Virtual if version >= 18 => Some("VIRTUAL"),
        Generated::Stored | Generated::Virtual => Some("STORED"),
    };
    match (storage, column.identity) {
        (Some(storage), _) => sql += &format!(" GENERATED ALWAYS AS ({}) {storage}", default.unwrap_or("NULL")),
        // BY DEFAULT: ALWAYS would reject the source's values in plain statements.
        (None, Identity::Always | Identity::ByDefault) => sql += " GENERATED BY DEFAULT AS IDENTITY",
        (None, Identity::No) => {
            if let Some(default) = present.expression(default).filter(|_| column.default_is_portable) {
                sql += &format!(" DEFAULT {default}");
            }
        }
    }
    if column.not_null {
        sql += " NOT NULL";
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::examples::{column, table};

    fn statements(wanted: &Wanted) -> Vec<String> {
        create_table(wanted, &Present::default(), 15).into_iter().map(|statement| statement.sql).collect()
    }

    fn wanted(columns: Vec<Column>, target: &str) -> Wanted {
        Wanted { source: table(columns), target: TableName::new("sales", target), columns: None, inserts_only: false }
    }

    #[test]
    fn columns_keep_what_makes_their_values() {
        let id = Column { identity: Identity::Always, not_null: true, ..column("id", "int8", -1) };
        let default = |sql: &str, default_is_portable| Column {
            default_sql: Some(sql.to_owned()),
            default_is_portable,
            ..column("a", "int4", -1)
        };
        let serial = Column { name: "b".to_owned(), ..default("nextval('s'::regclass)", false) };
        let total = Column { name: "c".to_owned(), generated: Generated::Virtual, ..default("a * 2", true) };
        let made = statements(&wanted(vec![id, default("7", true), serial, total], "t"));
        let expected = "CREATE TABLE \"sales\".\"t\" (\"id\" int8 GENERATED BY DEFAULT AS IDENTITY NOT NULL, \
             \"a\" int4 DEFAULT 7, \"b\" int4, \"c\" int4 GENERATED ALWAYS AS (a * 2) STORED, \
             CONSTRAINT \"t_pkey\" PRIMARY KEY (\"id\"))";
        assert_eq!(made, [expected]);
    }

    #[test]
    fn another_name_takes_another_key_name_and_a_column_list_takes_only_its_own() {
        let mut wanted = wanted(vec![column("id", "int8", -1), column("a", "int4", -1)], "copy");
        wanted.columns = Some(vec!["id".to_owned()]);
        assert_eq!(statements(&wanted), ["CREATE TABLE \"sales\".\"copy\" (\"id\" int8, PRIMARY KEY (\"id\"))"]);
        wanted.columns = Some(vec!["a".to_owned()]);
        assert_eq!(statements(&wanted), ["CREATE TABLE \"sales\".\"copy\" (\"a\" int4)"]);
    }

    #[test]
    fn the_replica_identity_stands_in_for_a_key() {
        let mut wanted = wanted(vec![column("id", "int8", -1)], "t");
        wanted.source.primary_key.clear();
        let identity = |index: &mut UniqueIndex| (index.is_primary, index.is_replica_identity) = (false, true);
        wanted.source.unique_indexes.iter_mut().for_each(identity);
        let index = "CREATE UNIQUE INDEX \"t_pkey\" ON \"sales\".\"t\" (\"id\")";
        assert_eq!(statements(&wanted), ["CREATE TABLE \"sales\".\"t\" (\"id\" int8)", index]);
    }

    #[test]
    fn a_deferrable_key_stays_deferrable() {
        let mut wanted = wanted(vec![column("id", "int8", -1)], "t");
        wanted.source.unique_indexes.clear();
        let key = "PRIMARY KEY (\"id\") DEFERRABLE INITIALLY DEFERRED";
        assert_eq!(statements(&wanted), [format!("CREATE TABLE \"sales\".\"t\" (\"id\" int8, {key})")]);
    }
}
