//! `kill -9` of a node: the others go on with its pipelines.

use std::time::Duration;

use rosetta_tests::cluster::{AuditLoad, Cluster, Effort, Figures, Rate, Shape, WITHIN};

const SEED: u64 = 1;
/// From the kill to the first row by the new owner.
const P50: Duration = Duration::from_secs(3);
const P99: Duration = Duration::from_secs(5);
/// What a busy machine keeps, too: a lease, the leader's grace, and the takeover.
const SANE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_of_a_killed_node_go_on_elsewhere() {
    let effort = Effort::of(5);
    let mut cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let mut figures = Figures::default();
    for round in 0..effort.rounds {
        // The leader every other time: its pipelines wait for the next leader.
        let victim = if round % 2 == 0 { cluster.leader().await } else { cluster.busiest() };
        let before = cluster.before_of(&victim).await;
        let killed = cluster[&victim].kill9().await;
        cluster.taken_over(&before, WITHIN).await;
        figures.add_all(&cluster.first_rows(&before, killed).await);
        cluster[&victim].start().await;
        cluster.joined().await;
        cluster.at_rest().await;
        load.goes_on(50).await;
    }
    eprintln!("kill -9 to the first row by the new owner: {figures}");
    let (p50, p99) = if effort.is_full { (P50, P99) } else { (SANE, SANE) };
    figures.assert_within("kill -9 to the first row by the new owner", p50, p99);
    eprintln!("{}", cluster.judge(load).await);
}
