//! A destination that is away: its changes wait, the others go on, and everything comes home in order.

use std::time::{Duration, Instant};

use rosetta_tests::{
    DB, Options, Pair, Postgres, Proxy, Redis, Rosetta, SLOT, SOON, Stop, Table, eventually,
    oracle::{self, Side},
    workload::{self, Workload},
};

use super::rows::{dlq, total};

/// A pipeline into two servers, and its configuration.
async fn two_destinations(spill_after: &str, more: &str) -> (Pair, Postgres, String) {
    let (pair, two) = tokio::join!(Pair::start(), Postgres::start(Options::default()));
    let options = format!("spill_after = \"{spill_after}\"\n{more}");
    let config = format!(
        "{}\n[[destination]]\nname = \"two\"\nkind = \"postgres\"\nurl = \"{}\"\n",
        pair.config(&["public.*"], &options).replace("[\"dst\"]", "[\"dst\", \"two\"]"),
        two.url(DB),
    );
    (pair, two, config)
}

/// Waits until changes are spilled.
async fn spills(rosetta: &Rosetta) {
    eventually(SOON, "changes are spilled", async || {
        let letters = total(rosetta).await;
        if letters > 0 { Ok(()) } else { Err("none yet".to_owned()) }
    })
    .await;
}

/// Waits until the load has committed so many more transactions.
async fn more_load(load: &Workload, more: u64) {
    let until = load.committed() + more;
    let enough = async || if load.committed() >= until { Ok(()) } else { Err(load.committed().to_string()) };
    eventually(3 * SOON, "the load goes on", enough).await;
}

async fn retained(pair: &Pair) -> u64 {
    let sql = format!(
        "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots where slot_name = '{SLOT}'"
    );
    pair.source.value(DB, &sql).await.parse().expect("a number")
}

