//! The store while etcd is away, in part or wholly.

use std::time::Duration;

use rosetta_coordinator::store::{EtcdOptions, EtcdStore, Event, Put, Revision, Store, StoreError, Txn, put_if};
use rosetta_tests::{Etcd, eventually};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(30);
/// The deadline of a request, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

fn store(etcd: &Etcd) -> EtcdStore {
    EtcdStore::new(EtcdOptions::new(etcd.endpoints()))
}

async fn put(store: &EtcdStore, key: &str) -> Result<Revision, StoreError> {
    store.txn(Txn::default().put(Put::new(key, "1"))).await
}

#[tokio::test]
async fn a_store_that_is_away_is_said_so_in_time_and_comes_back_by_itself() {
    let mut etcd = Etcd::start().await;
    let store = store(&etcd);
    etcd.kill(0);
    let begin = Instant::now();
    let read = store.get("/a").await;
    assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
    let write = put(&store, "/a").await;
    assert!(matches!(write, Err(StoreError::Unavailable { .. })), "nothing can have been sent: {write:?}");
    assert!(begin.elapsed() < 2 * ANSWERED_WITHIN);
    etcd.start_again(0).await;
    eventually(SOON, "the store answers again", async || put(&store, "/a").await.map_err(|e| e.to_string())).await;
}

#[tokio::test]
async fn a_write_that_a_frozen_store_did_not_answer_is_unknown() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    put(&store, "/before").await.expect("a write");
    etcd.pause(0);
    let write = timeout(ANSWERED_WITHIN, put_if(&store, None, Put::new("/a", "1"))).await.expect("an answer in time");
    assert!(matches!(write, Err(StoreError::Unknown { .. })), "{write:?}");
    etcd.resume(0);
    // Whatever became of it, the retry by condition tells.
    eventually(SOON, "the key is there once", async || match put_if(&store, None, Put::new("/a", "2")).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(other) => Err(other.to_string()),
    })
    .await;
}

#[tokio::test]
async fn a_watch_on_a_frozen_store_ends_and_the_next_one_goes_on() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let before = put(&store, "/w/a").await.expect("a write");
    let mut watch = store.watch("/w/", before.next()).await.expect("a watch");
    etcd.pause(0);
    let end = timeout(Duration::from_secs(10), watch.next()).await.expect("the silence is noticed");
    assert!(matches!(end, Err(StoreError::Unavailable { .. })), "{end:?}");
    etcd.resume(0);
    let second = eventually(SOON, "a write", async || put(&store, "/w/b").await.map_err(|e| e.to_string())).await;
    let mut watch = store.watch("/w/", before.next()).await.expect("a watch");
    let seen = timeout(SOON, watch.next()).await.expect("a change in time").expect("a watch that lives");
    assert!(seen.iter().any(|event| event.key() == "/w/b" && event.revision() <= second), "{seen:?}");
}

#[tokio::test]
async fn a_quiet_watch_lives() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let before = put(&store, "/w/a").await.expect("a write");
    let mut watch = store.watch("/w/", before.next()).await.expect("a watch");
    // Twice the silence after which a watch is taken for dead.
    let quiet = timeout(Duration::from_secs(6), watch.next()).await;
    assert!(quiet.is_err(), "nothing happened, but: {quiet:?}");
    put(&store, "/w/b").await.expect("a write");
    let seen = timeout(SOON, watch.next()).await.expect("a change in time").expect("a watch that lives");
    assert!(matches!(&seen[..], [Event::Put(entry)] if entry.key == "/w/b"), "{seen:?}");
}

#[tokio::test]
async fn compacted_history_is_said_so() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let first = put(&store, "/w/a").await.expect("a write");
    let last = put(&store, "/w/a").await.expect("a write");
    let mut client = etcd_client::Client::connect(etcd.endpoints(), None).await.expect("a connection");
    client.compact(last.0, None).await.expect("a compaction");
    let mut watch = store.watch("/w/", first).await.expect("a watch");
    let end = timeout(SOON, watch.next()).await.expect("an answer in time");
    assert!(matches!(end, Err(StoreError::Compacted(_))), "{end:?}");
}

#[tokio::test]
async fn one_member_of_three_may_be_lost_or_frozen() {
    let mut etcd = Etcd::start_three().await;
    let store = store(&etcd);
    put(&store, "/a").await.expect("a write");
    // The first endpoint is the one in use.
    etcd.kill(0);
    let written = async || put(&store, "/b").await.map_err(|e| e.to_string());
    eventually(SOON, "the others have a leader", written).await;
    for _ in 0..20 {
        store.get("/b").await.expect("a read: a dead member is not asked again and again").expect("the key");
        put(&store, "/c").await.expect("a write");
    }
    etcd.start_again(0).await;
    etcd.pause(1);
    eventually(SOON, "the others have a leader", async || store.get("/b").await.map_err(|e| e.to_string())).await;
    eventually(SOON, "a write by the others", written).await;
    etcd.resume(1);
}
