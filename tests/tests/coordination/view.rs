//! The picture of the records: kept by watches, made right by listing anew.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    records::NodeIntent,
    store::{MemoryStore, Put, Revision, Store, Txn},
    view::{Contact, LIST_EVERY, View, Views},
};
use rosetta_proto::NodeId;
use rosetta_tests::{Etcd, eventually};
use tokio::time::{Instant, timeout};

use crate::{SOON, active, keys, soon, start_session, store};

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

async fn intend(store: &dyn Store, name: &str) -> Revision {
    let value = serde_json::to_vec(&NodeIntent { cordoned: true, draining: false }).expect("an intent");
    let put = Put::new(&keys().intent(&node(name)), value);
    store.txn(Txn::default().put(put)).await.expect("a write")
}

async fn shows(views: &Views, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
    let mut changes = views.subscribe();
    let view = soon(what, changes.wait_for(|view| wanted(view))).await.expect("the keeper lives");
    Arc::clone(&view)
}

#[tokio::test]
async fn a_view_shows_nodes_as_they_come_and_go() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let views = Views::start(Arc::clone(&store), keys());
    let session = start_session(&store, "a", 1);
    let lease = active(&mut session.watch()).await;
    let view = shows(&views, "the node", |view| view.nodes.contains_key(&node("a"))).await;
    assert_eq!(view.nodes[&node("a")].lease, Some(lease));
    session.stop().await;
    shows(&views, "no node", |view| view.nodes.is_empty()).await;
}

#[tokio::test]
async fn a_view_reaches_what_was_written_before_it_lists_again() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let views = Views::start(Arc::clone(&store), keys());
    soon("a first picture", views.reached(Revision(1))).await;
    let begin = Instant::now();
    for number in 0..10 {
        let written = intend(&*store, &format!("n{number}")).await;
        let view = soon("the write", views.reached(written)).await;
        assert!(view.intents.contains_key(&node(&format!("n{number}"))));
    }
    assert!(begin.elapsed() < LIST_EVERY, "the watch tells nothing: {:?}", begin.elapsed());
}

#[tokio::test]
async fn lost_events_are_repaired_by_the_next_listing() {
    let store = MemoryStore::new();
    let viewer = store.client("viewer");
    let gone = intend(&store, "gone").await;
    let views = Views::start(Arc::new(viewer.clone()), keys());
    soon("a first picture", views.reached(gone)).await;
    viewer.drop_events();
    intend(&store, "new").await;
    store.txn(Txn::default().delete(&keys().intent(&node("gone")))).await.expect("a write");
    let mut changes = views.subscribe();
    changes.mark_unchanged();
    let untold = timeout(Duration::from_millis(500), changes.changed()).await;
    assert!(untold.is_err(), "the fault has no effect");
    let view = shows(&views, "what was lost", |view| view.intents.contains_key(&node("new"))).await;
    assert!(!view.intents.contains_key(&node("gone")));
}

#[tokio::test]
async fn a_view_is_kept_while_the_store_is_away_and_made_right_after() {
    let store = MemoryStore::new();
    let viewer = store.client("viewer");
    let first = intend(&store, "a").await;
    let views = Views::start(Arc::new(viewer.clone()), keys());
    soon("a first picture", views.reached(first)).await;
    viewer.partition();
    let mut contact = views.contact();
    let is_away = |contact: &Contact| matches!(contact, Contact::Away { .. });
    soon("it says that the store is away", contact.wait_for(is_away)).await.expect("the keeper lives");
    assert!(views.now().intents.contains_key(&node("a")), "what is known is kept");
    let second = intend(&store, "b").await;
    store.compact();
    viewer.heal();
    let view = soon("what happened meanwhile", views.reached(second)).await;
    assert_eq!(view.intents.len(), 2);
    let is_current = |contact: &Contact| matches!(contact, Contact::Current { .. });
    soon("it says that the store is back", contact.wait_for(is_current)).await.expect("the keeper lives");
}

#[tokio::test]
async fn a_view_goes_on_after_a_restart_of_etcd_and_leaves_malformed_records_out() {
    let mut etcd = Etcd::start().await;
    let store = store(&etcd);
    let views = Views::start(Arc::clone(&store), keys());
    let first = intend(&*store, "a").await;
    soon("a first picture", views.reached(first)).await;
    etcd.kill(0);
    let mut contact = views.contact();
    let is_away = |contact: &Contact| matches!(contact, Contact::Away { .. });
    soon("it says that etcd is away", contact.wait_for(is_away)).await.expect("the keeper lives");
    etcd.start_again(0).await;
    let broken = keys().intent(&node("b"));
    let write = async || {
        let put = Put::new(&broken, "{");
        store.txn(Txn::default().put(put)).await.map_err(|error| error.to_string())
    };
    let written = eventually(SOON, "a write", write).await;
    let view = soon("the malformed record", views.reached(written)).await;
    assert!(view.intents.contains_key(&node("a")) && !view.intents.contains_key(&node("b")));
    assert!(view.malformed.contains_key(&broken));
}