/// Both destinations have what the source has, and nothing waits.
async fn all_equal(pair: &Pair, two: &Postgres, rosetta: &Rosetta) {
    let (tables, within) = (workload::tables(), 3 * SOON);
    oracle::wait_equal(pair.source_side(), pair.destination_side(), &tables, within).await;
    oracle::wait_equal(pair.source_side(), Side { server: two, db: DB }, &tables, within).await;
    eventually(SOON, "no letter is left", async || match total(rosetta).await {
        0 => Ok(()),
        left => Err(format!("{left} are")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_go_on_and_the_slot_moves_while_one_is_away() {
    let (pair, mut two, config) = two_destinations("2s", "").await;
    workload::create_tables(&pair.source, DB).await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 3, 4, Duration::from_millis(5));
    more_load(&load, 200).await;
    two.stop(Stop::Immediate);
    spills(&rosetta).await;
    more_load(&load, 2000).await;
    // The first destination keeps up, and the slot with it.
    eventually(SOON, "the slot moves on", async || {
        let retained = retained(&pair).await;
        if retained < 4 << 20 { Ok(()) } else { Err(format!("the source keeps {retained} bytes")) }
    })
    .await;
    let status = std::fs::read_to_string(pair.scratch.join("rosetta").join("status.json")).expect("a status");
    assert!(status.contains("degraded") && status.contains("destination two is away"), "{status}");
    two.start_again().await;
    more_load(&load, 500).await;
    load.stop().await;
    all_equal(&pair, &two, &rosetta).await;
    assert!(rosetta.log().contains("the destination is live again"), "{}", rosetta.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_the_process_during_an_outage_lose_nothing() {
    let (pair, mut two, config) = two_destinations("1s", "apply_workers = 2").await;
    workload::create_tables(&pair.source, DB).await;
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 5, 4, Duration::from_millis(5));
    more_load(&load, 100).await;
    two.stop(Stop::Immediate);
    for _ in 0..3 {
        more_load(&load, 400).await;
        rosetta.kill9();
        rosetta = pair.rosetta("rosetta", &config);
    }
    spills(&rosetta).await;
    more_load(&load, 400).await;
    two.start_again().await;
    for _ in 0..3 {
        more_load(&load, 200).await;
        rosetta.kill9();
        rosetta = pair.rosetta("rosetta", &config);
    }
    load.stop().await;
    all_equal(&pair, &two, &rosetta).await;
}

/// The only destination is away: the changes go to the store, and the source's log is freed.
#[tokio::test]
async fn a_pipeline_with_one_destination_spills_too() {
    let mut pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text)").await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], "spill_after = \"1s\""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.destination.stop(Stop::Immediate);
    pair.source.sql(DB, "insert into t select i, 'v' || i from generate_series(1, 5000) i").await;
    pair.source.sql(DB, "truncate t; insert into t select i, 'w' || i from generate_series(1, 3000) i").await;
    pair.source.sql(DB, "update t set v = 'x' where id % 3 = 0; delete from t where id % 7 = 0").await;
    spills(&rosetta).await;
    oracle::caught_up(pair.source_side(), SLOT, SOON).await;
    pair.destination.start_again().await;
    oracle::wait_equal(pair.source_side(), pair.destination_side(), &Table::all(&["public.t"]), SOON).await;
    pair.source.sql(DB, "insert into t values (9000, 'live')").await;
    oracle::wait_equal(pair.source_side(), pair.destination_side(), &Table::all(&["public.t"]), SOON).await;
}

/// Down and up every few moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_comes_and_goes() {
    let (pair, mut two, config) = two_destinations("1s", "").await;
    workload::create_tables(&pair.source, DB).await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 11, 3, Duration::from_millis(5));
    for _ in 0..4 {
        two.stop(Stop::Immediate);
        more_load(&load, 300).await;
        two.start_again().await;
        more_load(&load, 300).await;
    }
    load.stop().await;
    all_equal(&pair, &two, &rosetta).await;
}

/// The store is killed again and again while changes go to it: nothing is lost, and nothing is twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_crashes_during_a_spill() {
    let mut redis = Redis::start().await;
    let (pair, mut two, config) = two_destinations("1s", "").await;
    workload::create_tables(&pair.source, DB).await;
    let rosetta = Rosetta::start_with(&config, &pair.scratch.join("rosetta"), &[("ROSETTA_REDIS_URL", &redis.url())]);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 19, 4, Duration::from_millis(5));
    two.stop(Stop::Immediate);
    spills(&rosetta).await;
    for _ in 0..10 {
        more_load(&load, 100).await;
        redis.kill();
        more_load(&load, 50).await;
        redis.start_again().await;
    }
    let streams: Vec<String> = redis.ask(&["KEYS", "rosetta:dlq:pipeline_main:destination_two:table_public.*"]).await;
    assert!(
        streams.contains(&"rosetta:dlq:pipeline_main:destination_two:table_public.keyed".to_owned()),
        "{streams:?}"
    );
    two.start_again().await;
    more_load(&load, 200).await;
    load.stop().await;
    all_equal(&pair, &two, &rosetta).await;
}

/// A Redis that comes back empty has lost changes that the source's log no longer has: that is said, not passed over.
#[tokio::test]
async fn a_redis_that_forgets_is_found_out() {
    let redis = Redis::start().await;
    let mut pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text)").await;
    let config = pair.config(&["public.*"], "spill_after = \"1s\"");
    let mut rosetta =
        Rosetta::start_with(&config, &pair.scratch.join("rosetta"), &[("ROSETTA_REDIS_URL", &redis.url())]);
    pair.settle(&Table::all(&["public.t"])).await;
    pair.destination.stop(Stop::Immediate);
    pair.source.sql(DB, "insert into t values (1, 'spilled')").await;
    spills(&rosetta).await;
    oracle::caught_up(pair.source_side(), SLOT, SOON).await;
    redis.ask::<String>(&["FLUSHALL"]).await;
    pair.destination.start_again().await;
    assert!(!rosetta.wait_exit(SOON).await.success());
    assert!(rosetta.log().contains("needs_resync"), "{}", rosetta.log());
}

