//! The tables' history: forward only, each step once, whoever comes first.

use deadpool_postgres::Object;
use tokio_postgres::{Error, Transaction};

/// Of no meaning; the same for every node, so that they wait for each other.
const LOCK: i64 = 0x526f_7365_7474_6101;

const STEPS: [(i32, &str, &str); 4] = [
    (1, "definitions", include_str!("migrations/0001_definitions.sql")),
    (2, "history", include_str!("migrations/0002_history.sql")),
    (3, "search_path", include_str!("migrations/0003_search_path.sql")),
    (4, "deletions", include_str!("migrations/0004_deletions.sql")),
];

/// Takes the steps that the database lacks, in one transaction. A database of a newer version is left as it is: nodes of
/// both versions run beside each other while they are replaced.
pub(super) async fn run(client: &mut Object) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let newest = newest(&transaction).await?;
    for (version, name, sql) in STEPS.into_iter().filter(|(version, ..)| *version > newest) {
        transaction.batch_execute(sql).await?;
        let statement = "insert into rosetta.migrations (version, name) values ($1, $2)";
        transaction.execute(statement, &[&version, &name]).await?;
        tracing::info!(version, name, "config database migrated");
    }
    transaction.commit().await
}

async fn newest(transaction: &Transaction<'_>) -> Result<i32, Error> {
    let query = "select to_regnamespace('rosetta') is not null, to_regclass('rosetta.migrations') is not null";
    let row = transaction.query_one(query, &[]).await?;
    let (has_schema, has_table): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    // The schema may be a destination's; making it asks for rights that its being there does not.
    if !has_schema {
        transaction.batch_execute("create schema rosetta").await?;
    }
    if !has_table {
        let table = "create table rosetta.migrations \
                     (version int primary key, name text not null, at timestamptz not null default now())";
        transaction.batch_execute(table).await?;
    }
    let row = transaction.query_one("select coalesce(max(version), 0) from rosetta.migrations", &[]).await?;
    row.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn versions_have_no_gap() {
        assert!(STEPS.iter().map(|(version, ..)| *version).eq(1..=STEPS.len() as i32));
    }
}
