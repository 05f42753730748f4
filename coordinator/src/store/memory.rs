//! The store in memory, for tests and simulation: the same contract, and faults on demand. Time is tokio's, so it
//! may be paused.
//!
//! Each handle is a client with a name; a fault hits one client.

mod faults;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::{faults::Faults, state::State};
use super::{
    Answer, Changes, Entry, LeaseId, Listing, REQUEST_DEADLINE, Revision, Store, StoreError, Txn, Watch, watch::WAITING,
};

/// A handle of one client on a store in memory. Clones are the same client; [`MemoryStore::client`] makes another.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    client: Arc<str>,
}

struct Shared {
    state: Mutex<State>,
    faults: Mutex<Faults>,
    /// Changed with each revision and each fault, so that watches look again.
    news: watch::Sender<u64>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({})", self.client)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty store, and its client "first".
    #[must_use]
    pub fn new() -> MemoryStore {
        let shared = Shared { state: Mutex::default(), faults: Mutex::default(), news: watch::Sender::new(0) };
        MemoryStore { shared: Arc::new(shared), client: "first".into() }
    }

    /// Another client of the same store.
    #[must_use]
    pub fn client(&self, name: &str) -> MemoryStore {
        MemoryStore { shared: Arc::clone(&self.shared), client: name.into() }
    }

    /// This client's requests go unanswered and its watches break, until [`MemoryStore::heal`].
    pub fn partition(&self) {
        self.fault(|faults| faults.cut_off(&self.client));
    }

    /// Ends every fault of this client.
    pub fn heal(&self) {
        self.fault(|faults| faults.heal(&self.client));
    }

    /// This client's requests take as long as this; beyond the request deadline they are done, but go unanswered.
    pub fn delay(&self, each: Duration) {
        self.fault(|faults| faults.delay(&self.client, each));
    }

    /// This client's next write is done, and its answer lost.
    pub fn lose_next_answer(&self) {
        self.fault(|faults| faults.lose_next_answer(&self.client));
    }

    /// This client's watches tell nothing, though they seem to be well, until [`MemoryStore::heal`].
    pub fn drop_events(&self) {
        self.fault(|faults| faults.drop_events(&self.client));
    }

    /// The lease ends now, as if it had not been renewed.
    pub fn expire(&self, lease: LeaseId) {
        self.state().end_lease(lease);
        self.announce();
    }

    /// Forgets the history before now: watches from older revisions get `Compacted`.
    pub fn compact(&self) {
        self.state().compact();
        self.announce();
    }

    fn fault(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults());
        self.announce();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end_leases_due(Instant::now());
        state
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.shared.news.send_modify(|count| *count += 1);
    }

    /// One request: `run` at the store, with the faults of the way there and back.
    async fn request<T>(&self, run: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let way = self.faults().way(&self.client);
        if way.is_cut_off {
            sleep(REQUEST_DEADLINE).await;
            return Err(unavailable("partitioned"));
        }
        sleep(way.delay.min(REQUEST_DEADLINE)).await;
        let answer = run(&mut self.state());
        self.announce();
        if way.delay >= REQUEST_DEADLINE { Err(unavailable("no answer in time")) } else { answer }
    }

    /// The same for a request that writes.
    async fn write<T>(&self, run: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let is_answer_lost = self.faults().take_lost_answer(&self.client);
        let answer = self.request(run).await.map_err(StoreError::of_a_write);
        if is_answer_lost { Err(unavailable("the answer is lost").of_a_write()) } else { answer }
    }

    async fn open_watch(&self, prefix: &str, from: Revision) -> Result<Watch, StoreError> {
        self.request(|_| Ok(())).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut source = JoinSet::new();
        source.spawn(self.clone().forward(prefix.to_owned(), from, sender));
        Ok(Watch::new(receiver, source))
    }

    /// Carries changes until the watch breaks or nobody listens.
    async fn forward(self, prefix: String, mut from: Revision, changes: mpsc::Sender<Result<Changes, StoreError>>) {
        let mut news = self.shared.news.subscribe();
        loop {
            news.mark_unchanged();
            let seen = self.look(&prefix, from);
            from = from.max(seen.next);
            for group in seen.groups {
                if changes.send(Ok(group)).await.is_err() {
                    return;
                }
            }
            if let Some(error) = seen.end {
                let _ = changes.send(Err(error)).await;
                return;
            }
            tokio::select! {
                _ = news.changed() => {}
                () = until(seen.next_lease_end) => {}
                () = changes.closed() => return,
            }
        }
    }

    /// What a watch of this client sees now.
    fn look(&self, prefix: &str, from: Revision) -> Seen {
        let way = self.faults().way(&self.client);
        let state = self.state();
        let since = if way.is_cut_off { Err(unavailable("partitioned")) } else { state.since(prefix, from) };
        let (groups, end) = match since {
            Ok(_) if way.drops_events => (Vec::new(), None),
            Ok(groups) => (groups, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Seen { groups, end, next: state.revision().next(), next_lease_end: state.next_lease_end() }
    }
}

/// What a watch sees at one instant.
struct Seen {
    groups: Vec<Changes>,
    /// The watch is over.
    end: Option<StoreError>,
    /// The revision from which to look next.
    next: Revision,
    /// When something may change by itself.
    next_lease_end: Option<Instant>,
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn unavailable(cause: &str) -> StoreError {
    StoreError::Unavailable { place: "the store in memory".to_owned(), cause: cause.to_owned() }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(self.request(|state| Ok(state.get(key))))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(self.request(|state| Ok(state.list(prefix))))
    }

    fn txn(&self, txn: Txn) -> Answer<'_, Revision> {
        Box::pin(self.write(move |state| state.txn(txn)))
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Answer<'a, Watch> {
        Box::pin(self.open_watch(prefix, from))
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId> {
        Box::pin(self.request(move |state| Ok(state.grant(ttl, Instant::now()))))
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(self.request(move |state| state.keep_alive(lease, Instant::now())))
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(self.request(move |state| {
            state.end_lease(lease);
            Ok(())
        }))
    }

    fn apart(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }
}
