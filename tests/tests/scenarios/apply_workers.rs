//! Tables spread over several connections: the order within a table is kept, also through kills.

use std::time::Duration;

use rosetta_tests::{
    DB, Pair, SOON, eventually,
    workload::{self, Workload},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_and_kills_change_nothing() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let config = pair.config(&["public.*"], "apply_workers = 4");
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 11, 4, Duration::from_millis(5));
    for kill in 1..=8 {
        let enough = async || if load.committed() > kill * 250 { Ok(()) } else { Err(load.committed().to_string()) };
        eventually(SOON, "the load goes on", enough).await;
        rosetta.kill9();
        rosetta = pair.rosetta("rosetta", &config);
    }
    load.stop().await;
    pair.settle(&workload::tables()).await;
}
