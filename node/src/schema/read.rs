use std::collections::{HashMap, HashSet};

use super::{
    Column, Generated, Identity, ReplicaIdentity, Table, TableKind, TableName, Transfer, TypeInfo, TypeKind, Types,
    UniqueIndex,
};
use crate::postgres::{Connection, PgError, Row};

/// All user tables whose changes are in the log, or would be if they were not unlogged: ordinary and
/// partitioned, partitions included; no temporary ones and none of Rosetta's own.
///
/// # Errors
/// What the server says, or a catalog that does not read as expected.
pub async fn read_tables(connection: &mut Connection) -> Result<Vec<Table>, PgError> {
    let tables = read_all_of(connection, "'r','p'").await?;
    complete(connection, tables).await
}

/// The user's relations that are no tables to replicate: foreign tables, views and materialized views.
/// `Table::unsupported` says why, for a preflight that must not leave them out in silence.
///
/// # Errors
/// As `read_tables`.
pub async fn read_unsupported(connection: &mut Connection) -> Result<Vec<Table>, PgError> {
    let tables = read_all_of(connection, "'f','m','v'").await?;
    complete(connection, tables).await
}

/// Those of the named relations that exist, of every kind.
///
/// # Errors
/// As `read_tables`.
pub async fn read_named(connection: &mut Connection, names: &[TableName]) -> Result<Vec<Table>, PgError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let schemas = array_literal(names.iter().map(|name| name.schema.as_str()));
    let tables = array_literal(names.iter().map(|name| name.name.as_str()));
    let sql = format!(
        "{TABLES} WHERE c.relkind IN ('r','p','f','m','v') \
         AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY c.oid"
    );
    let rows = connection.query(&sql, &[Some(&schemas), Some(&tables)]).await?;
    let tables = rows.iter().map(table).collect::<Result<_, _>>()?;
    complete(connection, tables).await
}

async fn read_all_of(connection: &mut Connection, kinds: &str) -> Result<Vec<Table>, PgError> {
    let sql = format!(
        "{TABLES} WHERE c.relkind IN ({kinds}) AND c.relpersistence <> 't' \
         AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast','rosetta') ORDER BY n.nspname, c.relname"
    );
    connection.simple(&sql).await?.iter().map(table).collect()
}

const TABLES: &str = "\
    SELECT c.oid, n.nspname, c.relname, c.relkind, \
           (SELECT h.inhparent FROM pg_inherits h WHERE c.relispartition AND h.inhrelid = c.oid), c.relpersistence = 'u', c.relreplident, \
           CASE WHEN c.relpages > 0 THEN c.relpages WHEN c.relkind = 'r' THEN \
                coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int8 ELSE 0 END, e.extname \
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      LEFT JOIN pg_depend m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.objsubid = 0 \
                           AND m.deptype = 'e' \
      LEFT JOIN pg_extension e ON e.oid = m.refobjid";

/// Built-in functions are pinned, so that a dependency on a function is one on a user's. nextval('name'::text)
/// leaves no dependency.
const COLUMNS: &str = "\
    SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), \
           a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid \
               AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated), \
           x.expression, \
           x.expression !~ 'nextval\\(' AND NOT EXISTS (SELECT FROM pg_depend p \
               WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid \
               AND (p.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) \
                    OR p.refclassid = 'pg_class'::regclass AND p.refobjid <> d.adrelid)), \
           a.attgenerated, a.attidentity, cn.nspname, co.collname \
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
      CROSS JOIN LATERAL (SELECT pg_get_expr(d.adbin, d.adrelid) AS expression) x \
      LEFT JOIN pg_collation co ON co.oid = a.attcollation AND a.attcollation <> t.typcollation \
      LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace \
     WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped \
     ORDER BY a.attrelid, a.attnum";

/// The conditions are those of RelationGetIndexList for an index that can be a replica identity, without NOT NULL.
const INDEXES: &str = "\
    SELECT i.indrelid, c.relname, i.indisprimary, i.indisreplident, k.columns \
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
      CROSS JOIN LATERAL (SELECT json_agg(a.attname ORDER BY k.place) AS columns \
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE k.place <= i.indnkeyatts) k \
     WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indimmediate \
       AND i.indpred IS NULL AND i.indexprs IS NULL \
     ORDER BY i.indrelid, i.indexrelid";

/// A deferrable primary key is a primary key all the same, but no index of `INDEXES`.
const PRIMARY_KEYS: &str = "\
    SELECT i.indrelid, (SELECT json_agg(a.attname ORDER BY k.place) \
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE k.place <= i.indnkeyatts) \
      FROM pg_index i WHERE i.indrelid = ANY ($1::oid[]) AND i.indisprimary";

