//! Election on a real etcd: one leader, the next one soon, and nothing written by a former one.

use std::sync::Arc;

use rosetta_coordinator::{
    election::{Candidate, Leadership},
    session::{Session, SessionEnded},
    store::{Put, Store, StoreError, Txn},
};
use rosetta_tests::{Etcd, eventually};
use tokio::time::{Instant, timeout};

use crate::{SOON, active, keys, soon, start_session, store};

fn candidate(store: &Arc<dyn Store>, session: &Session, node: &str) -> Candidate {
    Candidate::new(Arc::clone(store), keys(), node.parse().expect("a name"), session.watch())
}

async fn win(candidate: &mut Candidate) -> Leadership {
    soon("the candidate leads", candidate.win()).await.expect("a session that lives")
}

/// Starts to campaign in the background, and waits until the candidate stands in line.
async fn stand(
    store: &Arc<dyn Store>,
    mut candidate: Candidate,
    place: usize,
) -> tokio::task::JoinHandle<Result<Leadership, SessionEnded>> {
    let task = tokio::spawn(async move { candidate.win().await });
    let standing = async || match store.list(&keys().candidates()).await.map(|listing| listing.entries.len()) {
        Ok(count) if count == place => Ok(()),
        other => Err(format!("{other:?} candidates")),
    };
    eventually(SOON, "the candidate stands", standing).await;
    task
}

async fn write_as(store: &Arc<dyn Store>, leader: &Leadership, value: &str) -> Result<(), StoreError> {
    let put = Put::new(&format!("{}plan", keys().root()), value);
    store.txn(Txn::when(leader.guard()).put(put)).await.map(drop)
}

#[tokio::test]
async fn the_next_candidate_leads_when_the_leader_resigns() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let (a, b) = (start_session(&store, "a", 1), start_session(&store, "b", 1));
    let mut first = candidate(&store, &a, "a");
    let leader = win(&mut first).await;
    let next = stand(&store, candidate(&store, &b, "b"), 2).await;
    write_as(&store, &leader, "a").await.expect("the leader writes");
    assert!(!next.is_finished(), "two lead");
    let begin = Instant::now();
    leader.resign().await.expect("a leadership to resign");
    let successor = soon("the next one leads", next).await.expect("no panic").expect("a session that lives");
    assert!(begin.elapsed().as_secs() < 3, "it must not wait for a lease: {:?}", begin.elapsed());
    soon("the former leader knows", leader.lost()).await;
    assert_eq!(write_as(&store, &leader, "late").await, Err(StoreError::Conflict));
    write_as(&store, &successor, "b").await.expect("the new leader writes");
    assert!(successor.created() > leader.created());
    leader.resign().await.expect("resigning twice is no error");

    // The one that resigned stands behind.
    successor.resign().await.expect("a leadership to resign");
    let again = win(&mut first).await;
    assert!(again.created() > successor.created());
    assert_eq!(
        write_as(&store, &leader, "late").await,
        Err(StoreError::Conflict),
        "another leadership of the same node"
    );
}

#[tokio::test]
async fn a_leader_whose_lease_is_ended_is_replaced_and_refused() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let (a, b) = (start_session(&store, "a", 1), start_session(&store, "b", 1));
    let lease = active(&mut a.watch()).await;
    let leader = win(&mut candidate(&store, &a, "a")).await;
    let next = stand(&store, candidate(&store, &b, "b"), 2).await;
    store.revoke(lease).await.expect("a lease to revoke");
    // Before anybody tells the leader.
    assert_eq!(write_as(&store, &leader, "late").await, Err(StoreError::Conflict));
    soon("the former leader knows", leader.lost()).await;
    let successor = soon("the next one leads", next).await.expect("no panic").expect("a session that lives");
    write_as(&store, &successor, "b").await.expect("the new leader writes");
}

#[tokio::test]
async fn a_candidate_that_waits_without_its_lease_does_not_lead() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let (a, b, c) = (start_session(&store, "a", 1), start_session(&store, "b", 1), start_session(&store, "c", 1));
    let leader = win(&mut candidate(&store, &a, "a")).await;
    let lease = active(&mut b.watch()).await;
    let second = stand(&store, candidate(&store, &b, "b"), 2).await;
    let third = stand(&store, candidate(&store, &c, "c"), 3).await;
    let begin = Instant::now();
    store.revoke(lease).await.expect("a lease to revoke");
    let behind = async || match store.list(&keys().candidates()).await {
        Ok(listing) => {
            let mut entries = listing.entries;
            entries.sort_by_key(|entry| entry.created);
            let nodes: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.value).into_owned()).collect();
            if nodes == ["a", "c", "b"] { Ok(()) } else { Err(format!("{nodes:?}")) }
        }
        Err(error) => Err(error.to_string()),
    };
    eventually(SOON, "it stands again, at the end, under its new lease", behind).await;
    // The session tells it within a second; by itself it would find out when it lists again, after five.
    assert!(begin.elapsed().as_secs() < 4, "it did not notice the loss of its session: {:?}", begin.elapsed());
    leader.resign().await.expect("a leadership to resign");
    let successor = soon("the third one leads", third).await.expect("no panic").expect("a session that lives");
    assert!(!second.is_finished(), "two lead");
    successor.resign().await.expect("a leadership to resign");
    soon("then the second one leads", second).await.expect("no panic").expect("a session that lives");
}

#[tokio::test]
async fn a_candidate_ends_with_its_session_and_a_leader_that_vanishes_is_replaced() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let here = Session::start_here(Arc::clone(&store), &keys(), crate::record("a", 1));
    let b = start_session(&store, "b", 1);
    let leader = win(&mut candidate(&store, &here, "a")).await;
    let next = stand(&store, candidate(&store, &b, "b"), 2).await;
    let mut waiting = candidate(&store, &here, "a");
    // As a process that is killed: nothing is renewed and nothing revoked.
    drop(here);
    soon("the leader knows", leader.lost()).await;
    let ended = timeout(SOON, waiting.win()).await.expect("in time");
    assert!(matches!(ended, Err(SessionEnded::Stopped)), "{ended:?}");
    let successor = soon("the next one leads", next).await.expect("no panic").expect("a session that lives");
    assert_eq!(write_as(&store, &leader, "late").await, Err(StoreError::Conflict));
    write_as(&store, &successor, "b").await.expect("the new leader writes");
}

#[tokio::test]
async fn leaders_are_elected_again_after_a_restart_of_etcd() {
    let mut etcd = Etcd::start().await;
    let store = store(&etcd);
    let a = start_session(&store, "a", 1);
    let mut stands = candidate(&store, &a, "a");
    let leader = win(&mut stands).await;
    etcd.kill(0);
    soon("a leader that cannot renew its lease steps down", leader.lost()).await;
    etcd.start_again(0).await;
    let again = win(&mut stands).await;
    let written = async || write_as(&store, &again, "a").await.map_err(|error| error.to_string());
    eventually(SOON, "the leader writes", written).await;
}
