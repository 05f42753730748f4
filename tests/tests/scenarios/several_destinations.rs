//! One pipeline into several destinations: a slow one holds the others back, and never lets them differ.

use std::time::Duration;

use rosetta_tests::{
    DB, Pair, SOON, Table, eventually,
    oracle::{self, Side},
    workload::{self, Workload},
};

/// Every row costs the second destination a little: a trigger that fires for replicas, too.
const SLOW: &str = "
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return new; end $$;
    create trigger slow before insert or update on keyed for each row execute function slow();
    alter table keyed enable always trigger slow;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_one_and_kills_change_nothing() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    pair.destination.create_database("second").await;
    let config = format!(
        "{}\n[[destination]]\nname = \"two\"\nkind = \"postgres\"\nurl = \"{}\"\n",
        pair.config(&["public.*"], "apply_workers = 2").replace("[\"dst\"]", "[\"dst\", \"two\"]"),
        pair.destination.url("second"),
    );
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    pair.destination.sql("second", SLOW).await;
    let load = Workload::start(&pair.source, DB, 17, 4, Duration::from_millis(5));
    for kill in 1..=6 {
        let enough = async || if load.committed() > kill * 200 { Ok(()) } else { Err(load.committed().to_string()) };
        eventually(SOON, "the load goes on", enough).await;
        rosetta.kill9();
        rosetta = pair.rosetta("rosetta", &config);
    }
    load.stop().await;
    pair.settle_within(&workload::tables(), 2 * SOON).await;
    let second = Side { server: &pair.destination, db: "second" };
    oracle::assert_equal(pair.source_side(), second, &workload::tables()).await;
}

/// While one destination is away the slot stays for it, and what the other has is not written twice.
#[tokio::test]
async fn one_that_is_away_gets_everything_when_it_is_back() {
    let pair = Pair::start().await;
    pair.source
        .sql(DB, "create table t (v int, w text); alter table t replica identity full; insert into t values (0, 'a')")
        .await;
    pair.destination.create_database("second").await;
    let config = format!(
        "{}\n[[destination]]\nname = \"two\"\nkind = \"postgres\"\nurl = \"{}\"\n",
        pair.config(&["public.t"], "").replace("[\"dst\"]", "[\"dst\", \"two\"]"),
        pair.destination.url("second"),
    );
    let _rosetta = pair.rosetta("rosetta", &config);
    let tables = Table::all(&["public.t"]);
    let second = Side { server: &pair.destination, db: "second" };
    pair.settle(&tables).await;
    let away = "alter database second allow_connections false; \
                select pg_terminate_backend(pid) from pg_stat_activity where datname = 'second'";
    pair.destination.sql(DB, away).await;
    pair.source.sql(DB, "insert into t select 1, 'b' from generate_series(1, 50)").await;
    pair.source.sql(DB, "update t set w = 'c' where ctid in (select ctid from t where v = 1 limit 7)").await;
    pair.destination.sql(DB, "alter database second allow_connections true").await;
    pair.settle_within(&tables, 2 * SOON).await;
    oracle::assert_equal(pair.source_side(), second, &tables).await;
}