const TYPES: &str = "\
    WITH RECURSIVE used(oid) AS ( \
        SELECT unnest($1::oid[]) UNION \
        SELECT p.part FROM used u JOIN pg_type t ON t.oid = u.oid \
          LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid) \
         CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype), (r.rngsubtype)) p(part) WHERE p.part <> 0) \
    SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory, t.typinput = 'array_in'::regproc, t.typelem, \
           t.typbasetype, coalesce(r.rngsubtype, 0), t.typarray, t.typsend <> 0, e.extname \
      FROM used u JOIN pg_type t ON t.oid = u.oid JOIN pg_namespace n ON n.oid = t.typnamespace \
      LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid) \
      LEFT JOIN pg_depend m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid AND m.deptype = 'e' \
      LEFT JOIN pg_extension e ON e.oid = m.refobjid";

/// Fills in columns, indexes and keys.
async fn complete(connection: &mut Connection, mut tables: Vec<Table>) -> Result<Vec<Table>, PgError> {
    if tables.is_empty() {
        return Ok(tables);
    }
    let oids = oid_array(tables.iter().map(|table| table.oid));
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in connection.query(COLUMNS, &[Some(&oids)]).await? {
        columns.entry(row.parse(0)?).or_default().push(column(&row)?);
    }
    let mut indexes: HashMap<u32, Vec<UniqueIndex>> = HashMap::new();
    for row in connection.query(INDEXES, &[Some(&oids)]).await? {
        indexes.entry(row.parse(0)?).or_default().push(unique_index(&row)?);
    }
    let mut primary_keys: HashMap<u32, Vec<String>> = HashMap::new();
    for row in connection.query(PRIMARY_KEYS, &[Some(&oids)]).await? {
        primary_keys.insert(row.parse(0)?, names(&row, 1)?);
    }
    let used = columns.values().flatten().map(|column| column.type_oid);
    let types = read_types(connection, used).await?;
    for table in &mut tables {
        table.columns = columns.remove(&table.oid).unwrap_or_default();
        table.columns.iter_mut().for_each(|column| add_type(column, &types));
        table.unique_indexes = indexes.remove(&table.oid).unwrap_or_default();
        table.primary_key = primary_keys.remove(&table.oid).unwrap_or_default();
        table.identity_columns = identity_columns(table.identity, &table.unique_indexes);
    }
    Ok(tables)
}

/// The given types and, recursively, the elements, bases and subtypes that they are made of.
pub(super) async fn read_types(connection: &mut Connection, oids: impl Iterator<Item = u32>) -> Result<Types, PgError> {
    let oids = oid_array(oids.collect::<HashSet<_>>().into_iter());
    let rows = connection.query(TYPES, &[Some(&oids)]).await?;
    let types = rows.iter().map(|row| type_info(row).map(|found| (found.oid, found)));
    Ok(Types(types.collect::<Result<_, _>>()?))
}

fn table(row: &Row) -> Result<Table, PgError> {
    Ok(Table {
        oid: row.parse(0)?,
        schema: row.text(1)?.to_owned(),
        name: row.text(2)?.to_owned(),
        kind: match row.text(3)? {
            "r" => TableKind::Ordinary,
            "p" => TableKind::Partitioned,
            "v" => TableKind::View,
            "m" => TableKind::MaterializedView,
            "f" => TableKind::Foreign,
            other => return Err(unexpected("relkind", other)),
        },
        partition_of: row.get(4).map(|_| row.parse(4)).transpose()?,
        unlogged: row.is_true(5),
        identity: match row.text(6)? {
            "d" => ReplicaIdentity::Default,
            "f" => ReplicaIdentity::Full,
            "n" => ReplicaIdentity::Nothing,
            "i" => ReplicaIdentity::Index,
            other => return Err(unexpected("relreplident", other)),
        },
        approximate_pages: row.parse(7)?,
        extension: row.get(8).map(str::to_owned),
        columns: Vec::new(),
        identity_columns: Vec::new(),
        primary_key: Vec::new(),
        unique_indexes: Vec::new(),
    })
}

