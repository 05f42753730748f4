//! Nodes: emptied, closed, chosen.

use rosetta_proto::v1::{NodeState, PipelineState};
use tokio::time::timeout;

use super::*;

fn drain(node: &str, request_id: &str) -> v1::DrainNodeRequest {
    v1::DrainNodeRequest { request_id: request_id.to_owned(), node: node.to_owned() }
}

#[tokio::test]
async fn a_node_is_drained_and_takes_pipelines_again() {
    let world = World::with_nodes(2).await;
    world.create("orders").await;
    let running = world.reaches(0, "orders", PipelineState::Running).await;
    let (owner, other) = world.owner_and_other(&running);
    let (owner, other) = (&world.nodes[owner], &world.nodes[other]);
    let mut states = other.cluster().watch(v1::WatchClusterRequest {}).await.expect("watch").into_inner();
    let begun = other.cluster().drain(drain(owner.id(), "d-1")).await.expect("drain").into_inner();
    assert_eq!((begun.state(), begun.pipelines), (NodeState::Draining, 1));
    loop {
        let state = timeout(SOON, states.message()).await.expect("a state").expect("no end").expect("it goes on");
        let node = state.nodes.iter().find(|node| node.id == owner.id()).expect("the node").clone();
        if node.state() == NodeState::Drained {
            assert_eq!(state.assignments[0].node, other.id());
            break;
        }
    }
    let undrain = v1::UndrainNodeRequest { node: owner.id().to_owned(), ..Default::default() };
    let open = owner.cluster().undrain(undrain).await.expect("undrain").into_inner();
    assert_eq!(open.state(), NodeState::Active);
    let again = owner.cluster().drain(drain(owner.id(), "d-1")).await.expect("the same request").into_inner();
    assert_eq!(again, begun, "answered as before");
    assert_eq!(other.node(owner.id()).await.state(), NodeState::Active, "and nothing is done");
    let (_, reason, fields) = refused(owner.cluster().drain(drain(other.id(), "d-1")).await, Code::InvalidArgument);
    assert_eq!((reason.as_str(), fields.join(" ").as_str()), ("REQUEST_ID", "request_id"));
    let (message, _, _) = refused(owner.cluster().drain(drain("n9", "")).await, Code::NotFound);
    assert!(message.contains("'n9'") && message.contains("rosetta nodes"), "{message}");
}

#[tokio::test]
async fn a_drain_that_cannot_end_says_why() {
    let world = World::with_nodes(1).await;
    let n1 = &world.nodes[0];
    world.create("orders").await;
    world.reaches(0, "orders", PipelineState::Running).await;
    n1.cluster().drain(drain("n1", "")).await.expect("drain");
    let node = n1.node("n1").await;
    assert_eq!(node.state(), NodeState::Draining);
    assert!(node.blocked.contains("orders: no other node takes pipelines"), "{}", node.blocked);
}

