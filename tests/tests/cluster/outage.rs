//! etcd or the config database is away for a while: data flow on, control says so at once, all recover by themselves.

use std::time::{Duration, Instant};

use rosetta_proto::v1::{PausePipelineRequest, pipelines_client::PipelinesClient};
use rosetta_tests::{
    Stop,
    cluster::{AuditLoad, Cluster, Effort, Rate, Shape, WITHIN, now_us},
};
use tonic::Code;

const SEED: u64 = 10;
/// Within this a control call says that it cannot be done.
const ANSWERS: Duration = Duration::from_secs(2);
/// On a busy machine.
const SANE: Duration = Duration::from_secs(10);
const LAG: Duration = Duration::from_secs(2);

/// How long etcd is away, in transactions of the load; about 80 are made in a second.
fn outage(effort: Effort) -> u64 {
    if effort.is_full { 60 * 80 } else { 15 * 80 }
}

async fn control_is_unavailable(cluster: &Cluster, effort: Effort) {
    for node in cluster.nodes() {
        let mut client = PipelinesClient::connect(node.endpoint()).await.expect("a node answers");
        let begin = Instant::now();
        let request = PausePipelineRequest { name: cluster.world.pipelines[0].name.clone(), ..Default::default() };
        let answer = client.pause(request).await.expect_err("what is to be changed cannot be");
        let took = begin.elapsed();
        eprintln!("{} answers after {took:?}: {answer:?}", node.name());
        assert_eq!(answer.code(), Code::Unavailable, "{answer:?}");
        assert!(took <= if effort.is_full { ANSWERS } else { SANE }, "answered after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_etcd_is_away_data_flow_on() {
    let effort = Effort::of(1);
    let mut cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    load.goes_on(80).await;
    let (since, moves) = (now_us(), cluster.records.watch_moves());
    cluster.world.etcd.kill(0);
    load.goes_on(outage(effort) / 2).await;
    control_is_unavailable(&cluster, effort).await;
    load.goes_on(outage(effort) / 2).await;
    cluster.flows().await;
    cluster.world.etcd.start_again(0).await;
    cluster.joined().await;
    cluster.tell(&["pause", &cluster.world.pipelines[0].name]).await;
    cluster.tell(&["resume", &cluster.world.pipelines[0].name]).await;
    cluster.flows().await;
    // All but the one that was paused.
    let lag = cluster.worst_lag_of(&cluster.world.pipelines[1..], since).await;
    eprintln!("etcd away: worst lag {lag:?}, moves {:?}", moves.by_pipeline());
    assert!(lag <= if effort.is_full { LAG } else { SANE }, "a pipeline was {lag:?} behind");
    assert_eq!(moves.seen(), [], "an outage of etcd moves nothing");
    eprintln!("{}", cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_etcd_may_be_frozen_or_lost() {
    let effort = Effort::of(1);
    let mut cluster = Cluster::running(Shape { etcd_members: 3, ..Shape::default() }).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    for round in 0..2 * effort.rounds.min(3) {
        let member = cluster.world.etcd.leader().await;
        cluster.world.etcd.pause(member);
        load.goes_on(800).await;
        cluster.flows().await;
        cluster.world.etcd.resume(member);
        cluster.world.etcd.kill(round % 3);
        load.goes_on(400).await;
        cluster.world.etcd.start_again(round % 3).await;
        cluster.joined().await;
        cluster.at_rest().await;
    }
    cluster.flows().await;
    eprintln!("{}", cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_config_database_is_away_nodes_fail_over() {
    let effort = Effort::of(1);
    let mut cluster = Cluster::running(Shape::default()).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    cluster.world.catalog.stop(Stop::Immediate);
    control_is_unavailable(&cluster, effort).await;
    let victim = cluster.leader().await;
    let before = cluster.before_of(&victim).await;
    cluster[&victim].kill9().await;
    cluster.taken_over(&before, WITHIN).await;
    cluster[&victim].start().await;
    cluster.joined().await;
    cluster.flows().await;
    cluster.world.catalog.start_again().await;
    cluster.tell_eventually(&["restart", &cluster.world.pipelines[0].name]).await;
    cluster.flows().await;
    eprintln!("{}", cluster.judge(load).await);
}