/// Without what only the type's own row tells: see `add_type`.
fn column(row: &Row) -> Result<Column, PgError> {
    Ok(Column {
        name: row.text(1)?.to_owned(),
        number: row.parse(2)?,
        type_oid: row.parse(3)?,
        type_modifier: row.parse(4)?,
        type_sql: row.text(5)?.to_owned(),
        not_null: row.is_true(6),
        default_sql: row.get(7).map(str::to_owned),
        default_is_portable: row.is_true(8),
        generated: match row.text(9)? {
            "" => Generated::No,
            "s" => Generated::Stored,
            "v" => Generated::Virtual,
            other => return Err(unexpected("attgenerated", other)),
        },
        identity: match row.text(10)? {
            "" => Identity::No,
            "a" => Identity::Always,
            "d" => Identity::ByDefault,
            other => return Err(unexpected("attidentity", other)),
        },
        collation: row.get(11).zip(row.get(12)).map(|(schema, name)| (schema.to_owned(), name.to_owned())),
        type_schema: String::new(),
        type_name: String::new(),
        type_kind: TypeKind::Pseudo,
        type_extension: None,
        array_type_oid: 0,
        is_array: false,
        transfer: Transfer::Text,
    })
}

fn add_type(column: &mut Column, types: &Types) {
    let Some(found) = types.0.get(&column.type_oid) else { return };
    column.type_schema.clone_from(&found.schema);
    column.type_name.clone_from(&found.name);
    column.type_kind = found.kind;
    let named = types.0.get(&found.element).filter(|_| found.is_array).unwrap_or(found);
    column.type_extension.clone_from(&named.extension);
    column.array_type_oid = found.array;
    column.is_array = found.is_array;
    column.transfer = types.transfer(found.oid);
}

fn type_info(row: &Row) -> Result<TypeInfo, PgError> {
    Ok(TypeInfo {
        oid: row.parse(0)?,
        schema: row.text(1)?.to_owned(),
        name: row.text(2)?.to_owned(),
        kind: match row.text(3)? {
            "b" => TypeKind::Base,
            "c" => TypeKind::Composite,
            "d" => TypeKind::Domain,
            "e" => TypeKind::Enum,
            "r" => TypeKind::Range,
            "m" => TypeKind::Multirange,
            "p" => TypeKind::Pseudo,
            other => return Err(unexpected("typtype", other)),
        },
        category: row.parse(4)?,
        is_array: row.is_true(5),
        element: row.parse(6)?,
        base: row.parse(7)?,
        subtype: row.parse(8)?,
        array: row.parse(9)?,
        has_send: row.is_true(10),
        extension: row.get(11).map(str::to_owned),
    })
}

fn unique_index(row: &Row) -> Result<UniqueIndex, PgError> {
    Ok(UniqueIndex {
        name: row.text(1)?.to_owned(),
        is_primary: row.is_true(2),
        is_replica_identity: row.is_true(3),
        columns: names(row, 4)?,
    })
}

fn identity_columns(identity: ReplicaIdentity, indexes: &[UniqueIndex]) -> Vec<String> {
    let chosen = match identity {
        ReplicaIdentity::Default => indexes.iter().find(|index| index.is_primary),
        ReplicaIdentity::Index => indexes.iter().find(|index| index.is_replica_identity),
        ReplicaIdentity::Full | ReplicaIdentity::Nothing => None,
    };
    chosen.map(|index| index.columns.clone()).unwrap_or_default()
}

fn names(row: &Row, index: usize) -> Result<Vec<String>, PgError> {
    json(row, index)
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row, index: usize) -> Result<T, PgError> {
    let json = row.text(index)?;
    serde_json::from_str(json).map_err(|e| PgError::protocol(format!("'{json}' is not as expected: {e}")))
}

pub(super) fn oid_array(oids: impl Iterator<Item = u32>) -> String {
    format!("{{{}}}", oids.map(|oid| oid.to_string()).collect::<Vec<_>>().join(","))
}

/// A text array as the server reads it (PostgreSQL docs, "Array Input and Output Syntax").
pub(crate) fn array_literal<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted = texts.map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

fn unexpected(column: &str, value: &str) -> PgError {
    PgError::protocol(format!("'{value}' in {column}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_elements_cannot_break_out() {
        assert_eq!(array_literal(["a\"b", "c\\d", "NULL", ""].into_iter()), r#"{"a\"b","c\\d","NULL",""}"#);
        assert_eq!(array_literal([].into_iter()), "{}");
    }

    #[test]
    fn the_identity_follows_the_setting() {
        let index = |name: &str, is_primary, is_replica_identity| UniqueIndex {
            name: name.to_owned(),
            columns: vec![name.to_owned()],
            is_primary,
            is_replica_identity,
        };
        let indexes = [index("other", false, false), index("pk", true, false), index("chosen", false, true)];
        assert_eq!(identity_columns(ReplicaIdentity::Default, &indexes), ["pk"]);
        assert_eq!(identity_columns(ReplicaIdentity::Index, &indexes), ["chosen"]);
        assert!(identity_columns(ReplicaIdentity::Full, &indexes).is_empty());
        assert!(identity_columns(ReplicaIdentity::Default, &[]).is_empty());
    }
}
