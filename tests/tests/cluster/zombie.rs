//! A node that sleeps past its lease and wakes: it must not write what its successor has written.

use rosetta_tests::cluster::{AuditLoad, Cluster, Effort, Rate, Shape, WITHIN};

const SEED: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wakes_after_its_lease_writes_nothing_twice() {
    let effort = Effort::of(3);
    let cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    for round in 0..effort.rounds {
        let sleeper = if round % 2 == 0 { cluster.busiest() } else { cluster.leader().await };
        let before = cluster.before_of(&sleeper).await;
        cluster[&sleeper].sleep();
        cluster.taken_over(&before, WITHIN).await;
        load.goes_on(50).await;
        cluster[&sleeper].wake();
        cluster.joined().await;
        cluster.at_rest().await;
        load.goes_on(100).await;
    }
    eprintln!("{} sleeps: {}", effort.rounds, cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sleeps_for_a_moment_keeps_its_pipelines() {
    let cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let moves = cluster.records.watch_moves();
    let sleeper = cluster.busiest();
    for _ in 0..3 {
        cluster[&sleeper].sleep();
        // About one second of the load: far less than the lease.
        load.goes_on(60).await;
        cluster[&sleeper].wake();
        load.goes_on(200).await;
    }
    cluster.flows().await;
    assert_eq!(moves.seen(), [], "nothing moves for a pause of a second");
    eprintln!("{}", cluster.judge(load).await);
}
