//! The store that the nodes share: keys with revisions, conditional writes, leases, watches. etcd, or memory for
//! simulation; one contract (`tests/tests/coordination/contract.rs`) is held by both.
//!
//! What a user may rely on: reads are linearizable; a write is done wholly or not at all, and only if its conditions
//! hold; a watch gives the changes in order, or ends with an error. What it may not rely on: that a watch tells all,
//! or soon. So each user also lists anew from time to time.

mod error;
mod etcd;
mod memory;
mod txn;
mod watch;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    error::StoreError,
    etcd::{EtcdOptions, EtcdStore},
    memory::MemoryStore,
    txn::{Condition, Put, Txn},
    watch::{Changes, Event, Watch},
};

/// How long one request may take, with all its attempts.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(2);

/// A state of the whole store; each write makes a greater one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision after this one: a watch that follows a listing begins there.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease: keys put with it go when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// When the key came to be; another one after it was deleted.
    pub created: Revision,
    /// The last write.
    pub modified: Revision,
    pub lease: Option<LeaseId>,
}

/// The entries below a prefix, in the order of their keys, as they were at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<Entry>,
    pub revision: Revision,
}

/// The answer to a request, within [`REQUEST_DEADLINE`].
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// See the module. Every answer comes within [`REQUEST_DEADLINE`]; reads are tried on each member meanwhile. All may
/// answer [`StoreError::Unavailable`] or [`StoreError::Refused`]; further errors are with each request.
pub trait Store: Send + Sync + fmt::Debug {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing>;

    /// Writes, if every condition holds; answers the new revision.
    ///
    /// # Errors
    /// `Conflict`: a condition does not hold. `LeaseGone`: a lease of a put. `Unknown`: no answer; read again.
    fn txn(&self, txn: Txn) -> Answer<'_, Revision>;

    /// The changes below `prefix` from revision `from` on. The watch ends with an error: list anew and watch again.
    ///
    /// # Errors
    /// `Compacted`, also from the watch itself.
    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Answer<'a, Watch>;

    /// A new lease, which ends `ttl` (whole seconds) after its last renewal.
    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId>;

    /// Renews the lease: when this answers, the lease lasts for its whole length from some instant after the call.
    ///
    /// # Errors
    /// `LeaseGone`.
    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// Ends the lease, and with it its keys. That it has ended already is no error.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// The same store by connections of its own, which live on the runtime that uses them first.
    fn apart(&self) -> Arc<dyn Store>;
}

/// Writes `put` if the last write of its key was `expected`; `None`: if there is no such key.
///
/// # Errors
/// As [`Store::txn`].
pub async fn put_if(store: &dyn Store, expected: Option<Revision>, put: Put) -> Result<Revision, StoreError> {
    let condition = Condition::last_write(&put.key, expected);
    store.txn(Txn::when(condition).put(put)).await
}

/// Deletes `key` if its last write was `expected`.
///
/// # Errors
/// As [`Store::txn`].
pub async fn delete_if(store: &dyn Store, expected: Revision, key: &str) -> Result<Revision, StoreError> {
    store.txn(Txn::when(Condition::last_write(key, Some(expected))).delete(key)).await
}
