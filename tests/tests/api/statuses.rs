//! What pipelines do, asked of any node.

use rosetta_proto::v1::PipelineState;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn any_node_tells_what_the_owner_sees() {
    let world = World::with_nodes(2).await;
    world.create("orders").await;
    let running = world.reaches(0, "orders", PipelineState::Running).await;
    let (owner, other) = world.owner_and_other(&running);
    for asked in [owner, other] {
        let status = world.reaches(asked, "orders", PipelineState::Running).await;
        assert_eq!(status.node, world.nodes[owner].id());
        assert!(status.epoch >= 1000 && status.observed_at.is_some(), "{status:?}");
    }
    world.server.sql(SOURCE, "insert into orders select generate_series(1, 10)").await;
    eventually(SOON, "the other node shows the changes", async || {
        let listed = world.nodes[other].list().await;
        let changes = listed[0].status.as_ref().map_or(0, |status| status.changes);
        if changes == 10 { Ok(()) } else { Err(format!("{changes}")) }
    })
    .await;
}

#[tokio::test]
async fn a_watch_tells_all_then_changes_of_state_then_what_is_gone() {
    let world = World::with_nodes(2).await;
    world.create("orders").await;
    let running = world.reaches(0, "orders", PipelineState::Running).await;
    let (_, other) = world.owner_and_other(&running);
    let mut client = world.nodes[other].pipelines();
    let request = v1::WatchPipelinesRequest { interval_ms: 60_000, ..v1::WatchPipelinesRequest::default() };
    let mut updates = client.watch(request).await.expect("watch").into_inner();
    let mut next = async || {
        let update = timeout(SOON, updates.message()).await.expect("an update").expect("no end");
        update.expect("the stream goes on")
    };
    let first = next().await;
    assert_eq!((first.statuses.len(), first.statuses[0].state()), (1, PipelineState::Running));
    let pause = v1::PausePipelineRequest { name: "orders".to_owned(), ..Default::default() };
    client.pause(pause).await.expect("pause");
    // The interval is a minute: only its state can have brought it.
    while next().await.statuses.iter().all(|status| status.state() != PipelineState::Paused) {}
    let delete = v1::DeletePipelineRequest { name: "orders".to_owned(), ..Default::default() };
    client.delete(delete).await.expect("delete");
    while next().await.deleted != ["orders"] {}
    let short = v1::WatchPipelinesRequest { interval_ms: 99, ..Default::default() };
    assert_eq!(refused(client.watch(short).await, Code::InvalidArgument).2, ["interval_ms"]);
}

#[tokio::test]
async fn a_silent_owner_leaves_its_pipelines_unknown() {
    let mut world = World::with_nodes(2).await;
    world.create("orders").await;
    let running = world.reaches(0, "orders", PipelineState::Running).await;
    let (owner, other) = world.owner_and_other(&running);
    // Without etcd nobody takes over, and nobody is found gone.
    world.etcd.pause(0);
    world.nodes[owner].vanish();
    let status = world.nodes[other].status("orders").await.expect("an answer");
    assert_eq!((status.state(), status.node.as_str()), (PipelineState::Unknown, running.node.as_str()));
    assert!(status.error.contains(&format!("node {}", running.node)), "{}", status.error);
    world.etcd.resume(0);
}
