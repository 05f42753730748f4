use foldhash::{HashSet, HashSetExt};

use crate::config::Publish;
use crate::postgres::{Connection, PgError, ident, literal, qualified, sqlstate};

/// A table as a publication is to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub schema: String,
    pub name: String,
    pub columns: Option<Vec<String>>,
    pub filter: Option<String>,
}

/// A publication that Rosetta makes and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub name: String,
    pub tables: Vec<Published>,
    pub inserts_only: bool,
    /// Of one pipeline alone, so that its table list is exactly ours.
    pub is_exclusive: bool,
}

/// Makes the publication, or adds to it what is missing; true when it was made now.
///
/// # Errors
/// The server's: most often that the role does not own a table.
pub async fn ensure(source: &mut Connection, wanted: &Publication) -> Result<bool, PgError> {
    let Some(covered) = tables_of(source, &wanted.name).await? else {
        match source.simple(&create_sql(wanted)).await {
            // Another pipeline of the source, of any process, was faster.
            Err(error) if error.code().is_some_and(|code| sqlstate::DUPLICATE_DATABASE_OBJECT.contains(&code)) => {
                return Box::pin(ensure(source, wanted)).await.map(|_| false);
            }
            result => return result.map(|_| true),
        }
    };
    if wanted.is_exclusive {
        let tables = wanted.tables.iter().map(table_sql).collect::<Vec<_>>().join(", ");
        source.simple(&format!("ALTER PUBLICATION {} SET TABLE {tables}", ident(&wanted.name))).await?;
        return Ok(false);
    }
    for table in &wanted.tables {
        if covered.contains(&(table.schema.clone(), table.name.clone())) {
            continue;
        }
        let sql = format!("ALTER PUBLICATION {} ADD TABLE {}", ident(&wanted.name), table_sql(table));
        match source.simple(&sql).await {
            Err(error) if error.code().is_some_and(|code| sqlstate::DUPLICATE_DATABASE_OBJECT.contains(&code)) => {}
            result => drop(result?),
        }
    }
    Ok(false)
}

/// Drops a publication that was made for nothing.
///
/// # Errors
/// The server's.
pub async fn drop_publication(source: &mut Connection, name: &str) -> Result<(), PgError> {
    source.simple(&format!("DROP PUBLICATION IF EXISTS {}", ident(name))).await.map(drop)
}

/// Which changes a publication carries; None when there is no such publication.
///
/// # Errors
/// The server's.
pub async fn published(source: &mut Connection, name: &str) -> Result<Option<Publish>, PgError> {
    let sql = "SELECT pubupdate OR pubdelete FROM pg_catalog.pg_publication WHERE pubname = $1";
    let rows = source.query(sql, &[Some(name)]).await?;
    Ok(rows.first().map(|row| if row.is_true(0) { Publish::All } else { Publish::Insert }))
}

/// The tables that a publication holds by name, or for ALL TABLES or a schema; None when there is no such
/// publication. A partition counts as held when the table above it is.
///
/// # Errors
/// The server's.
pub async fn tables_of(source: &mut Connection, name: &str) -> Result<Option<HashSet<(String, String)>>, PgError> {
    let name = literal(name);
    let exists = format!("SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {name}");
    if source.simple(&exists).await?.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication p \
         JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = {name} \
         UNION SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = {name}"
    );
    let mut tables = HashSet::new();
    for row in source.simple(&sql).await? {
        tables.insert((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    }
    Ok(Some(tables))
}

fn create_sql(wanted: &Publication) -> String {
    let tables = wanted.tables.iter().map(table_sql).collect::<Vec<_>>().join(", ");
    let operations = if wanted.inserts_only { "insert" } else { "insert, update, delete, truncate" };
    let name = ident(&wanted.name);
    format!(
        "CREATE PUBLICATION {name} FOR TABLE {tables} WITH (publish = '{operations}', publish_via_partition_root = true)"
    )
}

fn table_sql(table: &Published) -> String {
    let mut sql = format!("ONLY {}", qualified(&table.schema, &table.name));
    if let Some(columns) = &table.columns {
        let columns = columns.iter().map(|column| ident(column)).collect::<Vec<_>>().join(", ");
        sql.push_str(&format!(" ({columns})"));
    }
    if let Some(filter) = &table.filter {
        // On lines of its own, so that a comment in it ends with it.
        sql.push_str(&format!(" WHERE (\n{filter}\n)"));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_filters_are_pushed_down() {
        let table = Published {
            schema: "public".into(),
            name: "or\"ders".into(),
            columns: Some(vec!["id".into(), "total".into()]),
            filter: Some("total > 0".into()),
        };
        let wanted =
            Publication { name: "rosetta_shop".into(), tables: vec![table], inserts_only: false, is_exclusive: true };
        assert_eq!(
            create_sql(&wanted),
            "CREATE PUBLICATION \"rosetta_shop\" FOR TABLE ONLY \"public\".\"or\"\"ders\" (\"id\", \"total\") WHERE (\ntotal > 0\n) \
             WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        );
    }
}
