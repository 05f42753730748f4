//! Who leads: of the candidates below `leader/`, the one that came first. etcd's own campaign call is not used, since
//! a candidate that waits there does not notice that its lease has ended.

use std::{sync::Arc, time::Duration};

use rosetta_proto::NodeId;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    records::Keys,
    session::{SessionEnded, SessionState, SessionWatch},
    store::{Condition, Entry, Event, LeaseId, Listing, Put, Revision, Store, StoreError, Txn, put_if},
};

/// Watches may lose events: as often all candidates are listed anew.
const LIST_EVERY: Duration = Duration::from_secs(5);
/// After a failure of the store.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A node that wants to lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    store: Arc<dyn Store>,
    keys: Keys,
    node: NodeId,
    session: SessionWatch,
}

impl Candidate {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, keys: Keys, node: NodeId, session: SessionWatch) -> Candidate {
        Candidate { store, keys, node, session }
    }

    /// Waits until this node leads. A new lease of the session is a new candidacy; failures of the store are waited out.
    ///
    /// Who drops this before it answers stays a candidate, and others would wait for a leader that does not know of
    /// it: call this again, or [`Candidate::withdraw`], or end the session.
    ///
    /// # Errors
    /// The session has ended for good.
    pub async fn win(&mut self) -> Result<Leadership, SessionEnded> {
        loop {
            let lease = self.session.active().await?;
            let mut session = self.session.clone();
            let outcome = tokio::select! {
                biased;
                () = session.left(lease) => continue,
                outcome = self.campaign(lease) => outcome,
            };
            match outcome {
                Ok(Some(leadership)) => return Ok(leadership),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot stand for leader; trying again"),
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Stands back: the next candidate may lead.
    ///
    /// # Errors
    /// Of the store; then the candidacy ends with the session.
    pub async fn withdraw(&self) -> Result<(), StoreError> {
        if let SessionState::Active { lease } = self.session.state() {
            self.store.txn(Txn::default().delete(&self.keys.candidate(lease))).await?;
        }
        Ok(())
    }

    /// Stands and waits. `None`: it would lead, but its lease may have ended.
    async fn campaign(&self, lease: LeaseId) -> Result<Option<Leadership>, StoreError> {
        let key = self.keys.candidate(lease);
        loop {
            let listing = self.store.list(&self.keys.candidates()).await?;
            let Some(own) = listing.entries.iter().find(|entry| entry.key == key) else {
                self.stand(&key, lease).await?;
                continue;
            };
            match next_before(&listing, own) {
                Some(rival) => self.wait_for_end(&rival.key, listing.revision).await?,
                None if self.session.authority().is_valid() => {
                    return Ok(Some(self.leadership(own.created, key, lease)));
                }
                None => return Ok(None),
            }
        }
    }

    async fn stand(&self, key: &str, lease: LeaseId) -> Result<(), StoreError> {
        match put_if(&*self.store, None, Put::new(key, self.node.as_str()).with_lease(lease)).await {
            // Whether it is there is read next.
            Ok(_) | Err(StoreError::Conflict | StoreError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns when `rival` is gone, or may be: the candidates are to be listed again.
    async fn wait_for_end(&self, rival: &str, since: Revision) -> Result<(), StoreError> {
        let mut watch = self.store.watch(rival, since.next()).await?;
        let again = Instant::now() + LIST_EVERY;
        while let Ok(events) = timeout_at(again, watch.next()).await {
            if events?.iter().any(|event| matches!(event, Event::Delete { .. })) {
                break;
            }
        }
        Ok(())
    }

    fn leadership(&self, created: Revision, key: String, lease: LeaseId) -> Leadership {
        Leadership { key, created, lease, store: Arc::clone(&self.store), session: self.session.clone() }
    }
}

/// The candidate that came last before `own`: waiting for that one only, an end wakes one candidate and not all.
fn next_before<'a>(listing: &'a Listing, own: &Entry) -> Option<&'a Entry> {
    listing.entries.iter().filter(|entry| entry.created < own.created).max_by_key(|entry| entry.created)
}

/// This node leads, or led: whether it still does is decided where it writes, by [`Leadership::guard`].
#[derive(Debug)]
pub struct Leadership {
    key: String,
    created: Revision,
    lease: LeaseId,
    store: Arc<dyn Store>,
    session: SessionWatch,
}

impl Leadership {
    /// The condition for every write of a leader: it fails once this leadership is over, also if the same node leads
    /// anew.
    #[must_use]
    pub fn guard(&self) -> Condition {
        Condition::Created(self.key.clone(), self.created)
    }

    /// Grows with each leader.
    #[must_use]
    pub fn created(&self) -> Revision {
        self.created
    }

    /// Waits until this leadership is over, by the session or by the key. Cancel-safe.
    pub async fn lost(&self) {
        let mut session = self.session.clone();
        tokio::select! {
            biased;
            () = session.left(self.lease) => {}
            () = self.key_gone() => {}
        }
    }

    async fn key_gone(&self) {
        loop {
            match self.watch_key().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Whether the key is gone; looks for as long as a watch is trusted.
    async fn watch_key(&self) -> Result<bool, StoreError> {
        let listing = self.store.list(&self.key).await?;
        if !listing.entries.iter().any(|entry| entry.created == self.created) {
            return Ok(true);
        }
        let mut watch = self.store.watch(&self.key, listing.revision.next()).await?;
        let again = Instant::now() + LIST_EVERY;
        while let Ok(events) = timeout_at(again, watch.next()).await {
            if events?.iter().any(|event| matches!(event, Event::Delete { .. })) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the next candidate lead at once.
    ///
    /// # Errors
    /// Of the store; then the leadership ends with the session, or by another call of this.
    pub async fn resign(&self) -> Result<(), StoreError> {
        match self.store.txn(Txn::when(self.guard()).delete(&self.key)).await {
            // It was over already.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
