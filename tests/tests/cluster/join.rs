//! A node that joins gets its share; after that nothing moves.

use std::time::{Duration, Instant};

use rosetta_tests::{
    cluster::{AuditLoad, Cluster, Effort, Rate, Shape, WITHIN},
    eventually,
};

const SEED: u64 = 6;
const BALANCED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_gets_its_share_and_then_nothing_moves() {
    let effort = Effort::of(1);
    let shape = Shape::default();
    let mut cluster = Cluster::running(shape).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    cluster.at_rest().await;
    let moves = cluster.records.watch_moves();
    load.goes_on(500).await;
    assert_eq!(moves.seen(), [], "nothing moves in a cluster at rest");

    let begin = Instant::now();
    let name = cluster.add_node().await.name().to_owned();
    cluster.joined().await;
    let most = shape.pipelines / (shape.nodes + 1) + 1;
    eventually(WITHIN, "the new node has its share", async || {
        let owned = cluster.records.owned_by(&name).len();
        let is_done = owned + 1 >= most - 1 && cluster.records.moving() == 0;
        if is_done { Ok(()) } else { Err(format!("{owned} of {}", shape.pipelines)) }
    })
    .await;
    let took = begin.elapsed();
    // If more were to come, they would come now.
    load.goes_on(1000).await;
    let (moved, owned) = (moves.seen(), cluster.records.owned_by(&name).len());
    eprintln!("balanced after {took:?} by {} moves; the new node has {owned}", moved.len());
    assert!(moved.len() <= most, "more than {most} moves: {moved:?}");
    assert!(moved.iter().all(|seen| seen.to == name), "only to the node that joined: {moved:?}");
    assert!(!effort.is_full || took <= BALANCED_WITHIN, "balanced after {took:?}");
    cluster.flows().await;
    eprintln!("{}", cluster.judge(load).await);
}
