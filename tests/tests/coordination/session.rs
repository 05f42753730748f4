//! A node's session on a real etcd: takeover, loss, recovery, and the clock that must end before the lease does.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    records::{Incarnation, LEASE, NodeRecord},
    session::{SessionEnded, SessionState},
    store::{Entry, Put, Store, StoreError, put_if},
};
use rosetta_tests::{Etcd, Proxy, eventually};
use tokio::time::{Instant, timeout};

use crate::{SOON, active, keys, reaches, record, soon, start_session, store, store_at};

async fn entry(store: &Arc<dyn Store>, id: &str) -> Option<Entry> {
    let key = keys().node(&id.parse().expect("a name"));
    eventually(SOON, "a read", async || store.get(&key).await.map_err(|e| e.to_string())).await
}

fn incarnation(entry: &Entry) -> Incarnation {
    serde_json::from_slice::<NodeRecord>(&entry.value).expect("a record").incarnation
}

#[tokio::test]
async fn a_session_registers_and_takes_its_record_away_when_it_stops() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let lease = active(&mut session.watch()).await;
    let found = entry(&store, "a").await.expect("the record");
    assert_eq!((found.lease, incarnation(&found)), (Some(lease), Incarnation(1)));
    assert!(session.watch().authority().is_valid());
    let watch = session.watch();
    session.stop().await;
    assert_eq!(entry(&store, "a").await, None);
    assert_eq!(store.keep_alive(lease).await, Err(StoreError::LeaseGone));
    assert_eq!(watch.state(), SessionState::Stopped);
    assert!(!watch.authority().is_valid());
}

#[tokio::test]
async fn a_session_outlives_its_lease_by_renewing_it() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let lease = active(&mut session.watch()).await;
    let mut watch = session.watch();
    let left = timeout(LEASE * 2, watch.left(lease)).await;
    assert!(left.is_err(), "nothing disturbed the session, but it is {:?}", watch.state());
    assert!(watch.authority().is_valid());
    assert_eq!(entry(&store, "a").await.expect("the record").lease, Some(lease));
}

#[tokio::test]
async fn a_newer_start_takes_over_at_once_and_the_older_one_finds_out() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let older = start_session(&store, "a", 1);
    let old_lease = active(&mut older.watch()).await;
    let begin = Instant::now();
    let newer = start_session(&store, "a", 2);
    let lease = active(&mut newer.watch()).await;
    assert!(begin.elapsed() < LEASE / 2, "it must not wait for the old lease: {:?}", begin.elapsed());
    let ended = soon("the older one finds out", older.watch().ended()).await;
    assert_eq!(ended, SessionEnded::Superseded { by: Incarnation(2) });
    assert!(!older.watch().authority().is_valid());
    assert_eq!(store.keep_alive(old_lease).await, Err(StoreError::LeaseGone));
    older.stop().await;
    let found = entry(&store, "a").await.expect("the newer one's record survives the older one's end");
    assert_eq!((found.lease, incarnation(&found)), (Some(lease), Incarnation(2)));
}

#[tokio::test]
async fn an_older_start_finds_out_also_when_its_lease_lives_on() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    active(&mut session.watch()).await;
    let found = entry(&store, "a").await.expect("the record");
    let newer = serde_json::to_vec(&record("a", 2)).expect("a record");
    put_if(&*store, Some(found.modified), Put::new(&found.key, newer)).await.expect("nobody else wrote");
    let ended = soon("it reads its record", session.watch().ended()).await;
    assert_eq!(ended, SessionEnded::Superseded { by: Incarnation(2) });
}

#[tokio::test]
async fn a_session_registers_again_under_a_new_lease_when_its_lease_is_gone() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let mut watch = session.watch();
    let first = active(&mut watch).await;
    store.revoke(first).await.expect("a lease to revoke");
    soon("the session notices", watch.left(first)).await;
    let second = active(&mut watch).await;
    assert_ne!(first, second);
    let found = entry(&store, "a").await.expect("the record");
    assert_eq!((found.lease, incarnation(&found)), (Some(second), Incarnation(1)));
    assert!(watch.authority().is_valid());
}