/// A row that waits when the destination goes away: what is spilled meanwhile goes behind it.
#[tokio::test]
async fn spilled_changes_of_a_parked_row_stay_behind_it() {
    let (pair, mut two, config) = two_destinations("1s", "").await;
    pair.source.sql(DB, "create table t (id int primary key, v text)").await;
    two.sql(DB, "create table t (id int primary key, v text check (v not like 'bad%'))").await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source.sql(DB, "insert into t values (1, 'bad'), (2, 'two')").await;
    spills(&rosetta).await; // one letter
    two.stop(Stop::Immediate);
    for change in [
        "update t set v = 'good' where id = 1",
        "update t set v = 'bad too' where id = 2",
        "insert into t values (3, 'three')",
    ] {
        pair.source.sql(DB, change).await;
    }
    // What was applied but not confirmed when it went away may be among them.
    eventually(SOON, "the changes are spilled", async || match total(&rosetta).await {
        4.. => Ok(()),
        other => Err(format!("{other} letters")),
    })
    .await;
    two.start_again().await;
    eventually(SOON, "what can be applied is", async || {
        let rows = two.value(DB, "select string_agg(id || ' ' || v, ', ' order by id) from t").await;
        let letters = total(&rosetta).await;
        if rows == "2 two, 3 three" && letters == 3 { Ok(()) } else { Err(format!("{letters} letters; {rows}")) }
    })
    .await;
    two.sql(DB, "alter table t drop constraint t_v_check").await;
    dlq(&rosetta, &["replay", "--pipeline", "main"]).await;
    let side = Side { server: &two, db: DB };
    oracle::wait_equal(pair.source_side(), side, &Table::all(&["public.t"]), SOON).await;
}

/// A destination that hangs, its connections open, is as good as away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_holds_no_other_up() {
    let (pair, two) = tokio::join!(Pair::start(), Postgres::start(Options::default()));
    let proxy = Proxy::start(two.port()).await;
    let url = proxy.url(DB);
    let config = format!(
        "{}\n[[destination]]\nname = \"two\"\nkind = \"postgres\"\nurl = \"{url}\"\n",
        pair.config(&["public.*"], "spill_after = \"2s\"").replace("[\"dst\"]", "[\"dst\", \"two\"]"),
    );
    workload::create_tables(&pair.source, DB).await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 13, 4, Duration::from_millis(5));
    more_load(&load, 100).await;
    proxy.stall();
    spills(&rosetta).await;
    more_load(&load, 500).await;
    proxy.unstall();
    more_load(&load, 200).await;
    load.stop().await;
    all_equal(&pair, &two, &rosetta).await;
}

/// How fast a spill comes home, beside how fast the same changes are applied live. The full size by
/// ROSETTA_SPILL_CHANGES=1000000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spill_drains_at_batch_speed() {
    let changes: u64 = std::env::var("ROSETTA_SPILL_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(60_000);
    let mut pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text)").await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], "spill_after = \"1s\""));
    pair.settle(&Table::all(&["public.t"])).await;
    let batch = |from: u64, to: u64| {
        format!(
            "do $$ begin for i in {from}..{to} by 100 loop insert into t select j, 'v' || j from generate_series(i, i + 99) j; commit; end loop; end $$"
        )
    };
    let began = Instant::now();
    pair.source.sql(DB, &batch(1, changes)).await;
    pair.settle_within(&Table::all(&["public.t"]), 5 * SOON).await;
    let live = began.elapsed();
    pair.destination.stop(Stop::Immediate);
    pair.source.sql(DB, &batch(10_000_001, 10_000_000 + changes)).await;
    eventually(5 * SOON, "all is spilled", async || {
        let letters = total(&rosetta).await;
        if letters == changes { Ok(()) } else { Err(format!("{letters} letters")) }
    })
    .await;
    pair.destination.start_again().await;
    eventually(SOON, "the replay begins", async || {
        if total(&rosetta).await < changes { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let began = Instant::now();
    oracle::wait_equal(pair.source_side(), pair.destination_side(), &Table::all(&["public.t"]), 5 * SOON).await;
    println!("{changes} changes: live {live:?}, from the store {:?}", began.elapsed());
}
