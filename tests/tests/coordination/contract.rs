//! The contract of a store, held by etcd and by the one in memory.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::store::{
    Condition, EtcdOptions, EtcdStore, Event, MemoryStore, Put, Revision, Store, StoreError, Txn, Watch, delete_if,
    put_if,
};
use rosetta_tests::{Etcd, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Each of these runs on both stores.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::MemoryStore::new())).await;
            })*
        }
        mod etcd {
            $(#[tokio::test]
            async fn $name() {
                let etcd = super::Etcd::start().await;
                let options = super::EtcdOptions::new(etcd.endpoints());
                super::$name(std::sync::Arc::new(super::EtcdStore::new(options))).await;
            })*
        }
    };
}

contract!(
    a_read_sees_the_last_write,
    a_listing_is_ordered_and_only_below_the_prefix,
    a_write_needs_each_of_its_conditions,
    a_key_that_came_back_is_another_one,
    a_watch_tells_each_change_in_order_from_a_revision,
    a_watch_tells_one_write_at_once,
    the_keys_of_a_lease_go_with_it,
    a_lease_lives_as_long_as_it_is_renewed,
    a_lease_that_ended_is_gone,
    a_key_rewritten_without_the_lease_stays,
);

type Shared = Arc<dyn Store>;

async fn put(store: &Shared, key: &str, value: &str) -> Revision {
    store.txn(Txn::default().put(Put::new(key, value))).await.expect("an unconditional write")
}

async fn next_events(watch: &mut Watch) -> Vec<Event> {
    tokio::time::timeout(SOON, watch.next()).await.expect("a change in time").expect("a watch that lives")
}

