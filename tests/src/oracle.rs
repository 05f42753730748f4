//! The oracle: has everything arrived, and is it equal, row for row, as text?

use std::{collections::HashMap, time::Duration};

use tokio_postgres::Client;

use crate::{
    postgres::{Postgres, explain, rows, try_rows},
    wait::eventually,
};

/// Text output must not depend on the session, so both sides are read under these.
const FIXED_SETTINGS: &str = "-c DateStyle=ISO,YMD -c IntervalStyle=postgres -c extra_float_digits=3 \
     -c bytea_output=hex -c TimeZone=UTC -c lc_monetary=C -c client_encoding=UTF8 -c search_path=pg_catalog";

const DIFFERENCES_SHOWN: usize = 5;
const TEXT_SHOWN: usize = 600;

/// The same rows on both sides: what stands after FROM at the source and at the destination.
#[derive(Debug, Clone)]
pub struct Table {
    source: String,
    destination: String,
}

impl Table {
    /// A table (schema-qualified, quoted where needed) with the same name on both sides.
    #[must_use]
    pub fn same(name: &str) -> Table {
        Table::mapped(name, name)
    }

    /// Tables of different names, or parenthesised queries.
    #[must_use]
    pub fn mapped(source: &str, destination: &str) -> Table {
        Table { source: source.to_owned(), destination: destination.to_owned() }
    }

    #[must_use]
    pub fn all(names: &[&str]) -> Vec<Table> {
        names.iter().map(|name| Table::same(name)).collect()
    }
}

/// One database of a server.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub server: &'a Postgres,
    pub db: &'a str,
}

/// Waits until `slot` has confirmed everything that the source has committed before this call. Rosetta confirms only
/// what is durable at every destination.
pub async fn caught_up(source: Side<'_>, slot: &str, deadline: Duration) {
    let client = source.server.client(source.db).await;
    // A slot is created at the current position: before it exists there is no promise to measure.
    eventually(deadline, &format!("slot {slot} exists"), async || confirmed_flush(&client, slot).await).await;
    rows(&client, "select pg_logical_emit_message(true, 'harness', 'caught up?')").await;
    let target = rows(&client, "select pg_current_wal_lsn()").await.remove(0).remove(0).expect("a position");
    eventually(deadline, &format!("slot {slot} confirms {target}"), async || {
        let confirmed = confirmed_flush(&client, slot).await?;
        let reached = rows(&client, &format!("select '{confirmed}'::pg_lsn >= '{target}'")).await;
        if reached == [[Some("t".to_owned())]] { Ok(()) } else { Err(format!("it is at {confirmed}")) }
    })
    .await;
}

/// Up to where `slot` has confirmed; an error while the slot does not exist or is being created.
pub async fn confirmed_flush(source: &Client, slot: &str) -> Result<String, String> {
    let query = format!("select confirmed_flush_lsn from pg_replication_slots where slot_name = '{slot}'");
    let position = try_rows(source, &query).await?.pop().and_then(|mut row| row.remove(0));
    position.ok_or_else(|| format!("slot {slot} does not exist"))
}

/// Panics with the first rows that differ.
pub async fn assert_equal(source: Side<'_>, destination: Side<'_>, tables: &[Table]) {
    let (source, destination) = (open(source).await, open(destination).await);
    for table in tables {
        if let Err(difference) = compare(&source, &destination, table).await {
            panic!("{difference}");
        }
    }
}

/// Waits until all `tables` are equal. For moments at which there is no slot to ask.
pub async fn wait_equal(source: Side<'_>, destination: Side<'_>, tables: &[Table], deadline: Duration) {
    let (source, destination) = (open(source).await, open(destination).await);
    eventually(deadline, "source and destination are equal", async || {
        for table in tables {
            compare(&source, &destination, table).await?;
        }
        Ok(())
    })
    .await;
}

async fn open(side: Side<'_>) -> Client {
    let client = side.server.try_client(side.db, FIXED_SETTINGS).await;
    client.unwrap_or_else(|e| panic!("connect to {}: {}", side.server.url(side.db), explain(&e)))
}

/// A digest of the multiset of rows decides; the rows themselves are fetched only to say what differs.
async fn compare(source: &Client, destination: &Client, table: &Table) -> Result<(), String> {
    let digest =
        |from: &str| format!("select count(*), sum(hashtextextended(r::text, 0)::numeric)::text from {from} as r");
    let left = try_rows(source, &digest(&table.source)).await.map_err(|e| format!("{}: {e}", table.source))?;
    let right = try_rows(destination, &digest(&table.destination)).await;
    let right = right.map_err(|e| format!("destination {}: {e}", table.destination))?;
    if left == right {
        return Ok(());
    }
    let count = |side: &[Vec<Option<String>>]| side[0][0].clone().unwrap_or_default();
    let mut report = format!("{} has {} rows, {} has {}", table.source, count(&left), table.destination, count(&right));
    report.push_str(&difference(source, destination, table).await?);
    Err(report)
}

async fn difference(source: &Client, destination: &Client, table: &Table) -> Result<String, String> {
    let mut surplus: HashMap<String, i64> = HashMap::new();
    for (client, from, sign) in [(source, &table.source, 1), (destination, &table.destination, -1)] {
        for mut row in try_rows(client, &format!("select r::text from {from} as r")).await? {
            *surplus.entry(row.remove(0).unwrap_or_default()).or_default() += sign;
        }
    }
    let mut differing: Vec<(String, i64)> = surplus.into_iter().filter(|(_, n)| *n != 0).collect();
    differing.sort();
    let shown = differing.iter().take(DIFFERENCES_SHOWN).map(|(row, n)| {
        let row: String = row.chars().take(TEXT_SHOWN).collect();
        if *n > 0 {
            format!("\n  missing at the destination x{n}: {row}")
        } else {
            format!("\n  surplus at the destination x{}: {row}", -n)
        }
    });
    Ok(format!("; {} distinct rows differ{}", differing.len(), shown.collect::<String>()))
}