#[tokio::test]
async fn a_session_registers_again_when_its_record_was_deleted() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let mut watch = session.watch();
    let first = active(&mut watch).await;
    let found = entry(&store, "a").await.expect("the record");
    rosetta_coordinator::store::delete_if(&*store, found.modified, &found.key).await.expect("nobody else wrote");
    soon("the session notices", watch.left(first)).await;
    let second = active(&mut watch).await;
    assert_eq!(entry(&store, "a").await.expect("the record").lease, Some(second));
    let gone = async || match store.keep_alive(first).await {
        Err(StoreError::LeaseGone) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually(SOON, "the former lease is ended, with what hangs on it", gone).await;
}

#[tokio::test]
async fn the_authority_ends_before_the_server_can_have_ended_the_lease() {
    let etcd = Etcd::start().await;
    let direct = store(&etcd);
    let proxy = Proxy::start(etcd.port(0)).await;
    let cut_off = store_at(vec![format!("http://{}", proxy.address())]);
    let session = start_session(&cut_off, "a", 1);
    let watch = session.watch();
    let lease = active(&mut session.watch()).await;
    proxy.stall();
    let ended = async || if watch.authority().is_valid() { Err("valid".to_owned()) } else { Ok(()) };
    eventually(SOON, "the authority ends", ended).await;
    let at_the_end = entry(&direct, "a").await.expect("at this instant the lease must still be there");
    assert_eq!(at_the_end.lease, Some(lease));
    reaches(&watch, SessionState::Lost).await;
    let gone = async || match entry(&direct, "a").await {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    };
    eventually(SOON, "the server ends the lease", gone).await;
    assert!(!watch.authority().is_valid());
    proxy.unstall();
    let second = active(&mut session.watch()).await;
    assert_ne!(lease, second);
    assert_eq!(entry(&direct, "a").await.expect("the record").lease, Some(second));
}

#[tokio::test]
async fn a_session_recovers_when_etcd_was_restarted() {
    let mut etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let watch = session.watch();
    active(&mut session.watch()).await;
    etcd.kill(0);
    reaches(&watch, SessionState::Lost).await;
    assert!(!watch.authority().is_valid());
    etcd.start_again(0).await;
    let lease = active(&mut session.watch()).await;
    let found = entry(&store, "a").await.expect("the record");
    assert_eq!((found.lease, incarnation(&found)), (Some(lease), Incarnation(1)));
    assert!(watch.authority().is_valid());
}

#[tokio::test]
async fn a_session_recovers_when_etcd_was_frozen() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let watch = session.watch();
    active(&mut session.watch()).await;
    etcd.pause(0);
    reaches(&watch, SessionState::Lost).await;
    etcd.resume(0);
    // The server may have kept the lease or not; either way node and record come back.
    let recovered = async || match (watch.state(), entry(&store, "a").await) {
        (SessionState::Active { lease }, Some(found)) if found.lease == Some(lease) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually(SOON, "the session is active, and its record under its lease", recovered).await;
    assert!(watch.authority().is_valid());
}

#[tokio::test]
async fn a_session_starts_before_etcd_does() {
    let mut etcd = Etcd::start().await;
    let store = store(&etcd);
    etcd.kill(0);
    let session = start_session(&store, "a", 1);
    let early = timeout(Duration::from_secs(3), session.watch().active()).await;
    assert!(early.is_err(), "there is no etcd, but: {early:?}");
    assert_eq!(session.watch().state(), SessionState::Connecting);
    etcd.start_again(0).await;
    active(&mut session.watch()).await;
}

#[tokio::test]
async fn a_session_renews_while_the_other_threads_are_busy() {
    let etcd = Etcd::start().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let lease = active(&mut session.watch()).await;
    // This test's only runtime thread sees nothing for longer than a lease.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let blocked = wait.recv_timeout(LEASE + LEASE / 2);
    drop(done);
    assert!(blocked.is_err());
    assert_eq!(session.watch().state(), SessionState::Active { lease });
    assert!(session.watch().authority().is_valid());
}

#[tokio::test]
async fn a_session_goes_on_when_one_member_of_three_freezes() {
    let etcd = Etcd::start_three().await;
    let store = store(&etcd);
    let session = start_session(&store, "a", 1);
    let mut watch = session.watch();
    let lease = active(&mut watch).await;
    // The one that leads: whichever the session uses, it is answered again only after an election.
    let leader = etcd.leader().await;
    etcd.pause(leader);
    let left = timeout(LEASE * 2, watch.left(lease)).await;
    assert!(left.is_err(), "two members are enough, but the session is {:?}", watch.state());
    assert!(watch.authority().is_valid());
    etcd.resume(leader);
}
