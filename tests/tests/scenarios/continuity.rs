//! Servers that rest, restart and crash.

use std::time::Duration;

use rosetta_tests::{
    DB, Pair, SLOT, SOON, Stop, Table, eventually,
    oracle::confirmed_flush,
    workload::{self, Workload},
};

#[tokio::test]
async fn a_slot_advances_while_only_other_tables_change() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table followed (id int primary key); create table other (v text)").await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.followed"], ""));
    pair.settle(&Table::all(&["public.followed"])).await;
    pair.source.sql(DB, "insert into other select repeat('x', 1000) from generate_series(1, 10000)").await;
    let target = pair.source.value(DB, "select pg_current_wal_lsn()").await;
    let client = pair.source.client(DB).await;
    eventually(SOON, "the idle slot passes what it need not send", async || {
        let confirmed = confirmed_flush(&client, SLOT).await?;
        match pair.source.value(DB, &format!("select '{confirmed}'::pg_lsn >= '{target}'")).await.as_str() {
            "t" => Ok(()),
            _ => Err(format!("{confirmed}, not yet {target}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_and_crashes_of_both_servers_under_load_change_nothing() {
    let mut pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 5, 4, Duration::from_millis(5));
    for how in [Stop::Fast, Stop::Immediate, Stop::Immediate] {
        more_commits(&load, 200).await;
        pair.destination.restart(how).await;
        more_commits(&load, 200).await;
        pair.source.restart(how).await;
    }
    more_commits(&load, 200).await;
    load.stop().await;
    pair.settle_within(&workload::tables(), 2 * SOON).await;
    assert!(rosetta.exited().is_none());
}

#[tokio::test]
async fn rosetta_starts_before_its_servers() {
    let mut pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key); insert into t values (1)").await;
    pair.source.stop(Stop::Fast);
    pair.destination.stop(Stop::Fast);
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], ""));
    rosetta.wait_log(SOON, &pair.source.port().to_string()).await;
    pair.source.start_again().await;
    pair.destination.start_again().await;
    pair.settle_within(&Table::all(&["public.t"]), 2 * SOON).await;
}

async fn more_commits(load: &Workload, count: u64) {
    let target = load.committed() + count;
    let enough = async || if load.committed() >= target { Ok(()) } else { Err(load.committed().to_string()) };
    eventually(SOON, "the load goes on", enough).await;
}