async fn gone(store: &Shared, key: &str) {
    eventually(SOON, "the key is gone", async || match store.get(key).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

async fn a_read_sees_the_last_write(store: Shared) {
    assert_eq!(store.get("/a").await, Ok(None));
    let first = put(&store, "/a", "1").await;
    let second = put(&store, "/a", "2").await;
    assert!(second > first);
    let entry = store.get("/a").await.expect("a read").expect("the key");
    assert_eq!((entry.value.as_slice(), entry.created, entry.modified), (b"2".as_slice(), first, second));
    assert_eq!(entry.lease, None);
}

async fn a_listing_is_ordered_and_only_below_the_prefix(store: Shared) {
    for key in ["/b/2", "/a/9", "/b/1", "/b", "/c/1", "/b0"] {
        put(&store, key, "").await;
    }
    let last = put(&store, "/b/3", "").await;
    let listing = store.list("/b/").await.expect("a listing");
    let keys: Vec<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((keys, listing.revision), (vec!["/b/1", "/b/2", "/b/3"], last));
}

async fn a_write_needs_each_of_its_conditions(store: Shared) {
    let first = put_if(&*store, None, Put::new("/a", "1")).await.expect("the key is absent");
    assert_eq!(put_if(&*store, None, Put::new("/a", "x")).await, Err(StoreError::Conflict));
    assert_eq!(put_if(&*store, Some(Revision(1)), Put::new("/nothing", "x")).await, Err(StoreError::Conflict));
    let second = put_if(&*store, Some(first), Put::new("/a", "2")).await.expect("nobody else wrote");
    assert_eq!(put_if(&*store, Some(first), Put::new("/a", "x")).await, Err(StoreError::Conflict));
    assert_eq!(delete_if(&*store, first, "/a").await, Err(StoreError::Conflict));

    let half = Txn::when(Condition::Created("/a".to_owned(), first)).and(Condition::Absent("/a".to_owned()));
    assert_eq!(store.txn(half.put(Put::new("/b", "x")).delete("/a")).await, Err(StoreError::Conflict));
    assert_eq!(store.get("/b").await, Ok(None), "a refused write does nothing");

    let all = Txn::when(Condition::Created("/a".to_owned(), first))
        .and(Condition::Modified("/a".to_owned(), second))
        .and(Condition::Absent("/b".to_owned()));
    let third = store.txn(all.put(Put::new("/b", "3")).delete("/a")).await.expect("all conditions hold");
    assert_eq!(store.get("/a").await, Ok(None));
    assert_eq!(store.get("/b").await.expect("a read").expect("the key").created, third);
}

async fn a_key_that_came_back_is_another_one(store: Shared) {
    let first = put(&store, "/a", "1").await;
    delete_if(&*store, first, "/a").await.expect("nobody else wrote");
    put(&store, "/a", "1").await;
    let guarded = Txn::when(Condition::Created("/a".to_owned(), first)).put(Put::new("/b", "x"));
    assert_eq!(store.txn(guarded).await, Err(StoreError::Conflict));
}

async fn a_watch_tells_each_change_in_order_from_a_revision(store: Shared) {
    put(&store, "/w/old", "0").await;
    let first = put(&store, "/w/a", "1").await;
    put(&store, "/other", "x").await;
    let mut watch = store.watch("/w/", first).await.expect("a watch");
    let deletion = delete_if(&*store, first, "/w/a").await.expect("nobody else wrote");
    let last = put(&store, "/w/a", "2").await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(next_events(&mut watch).await);
    }
    let revisions: Vec<Revision> = seen.iter().map(Event::revision).collect();
    assert_eq!(revisions, [first, deletion, last]);
    assert_eq!(seen[1], Event::Delete { key: "/w/a".to_owned(), revision: deletion });
    assert!(matches!(&seen[2], Event::Put(entry) if entry.value == b"2" && entry.created == last), "{seen:?}");
}

async fn a_watch_tells_one_write_at_once(store: Shared) {
    let before = put(&store, "/w/a", "1").await;
    let mut watch = store.watch("/w/", before.next()).await.expect("a watch");
    store.txn(Txn::default().put(Put::new("/w/b", "2")).delete("/w/a")).await.expect("a write");
    let events = next_events(&mut watch).await;
    let mut keys: Vec<&str> = events.iter().map(Event::key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["/w/a", "/w/b"]);
}

async fn the_keys_of_a_lease_go_with_it(store: Shared) {
    let lease = store.grant(Duration::from_secs(30)).await.expect("a lease");
    let revision =
        store.txn(Txn::default().put(Put::new("/l/a", "1").with_lease(lease))).await.expect("a write with a lease");
    assert_eq!(store.get("/l/a").await.expect("a read").expect("the key").lease, Some(lease));
    let mut watch = store.watch("/l/", revision.next()).await.expect("a watch");
    store.revoke(lease).await.expect("a lease to revoke");
    assert_eq!(store.get("/l/a").await, Ok(None));
    assert!(matches!(&next_events(&mut watch).await[..], [Event::Delete { key, .. }] if key == "/l/a"));
    assert_eq!(store.revoke(lease).await, Ok(()), "revoking twice is no error");
}

async fn a_lease_lives_as_long_as_it_is_renewed(store: Shared) {
    let ttl = Duration::from_secs(3);
    let lease = store.grant(ttl).await.expect("a lease");
    store.txn(Txn::default().put(Put::new("/l/a", "1").with_lease(lease))).await.expect("a write with a lease");
    let end = tokio::time::Instant::now() + 2 * ttl;
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    while tick.tick().await < end {
        store.keep_alive(lease).await.expect("a lease that is renewed in time");
    }
    assert!(store.get("/l/a").await.expect("a read").is_some());
    gone(&store, "/l/a").await;
}

async fn a_lease_that_ended_is_gone(store: Shared) {
    let lease = store.grant(Duration::from_secs(30)).await.expect("a lease");
    store.revoke(lease).await.expect("a lease to revoke");
    assert_eq!(store.keep_alive(lease).await, Err(StoreError::LeaseGone));
    let late = Txn::default().put(Put::new("/l/a", "1").with_lease(lease));
    assert_eq!(store.txn(late).await, Err(StoreError::LeaseGone));
    assert_eq!(store.get("/l/a").await, Ok(None));
}

async fn a_key_rewritten_without_the_lease_stays(store: Shared) {
    let lease = store.grant(Duration::from_secs(30)).await.expect("a lease");
    store.txn(Txn::default().put(Put::new("/l/a", "1").with_lease(lease))).await.expect("a write with a lease");
    put(&store, "/l/a", "2").await;
    store.revoke(lease).await.expect("a lease to revoke");
    assert_eq!(store.get("/l/a").await.expect("a read").expect("the key").lease, None);
}
