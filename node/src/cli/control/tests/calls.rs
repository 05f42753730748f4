//! Which node is asked, and what is said when none answers.

use std::time::Duration;

use rosetta_proto::v1::{ClusterState, GetClusterRequest, WatchClusterRequest, cluster_client::ClusterClient};
use tokio::net::TcpListener;
use tonic::Status;

use super::{
    super::{client::Client, error::ControlError},
    ask,
    fake::{Node, Script},
    nobody,
};

fn knows_orders() -> Script {
    Script { pipelines: vec!["orders".to_owned()], ..Script::default() }
}

fn refuses(status: Status) -> Script {
    Script { refusal: Some(status), ..Script::default() }
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_is_gone() {
    let node = Node::start(knows_orders());
    let answer = ask(&format!("{},{}", nobody(), node.url), &["pause", "orders"]).await;
    assert_eq!(answer.text(), "orders: paused\n");
}

#[tokio::test]
async fn nobody_answers() {
    let (first, second) = (nobody(), nobody());
    let error = ask(&format!("{first},{second}"), &["pause", "orders"]).await.error();
    let expected = format!("no node answers at {first}, {second}: start one with `rosetta node`, or give --endpoint");
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_node_that_cannot_is_passed_over_with_the_same_request_id() {
    let (cut_off, node) = (Node::start(refuses(Status::unavailable("etcd is away"))), Node::start(knows_orders()));
    let answer = ask(&format!("{},{}", cut_off.url, node.url), &["restart", "orders"]).await;
    assert_eq!(answer.text(), "orders: restarting\n");
    assert_eq!(node.request_ids().len(), 1);
    assert_eq!(cut_off.request_ids(), node.request_ids());
    assert_eq!(node.request_ids()[0].len(), 32);
}

#[tokio::test]
async fn what_a_node_says_counts_more_than_silence_elsewhere() {
    let cut_off = Node::start(refuses(Status::unavailable("etcd is away; try again when it is back")));
    let error = ask(&format!("{},{}", cut_off.url, nobody()), &["pause", "orders"]).await.error();
    assert_eq!(error, "etcd is away; try again when it is back");
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let (first, second) = (Node::start(Script::default()), Node::start(knows_orders()));
    let error = ask(&format!("{},{}", first.url, second.url), &["pause", "orders"]).await.error();
    assert_eq!(error, "pipeline orders does not exist; `rosetta status` lists them");
    assert!(second.asked().is_empty());
}

#[tokio::test]
async fn a_node_of_another_version_is_named() {
    let node = Node::start(Script::default());
    let error = ask(&node.url, &["cordon", "n1"]).await.error();
    let expected = format!("the node at {} does not know this call: it runs another version of rosetta", node.url);
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_node_that_says_nothing_is_given_up() {
    // It accepts, because the kernel does, but never reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::new(&url).unwrap().with_deadline(Duration::from_millis(200));
    let call = async |channel| ClusterClient::new(channel).get(GetClusterRequest {}).await;
    assert_eq!(client.call(call).await, Err(ControlError::Silent(url)));
}

#[tokio::test]
async fn a_stream_that_must_be_whole_is_not_taken_for_whole() {
    let script = Script { watches: vec![vec![ClusterState::default()], vec![]], ..Script::default() };
    let node = Node::start(script);
    let client = Client::new(&node.url).unwrap();
    let mut received = 0;
    let open = async |channel| ClusterClient::new(channel).watch(WatchClusterRequest {}).await;
    let read = client.drain(open, |_| {
        received += 1;
        Ok(())
    });
    assert_eq!(read.await.unwrap_err().to_string(), "this node stops");
    assert_eq!(received, 1);
}
