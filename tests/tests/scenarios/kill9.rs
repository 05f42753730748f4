//! `kill -9` at any instant: nothing lost, nothing twice, and no reader ever sees half a transaction.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rosetta_tests::{
    DB, Observer, Pair, SOON, Table, eventually,
    workload::{self, Workload},
};

const KILLS: usize = 30;
const SEED: u64 = 20_240_611;
const WRITERS: u64 = 4;
const PACE: Duration = Duration::from_millis(5);

/// Lets the load commit a random number of transactions: a random moment that is tied to events, not to time.
async fn some_commits(load: &Workload, rng: &mut StdRng) {
    let few = rng.random_ratio(1, 3);
    let target = load.committed() + rng.random_range(1..if few { 40 } else { 800 });
    eventually(SOON, "the load goes on", async || {
        if load.committed() >= target { Ok(()) } else { Err(format!("{} of {target}", load.committed())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_under_load_change_nothing() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let config = pair.config(&["public.*"], "");
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;

    let expected = workload::expected_total().to_string();
    let observer = Observer::start(&pair.destination, DB, workload::BANK_TOTAL, expected).await;
    let load = Workload::start(&pair.source, DB, SEED, WRITERS, PACE);
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..KILLS {
        some_commits(&load, &mut rng).await;
        rosetta.kill9();
        rosetta = pair.rosetta("rosetta", &config);
    }
    assert!(load.stop().await > 1000, "too little load to prove anything");
    pair.settle_within(&workload::tables(), 2 * SOON).await;
    assert!(observer.stop().await > 100, "too few looks to prove anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_the_first_copy_change_nothing() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    pair.source
        .sql(
            DB,
            "create table wide (id bigint primary key, v text, w text);
             insert into wide select i, md5(i::text), repeat('w', 300) from generate_series(1, 200000) i;
             create table keyless (v int); alter table keyless replica identity full;
             insert into keyless select i % 1000 from generate_series(1, 100000) i;",
        )
        .await;
    let load = Workload::start(&pair.source, DB, SEED, 2, PACE);
    let config = pair.config(&["public.*"], "");
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..10 {
        let mut rosetta = pair.rosetta("rosetta", &config);
        some_commits(&load, &mut rng).await;
        rosetta.kill9();
    }
    let _rosetta = pair.rosetta("rosetta", &config);
    load.stop().await;
    let mut tables = workload::tables();
    tables.extend(Table::all(&["public.wide", "public.keyless"]));
    pair.settle_within(&tables, 2 * SOON).await;
}
