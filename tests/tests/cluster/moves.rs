//! Planned moves: one pipeline, a node that is emptied, two at once.

use std::time::{Duration, Instant};

use rosetta_tests::cluster::{AuditLoad, Before, Cluster, Effort, Figures, Rate, Shape, WITHIN};

const SEED: u64 = 5;
const PAUSE_P50: Duration = Duration::from_millis(200);
const PAUSE_P99: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(5);
const SANE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_move_pauses_a_pipeline_for_a_moment() {
    let effort = Effort::of(20);
    let cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let names: Vec<String> = cluster.world.pipelines.iter().map(|pipeline| pipeline.name.clone()).collect();
    let mut figures = Figures::default();
    for name in names.iter().cycle().take(effort.rounds) {
        let before = cluster.before(&[name]).await;
        let owner = cluster.records.owners().remove(name).expect("an owner");
        let next = cluster.other_than(&[&owner]);
        cluster.tell(&["move", name, "--to", &next]).await;
        cluster.taken_over(&before, WITHIN).await;
        figures.add_all(&cluster.pauses(&before).await);
        let owners = cluster.records.owners();
        assert_eq!(owners.get(name), Some(&next), "{name} was to move from {owner} to {next}");
    }
    eprintln!("a planned move's pause: {figures}");
    let (p50, p99) = if effort.is_full { (PAUSE_P50, PAUSE_P99) } else { (SANE, SANE) };
    figures.assert_within("a planned move's pause", p50, p99);
    eprintln!("{}", cluster.judge(load).await);
}

/// A cluster in which the leader owns all pipelines.
async fn all_at_the_leader() -> (Cluster, String) {
    let cluster = Cluster::start(Shape::default()).await;
    let leader = cluster.leader().await;
    let others: Vec<&str> = cluster.nodes().iter().map(|node| node.name()).filter(|name| *name != leader).collect();
    for name in &others {
        cluster.tell(&["cordon", name]).await;
    }
    cluster.apply().await;
    cluster.flows().await;
    assert_eq!(cluster.records.owned_by(&leader).len(), cluster.world.pipelines.len());
    (cluster, leader)
}

async fn all(cluster: &Cluster) -> Before {
    let names: Vec<&str> = cluster.world.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    cluster.before(&names).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_all_pipelines_which_leads_is_emptied() {
    let effort = Effort::of(1);
    let (cluster, leader) = all_at_the_leader().await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    load.goes_on(50).await;
    let before = all(&cluster).await;
    let others: Vec<&str> = cluster.nodes().iter().map(|node| node.name()).filter(|name| *name != leader).collect();
    for name in others {
        cluster.tell(&["uncordon", name]).await;
    }
    let begin = Instant::now();
    let drained = cluster.tell(&["drain", &leader]).await;
    let took = begin.elapsed();
    eprintln!("a drain of {} pipelines took {took:?}: {}", cluster.world.pipelines.len(), drained.trim());
    assert_eq!(cluster.records.owned_by(&leader), Vec::<String>::new());
    cluster.taken_over(&before, WITHIN).await;
    eprintln!("each stood still for {}", cluster.pauses(&before).await);
    assert!(took <= if effort.is_full { DRAIN } else { SANE }, "the drain took {took:?}");
    eprintln!("{}", cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_are_emptied_at_once() {
    let effort = Effort::of(1);
    let cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let leader = cluster.leader().await;
    let second = cluster.other_than(&[&leader]);
    let last = cluster.other_than(&[&leader, &second]);
    let begin = Instant::now();
    let (one, other) = (["drain", &leader], ["drain", &second]);
    tokio::join!(cluster.tell(&one), cluster.tell(&other));
    let took = begin.elapsed();
    eprintln!("two drains at once took {took:?}");
    assert_eq!(cluster.records.owned_by(&last).len(), cluster.world.pipelines.len());
    assert!(took <= if effort.is_full { DRAIN } else { SANE }, "the drains took {took:?}");
    // A drain outlives the node that leads.
    cluster.tell(&["undrain", &second]).await;
    cluster.flows().await;
    eprintln!("{}", cluster.judge(load).await);
}
