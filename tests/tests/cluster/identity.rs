//! Two processes with one node id.

use rosetta_tests::cluster::{AuditLoad, Cluster, Rate, Shape};

const SEED: u64 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_of_two_processes_with_one_id_wins() {
    let mut cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let moves = cluster.records.watch_moves();
    let name = cluster.busiest();
    let before = cluster.before_of(&name).await;
    let mut twin = cluster.twin_of(&name);
    twin.start().await;
    let status = cluster[&name].ended().await;
    assert!(!status.success(), "the older process ended as if all were well: {status}");
    let log = cluster[&name].log();
    let last = log.lines().last().unwrap_or_default();
    assert!(log.contains("another process") && log.contains(&name), "it does not say why: {last}");
    cluster.taken_over(&before, rosetta_tests::cluster::WITHIN).await;
    cluster.flows().await;
    assert_eq!(moves.seen(), [], "the newer process is the same node");
    eprintln!("{}", cluster.judge(load).await);
    assert!(!twin.log().contains("panicked"));
}
