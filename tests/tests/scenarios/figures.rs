//! What `rosetta status` says is so.

use rosetta_tests::{DB, Pair, SOON, Scratch, Table, eventually};
use serde_json::Value;

/// The only pipeline's line of the status file, once `is_wanted` holds for it.
async fn status(scratch: &Scratch, folder: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let file = scratch.join(folder).join("status.json");
    eventually(SOON, "the status file says so", async || {
        let text = std::fs::read(&file).map_err(|e| e.to_string())?;
        let line = serde_json::from_slice::<Value>(&text).map_err(|e| e.to_string())?[0].clone();
        if is_wanted(&line) { Ok(line) } else { Err(line.to_string()) }
    })
    .await
}

#[tokio::test]
async fn the_lag_counts_from_where_the_destination_stands() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'x')").await;
    let config = pair.config(&["public.t"], "");
    let mut rosetta = pair.rosetta("first", &config);
    pair.settle(&Table::all(&["public.t"])).await;
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    let from = pair.source.value(DB, "select pg_current_wal_lsn()").await;
    pair.source.sql(DB, "insert into t select i, repeat('x', 1000) from generate_series(2, 2000) i").await;
    let behind = pair.source.value(DB, &format!("select pg_current_wal_lsn() - '{from}'::pg_lsn")).await;
    let behind: u64 = behind.parse().expect("a number of bytes");

    // Nothing can be committed, so that all figures are those of the start.
    let destination = pair.destination.client(DB).await;
    destination.batch_execute("begin; lock table t in share row exclusive mode").await.expect("lock the table");
    let _rosetta = pair.rosetta("second", &config);
    let line = status(&pair.scratch, "second", |line| line["state"] == "running").await;
    let lag = line["lag_bytes"].as_u64().expect("a number");
    assert!((behind..behind + 1_000_000).contains(&lag), "behind by {behind} bytes: {line}");
    destination.batch_execute("commit").await.expect("unlock the table");
    pair.settle(&Table::all(&["public.t"])).await;
    status(&pair.scratch, "second", |line| line["lag_bytes"].as_u64().is_some_and(|lag| lag < behind)).await;
}

#[tokio::test]
async fn rows_that_the_destination_lacks_are_named_once_and_counted() {
    let pair = Pair::start().await;
    let tables = "create table t (id int primary key, v text); create table u (id int primary key, v text);
        insert into t select i, 'x' from generate_series(1, 100) i; insert into u select * from t";
    pair.source.sql(DB, tables).await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t", "public.u"])).await;
    pair.destination.sql(DB, "delete from t where id <= 10").await;
    for id in 1..=5 {
        pair.source.sql(DB, &format!("update t set v = 'secret' where id = {id}")).await;
    }
    pair.source.sql(DB, "delete from t where id between 6 and 20; update u set v = 'y'").await;
    pair.settle(&Table::all(&["public.u"])).await;
    let line = status(&pair.scratch, "rosetta", |line| line["missing_rows"].as_u64() >= Some(10)).await;
    assert_eq!(line["missing_rows"], 10, "{line}");
    let log = rosetta.log();
    let about: Vec<&str> = log.lines().filter(|line| line.contains("not at the destination")).collect();
    assert_eq!(about.len(), 1, "{log}");
    assert!(about[0].contains("public") && about[0].contains('t') && about[0].contains("rows=1"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