#[tokio::test]
async fn a_pipeline_is_moved_and_pinned() {
    let world = World::with_nodes(2).await;
    world.create("orders").await;
    let running = world.reaches(0, "orders", PipelineState::Running).await;
    let (owner, other) = world.owner_and_other(&running);
    let (owner, other) = (&world.nodes[owner], &world.nodes[other]);
    let to = |node: &str, pin| v1::MovePipelineRequest {
        request_id: String::new(),
        pipeline: "orders".to_owned(),
        node: node.to_owned(),
        pin,
    };
    let cordon = v1::CordonNodeRequest { node: other.id().to_owned(), ..Default::default() };
    let closed = owner.cluster().cordon(cordon).await.expect("cordon").into_inner();
    assert_eq!(closed.state(), NodeState::Cordoned);
    let (message, reason, _) = refused(owner.cluster().r#move(to(other.id(), true)).await, Code::FailedPrecondition);
    assert!(message.contains("cordoned") && reason == "NODE_CLOSED", "{message}");
    let uncordon = v1::UncordonNodeRequest { node: other.id().to_owned(), ..Default::default() };
    owner.cluster().uncordon(uncordon).await.expect("uncordon");
    let moved = owner.cluster().r#move(to(other.id(), true)).await.expect("move").into_inner().r#move;
    let moved = moved.expect("a move");
    assert_eq!((moved.from.as_str(), moved.to.as_str()), (owner.id(), other.id()));
    assert_eq!(moved.reason(), v1::MoveReason::Asked);
    let shows = async |pin: &str| {
        eventually(SOON, "it is there, and pinned as asked", async || {
            let assignment = owner.state().await.assignments.remove(0);
            let is_there = assignment.node == other.id() && assignment.handover.is_none() && assignment.pin == pin;
            if is_there { Ok(()) } else { Err(format!("{assignment:?}")) }
        })
        .await;
    };
    shows(other.id()).await;
    let stays = owner.cluster().r#move(to(other.id(), false)).await.expect("move").into_inner().r#move;
    let stays = stays.expect("a move");
    assert_eq!(stays.from, stays.to);
    shows("").await;
    let unknown = v1::MovePipelineRequest { pipeline: "none".to_owned(), ..to(other.id(), false) };
    assert_eq!(refused(owner.cluster().r#move(unknown).await, Code::NotFound).1, "PIPELINE_NOT_FOUND");
}

#[tokio::test]
async fn loads_are_spread_as_shown() {
    let world = World::with_nodes(2).await;
    for name in ["orders", "bills"] {
        world.create(name).await;
        world.reaches(0, name, PipelineState::Running).await;
    }
    let n1 = &world.nodes[0];
    for pipeline in ["orders", "bills"] {
        let request = v1::MovePipelineRequest {
            pipeline: pipeline.to_owned(),
            node: "n1".to_owned(),
            ..v1::MovePipelineRequest::default()
        };
        eventually(SOON, "both are on n1", async || {
            let moved = n1.cluster().r#move(request.clone()).await.map_err(|status| status.to_string())?;
            let moved = moved.into_inner().r#move.unwrap_or_default();
            if moved.from == "n1" { Ok(()) } else { Err(format!("{moved:?}")) }
        })
        .await;
    }
    let rebalance = async |dry_run| {
        let request = v1::RebalanceRequest { dry_run, ..v1::RebalanceRequest::default() };
        n1.cluster().rebalance(request).await.expect("rebalance").into_inner()
    };
    let shown = rebalance(true).await;
    assert_eq!((shown.moves.len(), shown.imbalance_before, shown.imbalance_after), (1, 2.0, 1.0));
    assert_eq!(n1.node("n1").await.pipelines, 2, "a dry run moves nothing");
    assert_eq!(rebalance(false).await, shown);
    eventually(SOON, "each node has one", async || {
        let counts: Vec<u32> = n1.state().await.nodes.iter().map(|node| node.pipelines).collect();
        if counts == [1, 1] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_leader_resigns_and_what_was_asked_is_remembered() {
    let world = World::with_nodes(2).await;
    let n1 = &world.nodes[0];
    let leader = n1.state().await.leader;
    let request = v1::ResignLeaderRequest { request_id: "r-1".to_owned() };
    let resigned = n1.cluster().resign_leader(request.clone()).await.expect("resign").into_inner().resigned;
    assert_eq!(resigned, leader);
    let next = eventually(SOON, "another node leads", async || {
        let now = n1.state().await.leader;
        if !now.is_empty() && now != leader { Ok(now) } else { Err(now) }
    })
    .await;
    let repeated = world.nodes[1].cluster().resign_leader(request).await.expect("the same request").into_inner();
    assert_eq!(repeated.resigned, leader, "answered as before");
    assert_eq!(n1.state().await.leader, next, "and nothing is done");
    let filter = v1::ListEventsRequest { kind: "resign_requested".to_owned(), ..Default::default() };
    eventually(SOON, "the history has it once", async || {
        let events = n1.cluster().list_events(filter.clone()).await.map_err(|status| status.to_string())?.into_inner();
        let told: Vec<_> = events.events.iter().map(|event| (event.node.as_str(), &*event.requested_by)).collect();
        if told == [(leader.as_str(), "127.0.0.1")] { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    let long = v1::ListEventsRequest { page_size: 1001, ..Default::default() };
    assert_eq!(refused(n1.cluster().list_events(long).await, Code::InvalidArgument).2, ["page_size"]);
}
