//! Fifty network faults of every kind, on both sides, under load: zero wrong rows.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rosetta_tests::{
    DB, Direction, Fault, Observer, Pair, Proxy, SOON, eventually, one_pipeline,
    rosetta::Rosetta,
    workload::{self, Workload},
};

const FAULTS: u64 = 50;
const SEED: u64 = 77;
const DELIVERED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_faults_between_rosetta_and_both_servers_change_nothing() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let before_source = Proxy::start(pair.source.port()).await;
    let before_destination = Proxy::start(pair.destination.port()).await;
    let config = one_pipeline(&before_source.url(DB), &before_destination.url(DB), &["public.*"], "");
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;

    let expected = workload::expected_total().to_string();
    let observer = Observer::start(&pair.destination, DB, workload::BANK_TOTAL, expected).await;
    let load = Workload::start(&pair.source, DB, SEED, 4, Duration::from_millis(10));
    let mut rng = StdRng::seed_from_u64(SEED);
    while before_source.delivered() + before_destination.delivered() < FAULTS {
        let at_destination = rng.random_bool(0.5);
        let proxy = if at_destination { &before_destination } else { &before_source };
        match any_fault(&mut rng, at_destination) {
            Some(fault) => deliver(proxy, fault).await,
            None => stall(proxy, &load, rng.random_range(10..500)).await,
        }
        assert!(rosetta.exited().is_none(), "rosetta gave up");
        // Most faults meet a start. Now and then one must meet a stream, and the waits between tries end.
        if rng.random_bool(0.4) {
            streams_again(&rosetta).await;
        }
    }
    load.stop().await;
    pair.settle_within(&workload::tables(), 3 * SOON).await;
    observer.stop().await;
    assert!(!rosetta.log().contains("panicked"));
}

async fn streams_again(rosetta: &Rosetta) {
    let last = |log: &str, text: &str| log.rfind(text);
    eventually(DELIVERED_WITHIN, "rosetta to stream again", async || {
        let log = rosetta.log();
        if last(&log, "streaming epoch") > last(&log, "retry_in_ms") { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
}

/// None is a stall.
fn any_fault(rng: &mut StdRng, at_destination: bool) -> Option<Fault> {
    let direction = if rng.random_bool(0.5) { Direction::ToServer } else { Direction::ToClient };
    match rng.random_range(0..10) {
        0..2 => Some(Fault::CutAll),
        2..5 => Some(Fault::CutAfter(direction, rng.random_range(0..5000))),
        5..7 => Some(Fault::HalfClose(direction)),
        7..9 if at_destination => Some(Fault::LoseCommitAnswer),
        7..9 => Some(Fault::CutAfter(Direction::ToClient, rng.random_range(0..200))),
        _ => None,
    }
}

/// Waits until the fault has met traffic, so that none is armed in vain.
async fn deliver(proxy: &Proxy, fault: Fault) {
    eventually(DELIVERED_WITHIN, "a connection to break", async || {
        if proxy.connections() > 0 { Ok(()) } else { Err("rosetta has not reconnected".to_owned()) }
    })
    .await;
    let before = proxy.delivered();
    proxy.arm(fault);
    eventually(DELIVERED_WITHIN, &format!("{fault:?} happens"), async || {
        if proxy.delivered() > before { Ok(()) } else { Err(format!("{} connections", proxy.connections())) }
    })
    .await;
}

async fn stall(proxy: &Proxy, load: &Workload, commits: u64) {
    let target = load.committed() + commits;
    proxy.stall();
    eventually(SOON, "the load goes on during a stall", async || {
        if load.committed() >= target { Ok(()) } else { Err(load.committed().to_string()) }
    })
    .await;
    proxy.unstall();
}

/// What a broken switch does: no byte, no end. The server keeps the old session, its locks and the slot meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_freeze_for_ever_are_replaced() {
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let before_source = Proxy::start(pair.source.port()).await;
    let before_destination = Proxy::start(pair.destination.port()).await;
    let config = one_pipeline(&before_source.url(DB), &before_destination.url(DB), &["public.*"], "");
    let _rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    for proxy in [&before_destination, &before_source] {
        let load = Workload::start(&pair.source, DB, SEED, 4, Duration::from_millis(5));
        let enough = async || if load.committed() > 200 { Ok(()) } else { Err(load.committed().to_string()) };
        eventually(SOON, "the load goes on", enough).await;
        proxy.freeze();
        load.stop().await;
        pair.settle_within(&workload::tables(), 4 * SOON).await;
    }
    assert_eq!(before_source.delivered() + before_destination.delivered(), 2);
}
