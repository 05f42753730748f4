//! Two minutes of random faults; `--bin chaos` runs as many as one likes.

use std::time::Duration;

use rosetta_tests::cluster::chaos;

const SEED: u64 = 20_241_107;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_lose_nothing() {
    let report = chaos::run(SEED, Duration::from_secs(120)).await;
    eprintln!("{report}");
    assert!(report.verdict.is_clean(), "{report}");
}
