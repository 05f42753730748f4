//! What nodes say to each other, and how one is found gone.

use rosetta_coordinator::view::View;
use tokio::time::Instant;

use super::*;

fn hold(incarnation: &str) -> v1::HoldRequest {
    v1::HoldRequest { node: "test".to_owned(), expected_incarnation: incarnation.to_owned() }
}

#[tokio::test]
async fn a_node_that_is_held_says_each_second_that_it_lives() {
    let world = World::with_nodes(1).await;
    let n1 = &world.nodes[0];
    let incarnation = n1.node.record.incarnation.to_string();
    let mut beats = n1.peers().hold(hold(&incarnation)).await.expect("hold").into_inner();
    let began = Instant::now();
    for sequence in 1..=3 {
        let beat = beats.message().await.expect("no end").expect("a beat");
        assert_eq!(beat, v1::Beat { node: "n1".to_owned(), incarnation: incarnation.clone(), sequence });
    }
    assert!(began.elapsed() >= Duration::from_millis(1900), "one beat a second");
    let (_, reason, _) = refused(n1.peers().hold(hold("00000000000000ff")).await, Code::FailedPrecondition);
    assert_eq!(reason, "OTHER_INCARNATION");
    refused(n1.peers().hold(hold("")).await, Code::InvalidArgument);
    let status = n1.peers().status(v1::PeerStatusRequest::default()).await.expect("status").into_inner();
    assert_eq!((status.node.as_str(), status.incarnation, status.statuses.len()), ("n1", incarnation, 0));
}

#[tokio::test]
async fn a_process_that_is_gone_loses_its_lease_at_once() {
    let mut world = World::with_nodes(3).await;
    let watched = Arc::clone(&world.nodes[0].node);
    let id = world.nodes[2].node.record.id.clone();
    let lease = watched.views.now().nodes[&id].lease;
    eventually(SOON, "n1 holds n3", async || {
        let held = watched.held.all();
        if held.contains(&id) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    let mut views = watched.views.subscribe();
    let gone = Instant::now();
    world.nodes[2].vanish();
    let is_gone = |view: &Arc<View>| view.nodes.get(&id).is_none_or(|recorded| recorded.lease != lease);
    tokio::time::timeout(SOON, views.wait_for(is_gone)).await.expect("it is found gone").expect("a view");
    let took = gone.elapsed();
    eprintln!("found gone after {took:?}");
    // Its session renews the lease for ever. The limit is 100 ms on a machine that does nothing else.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_process_that_is_only_silent_keeps_its_lease() {
    let world = World::with_nodes(2).await;
    let id = world.nodes[1].node.record.id.clone();
    let (watched, lease) = (&world.nodes[0].node, world.nodes[0].node.views.now().nodes[&id].lease);
    // A node whose port never answered, such as one with a wrong address, is never held and never found gone.
    let mut record = world.nodes[1].node.record.clone();
    record.id = "wrong".parse().expect("a name");
    record.address = "127.0.0.1:1".to_owned();
    let session = rosetta_coordinator::session::Session::start(&*watched.store, &watched.keys, record.clone());
    let session = session.expect("a thread");
    let registered = session.watch().active().await.expect("registered");
    let mut views = watched.views.subscribe();
    let is_there = |view: &View| view.nodes.contains_key(&record.id);
    tokio::time::timeout(SOON, views.wait_for(|view| is_there(view))).await.expect("it is seen").expect("a view");
    let lease_of = |view: &View, id| view.nodes.get(id).and_then(|recorded| recorded.lease);
    let is_changed = |view: &View| lease_of(view, &record.id) != Some(registered) || lease_of(view, &id) != lease;
    let changed = tokio::time::timeout(Duration::from_secs(3), views.wait_for(|view| is_changed(view))).await;
    assert!(changed.is_err(), "a node that is alive lost its lease");
}
