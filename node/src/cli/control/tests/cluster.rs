use rosetta_proto::v1::{self, ClusterState, NodeState};

use super::{
    ask,
    fake::{Node, Script},
};

fn cluster(state: NodeState, pipelines: u32) -> ClusterState {
    let node = v1::Node { id: "n1".to_owned(), state: state.into(), pipelines, ..v1::Node::default() };
    ClusterState { nodes: vec![node], ..ClusterState::default() }
}

#[tokio::test]
async fn drain_waits_until_the_node_is_empty_also_when_the_asked_node_stops() {
    let watches = vec![
        vec![cluster(NodeState::Draining, 2), cluster(NodeState::Draining, 1)],
        vec![cluster(NodeState::Draining, 0), cluster(NodeState::Drained, 0)],
    ];
    let node = Node::start(Script { watches, ..Script::default() });
    assert_eq!(ask(&node.url, &["drain", "n1"]).await.text(), "n1: drained\n");
    let asked: Vec<_> = node.asked().into_iter().map(|(call, _)| call).collect();
    assert_eq!(asked, ["Drain", "Watch", "Watch"]);
}

#[tokio::test]
async fn drain_does_not_wait_for_ever() {
    let node = Node::start(Script { watches: vec![vec![cluster(NodeState::Draining, 1)]], ..Script::default() });
    let error = ask(&node.url, &["drain", "n1", "--timeout", "1"]).await.error();
    assert!(error.starts_with("n1 is not empty after 1 s and is still being emptied"), "{error}");
}

#[tokio::test]
async fn drain_that_someone_ended_is_no_success() {
    let watches = vec![vec![cluster(NodeState::Draining, 1), cluster(NodeState::Active, 1)]];
    let node = Node::start(Script { watches, ..Script::default() });
    assert!(ask(&node.url, &["drain", "n1"]).await.error().starts_with("n1 is no longer being emptied"));
}

#[tokio::test]
async fn drain_need_not_wait() {
    let node = Node::start(Script::default());
    assert_eq!(ask(&node.url, &["drain", "n1", "--timeout", "0"]).await.text(), "n1: draining\n");
}

#[tokio::test]
async fn a_move_that_is_refused_says_why() {
    let node = Node::start(Script::default());
    let error = ask(&node.url, &["move", "orders", "--to", "n2", "--pin"]).await.error();
    assert_eq!(error, "node n2 is draining; run `rosetta undrain n2` first");
    assert_eq!(node.asked(), [("Move", "orders n2 pin=true".to_owned())]);
}
