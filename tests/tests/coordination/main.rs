//! What the nodes share, on a real etcd (and in memory, where both have to behave alike).

mod contract;
mod election;
mod faults;
mod outage;
mod session;
mod view;

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    records::{Incarnation, Keys, NodeRecord, PROTOCOL},
    session::{Session, SessionState, SessionWatch},
    store::{EtcdOptions, EtcdStore, LeaseId, Store},
};
use rosetta_tests::{Etcd, eventually};

const SOON: Duration = Duration::from_secs(30);

fn keys() -> Keys {
    Keys::new("test")
}

fn store_at(endpoints: Vec<String>) -> Arc<dyn Store> {
    Arc::new(EtcdStore::new(EtcdOptions::new(endpoints)))
}

fn store(etcd: &Etcd) -> Arc<dyn Store> {
    store_at(etcd.endpoints())
}

fn record(id: &str, incarnation: u64) -> NodeRecord {
    NodeRecord {
        id: id.parse().expect("a name"),
        incarnation: Incarnation(incarnation),
        address: "127.0.0.1:50051".to_owned(),
        version: "0".to_owned(),
        protocol: PROTOCOL,
        capacity: 1.0,
        started_at_ms: 0,
    }
}

fn start_session(store: &Arc<dyn Store>, id: &str, incarnation: u64) -> Session {
    Session::start(&**store, &keys(), record(id, incarnation)).expect("a thread for the session")
}

async fn active(session: &mut SessionWatch) -> LeaseId {
    soon("the session is active", session.active()).await.expect("a session that lives")
}

async fn reaches(session: &SessionWatch, wanted: SessionState) {
    eventually(SOON, &format!("the session is {wanted:?}"), async || match session.state() {
        state if state == wanted => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .await;
}

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}
