//! The task of a session: the only place that writes the node's record and renews its lease.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Authority, SessionState, SessionWatch, authority::BootTime};
use crate::{
    records::{Incarnation, Keys, LEASE, NodeRecord},
    store::{Entry, LeaseId, Put, Store, StoreError, put_if},
};

/// Between renewals: several may fail before the authority ends.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Between attempts to register. A failed one has mostly waited for the request's deadline already.
const REGISTER_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Member {
    store: Arc<dyn Store>,
    key: String,
    record: NodeRecord,
    authority: Authority,
    state: watch::Sender<SessionState>,
    /// The newest lease that was granted, whether registered under or not.
    lease: Option<LeaseId>,
    /// From then on, another incarnation in the record is a newer one.
    was_registered: bool,
}

/// Why a registration or the renewals ended.
enum Ended {
    /// To be registered again.
    Lost,
    Superseded(Incarnation),
}

enum Failed {
    Superseded(Incarnation),
    Store(StoreError),
}

/// Who is in the record; the rest of it may be of another version.
#[derive(Deserialize)]
struct Holder {
    incarnation: Incarnation,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

impl Member {
    pub(super) fn new(store: Arc<dyn Store>, keys: &Keys, record: NodeRecord) -> (Member, SessionWatch) {
        let (state, receiver) = watch::channel(SessionState::Connecting);
        let authority = Authority::none();
        let watch = SessionWatch { state: receiver, authority: authority.clone() };
        let key = keys.node(&record.id);
        (Member { store, key, record, authority, state, lease: None, was_registered: false }, watch)
    }

    /// Registers and renews until it is superseded or stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let last = tokio::select! {
            biased;
            () = stop.cancelled() => SessionState::Stopped,
            by = self.live() => SessionState::Superseded { by },
        };
        self.authority.end();
        self.publish(last);
        self.leave().await;
    }

    async fn live(&mut self) -> Incarnation {
        loop {
            let ended = match self.register().await {
                Ok(lease) => self.renew(lease).await,
                Err(by) => Ended::Superseded(by),
            };
            self.authority.end();
            match ended {
                Ended::Lost => {
                    self.publish(SessionState::Lost);
                }
                Ended::Superseded(by) => return by,
            }
        }
    }

    /// Tries until the record is this process's own, under a new lease. The error is the newer incarnation.
    async fn register(&mut self) -> Result<LeaseId, Incarnation> {
        let mut is_told = false;
        loop {
            match self.try_register().await {
                Ok(lease) => return Ok(lease),
                Err(Failed::Superseded(by)) => return Err(by),
                Err(Failed::Store(StoreError::Conflict)) => {}
                Err(Failed::Store(error)) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "cannot register this node; trying again");
                    }
                    sleep(REGISTER_EVERY).await;
                }
            }
        }
    }

    async fn try_register(&mut self) -> Result<LeaseId, Failed> {
        let sent = BootTime::now();
        let lease = self.store.grant(LEASE).await?;
        let previous = self.lease.replace(lease);
        let found = self.store.get(&self.key).await?;
        if let Some(by) = found.as_ref().and_then(|entry| self.other_in(entry)).filter(|_| self.was_registered) {
            return Err(Failed::Superseded(by));
        }
        let value = serde_json::to_vec(&self.record)
            .map_err(|error| StoreError::Refused { place: "the node's record".to_owned(), cause: error.to_string() })?;
        let expected = found.as_ref().map(|entry| entry.modified);
        put_if(&*self.store, expected, Put::new(&self.key, value).with_lease(lease)).await?;
        self.was_registered = true;
        self.authority.extend(sent);
        self.publish(SessionState::Active { lease });
        self.end_former(found.and_then(|entry| entry.lease).into_iter().chain(previous)).await;
        Ok(lease)
    }

    /// Ends what earlier starts of this node, or earlier leases, hold. Best effort, and soon over, so that the new lease
    /// is renewed in time: they end by themselves, and whoever renews one finds this process in the record.
    async fn end_former(&self, leases: impl Iterator<Item = LeaseId>) {
        let end_each = async {
            for lease in leases {
                self.end_lease(lease).await;
            }
        };
        // What is not done by then was no more likely to be done later.
        let _ = timeout(RENEW_EVERY, end_each).await;
    }

    async fn end_lease(&self, lease: LeaseId) {
        if let Err(error) = self.store.revoke(lease).await {
            tracing::debug!(%error, %lease, "cannot revoke a lease; it ends by itself");
        }
    }

    /// Renews until the lease or the record is lost. The record is read as often: a newer process may have taken it
    /// without being able to end our lease.
    async fn renew(&self, lease: LeaseId) -> Ended {
        let mut tick = interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let (renewed, found) = tokio::join!(self.keep_alive(lease), self.store.get(&self.key));
            if let Ok(found) = found {
                match found.as_ref().map(|entry| (self.other_in(entry), entry.lease)) {
                    Some((Some(by), _)) => return Ended::Superseded(by),
                    Some((None, held)) if held == Some(lease) => {}
                    Some((None, _)) | None => return Ended::Lost,
                }
            }
            match renewed {
                Ok(()) => {
                    self.publish(SessionState::Active { lease });
                }
                Err(StoreError::LeaseGone) => return Ended::Lost,
                Err(error) => self.miss(&error),
            }
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let sent = BootTime::now();
        self.store.keep_alive(lease).await?;
        self.authority.extend(sent);
        Ok(())
    }

    /// A renewal failed. The lease may be there still, and is tried again; once it may not, others are told.
    fn miss(&self, error: &StoreError) {
        if !self.authority.is_valid() && self.publish(SessionState::Lost) {
            tracing::warn!(%error, "cannot renew this node's lease; trying again");
        }
    }

    /// Ends the lease, and the record and candidacy with it, in one step.
    async fn leave(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.end_lease(lease).await;
        }
    }

    /// The incarnation in the record, unless it is this one's. A record that cannot be read is nobody's.
    fn other_in(&self, entry: &Entry) -> Option<Incarnation> {
        let holder: Holder = serde_json::from_slice(&entry.value).ok()?;
        (holder.incarnation != self.record.incarnation).then_some(holder.incarnation)
    }

    /// Whether it is news.
    fn publish(&self, news: SessionState) -> bool {
        self.state.send_if_modified(|state| std::mem::replace(state, news) != news)
    }
}
