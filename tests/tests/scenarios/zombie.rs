//! A process that sleeps while another takes over must not write when it wakes.

use std::time::Duration;

use rosetta_tests::{
    DB, Pair, SOON, eventually,
    workload::{self, Workload},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_wakes_after_a_takeover_is_fenced() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let config = pair.config(&["public.*"], "");
    let mut first = pair.rosetta("first", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 3, 4, Duration::from_millis(5));
    more_commits(&load, 300).await;

    first.sigstop();
    let _second = pair.rosetta("second", &config);
    pair.source.sql(DB, "insert into keyed values (-1, 0, 'after the takeover', null)").await;
    eventually(2 * SOON, "the second process replicates", async || {
        match pair.destination.value(DB, "select count(*) from keyed where id = -1").await.as_str() {
            "1" => Ok(()),
            _ => Err("the marker has not arrived".to_owned()),
        }
    })
    .await;

    first.sigcont();
    let status = first.wait_exit(SOON).await;
    assert!(!status.success(), "the fenced process ended as if all were well: {status}");
    assert!(first.log().to_lowercase().contains("fenced"), "it does not say that it was fenced");
    assert!(!first.log().contains("panicked"));
    more_commits(&load, 300).await;
    load.stop().await;
    pair.settle(&workload::tables()).await;
}

async fn more_commits(load: &Workload, count: u64) {
    let target = load.committed() + count;
    let enough = async || if load.committed() >= target { Ok(()) } else { Err(load.committed().to_string()) };
    eventually(SOON, "the load goes on", enough).await;
}
