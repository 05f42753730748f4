//! The faults that the store in memory makes on demand, and what sessions and candidates make of them.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    election::Candidate,
    records::{Incarnation, Keys},
    session::{Session, SessionEnded, SessionState},
    store::{MemoryStore, Put, REQUEST_DEADLINE, Revision, Store, StoreError, Txn, put_if},
};
use tokio::time::{Instant, timeout};

use crate::{active, keys, reaches, record, soon};

fn session(store: &MemoryStore, id: &str, incarnation: u64) -> Session {
    Session::start_here(Arc::new(store.clone()), &keys(), record(id, incarnation))
}

fn node_key(keys: &Keys, id: &str) -> String {
    keys.node(&id.parse().expect("a name"))
}

#[tokio::test]
async fn a_partition_hits_one_client_and_ends() {
    let store = MemoryStore::new();
    let other = store.client("other");
    let mut watch = other.watch("/", Revision(1)).await.expect("a watch");
    other.partition();
    let begin = Instant::now();
    let write = other.txn(Txn::default().put(Put::new("/a", "1"))).await;
    assert!(matches!(write, Err(StoreError::Unknown { .. })), "{write:?}");
    assert!(begin.elapsed() >= REQUEST_DEADLINE);
    assert!(matches!(watch.next().await, Err(StoreError::Unavailable { .. })));
    assert_eq!(store.get("/a").await, Ok(None));
    store.txn(Txn::default().put(Put::new("/a", "2"))).await.expect("the others are not hit");
    other.heal();
    assert_eq!(other.get("/a").await.expect("a read").expect("the key").value, b"2");
}

#[tokio::test]
async fn a_lost_answer_is_a_write_that_was_done() {
    let store = MemoryStore::new();
    store.lose_next_answer();
    let write = put_if(&store, None, Put::new("/a", "1")).await;
    assert!(matches!(write, Err(StoreError::Unknown { .. })), "{write:?}");
    assert!(store.get("/a").await.expect("a read").is_some());
    assert_eq!(put_if(&store, None, Put::new("/a", "2")).await, Err(StoreError::Conflict), "only one answer is lost");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_none() {
    let store = MemoryStore::new();
    store.delay(REQUEST_DEADLINE * 2);
    let write = timeout(REQUEST_DEADLINE * 2, put_if(&store, None, Put::new("/a", "1"))).await;
    assert!(matches!(write, Ok(Err(StoreError::Unknown { .. }))), "{write:?}");
    store.heal();
    assert!(store.get("/a").await.expect("a read").is_some());
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_the_sessions_own() {
    let store = MemoryStore::new();
    let other = store.client("other");
    other.lose_next_answer();
    let session = session(&other, "a", 1);
    let lease = active(&mut session.watch()).await;
    let found = store.get(&node_key(&keys(), "a")).await.expect("a read").expect("the record");
    assert_eq!(found.lease, Some(lease));
}

#[tokio::test]
async fn a_node_that_was_cut_off_while_its_successor_started_finds_out() {
    let store = MemoryStore::new();
    let other = store.client("other");
    let older = session(&other, "a", 1);
    active(&mut older.watch()).await;
    other.partition();
    let newer = session(&store, "a", 2);
    active(&mut newer.watch()).await;
    reaches(&older.watch(), SessionState::Lost).await;
    assert!(!older.watch().authority().is_valid());
    other.heal();
    let ended = soon("the older one finds out", older.watch().ended()).await;
    assert_eq!(ended, SessionEnded::Superseded { by: Incarnation(2) });
}

#[tokio::test]
async fn a_candidacy_whose_answer_was_lost_is_the_candidates_own() {
    let store = MemoryStore::new();
    let session = session(&store.client("session"), "a", 1);
    active(&mut session.watch()).await;
    let unlucky = store.client("unlucky");
    unlucky.lose_next_answer();
    let name = "a".parse().expect("a name");
    let mut candidate = Candidate::new(Arc::new(unlucky), keys(), name, session.watch());
    let leader = soon("it leads", candidate.win()).await.expect("a session that lives");
    let candidates = store.list(&keys().candidates()).await.expect("a listing").entries;
    assert_eq!(candidates.len(), 1);
    store.txn(Txn::when(leader.guard()).put(Put::new("/plan", ""))).await.expect("the leader writes");
}

#[tokio::test]
async fn a_withdrawn_candidate_lets_the_next_one_lead() {
    let store = MemoryStore::new();
    let (a, b) = (session(&store.client("a"), "a", 1), session(&store.client("b"), "b", 1));
    let of = |session: &Session, name: &str| {
        Candidate::new(Arc::new(store.clone()), keys(), name.parse().expect("a name"), session.watch())
    };
    let mut first = of(&a, "a");
    let forgotten = soon("it leads", first.win()).await.expect("a session that lives");
    let mut second = of(&b, "b");
    let waits = timeout(Duration::from_millis(500), second.win()).await;
    assert!(waits.is_err(), "two lead");
    first.withdraw().await.expect("a candidacy to withdraw");
    soon("the former leader knows", forgotten.lost()).await;
    soon("the next one leads", second.win()).await.expect("a session that lives");
}
