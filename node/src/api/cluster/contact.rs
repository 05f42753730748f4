//! Whether etcd is there, and what it says now.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    store::{Revision, StoreError},
    view::{Contact, View},
};
use tokio::time::timeout;
use tonic::Status;

use super::{Api, errors};

/// How long a call may take that needs etcd or the config database: within 2 s a caller knows.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_millis(1600);
/// For the watch to bring what etcd has already. What others than this cluster write comes later, and is not ours.
const SEEN_WITHIN: Duration = Duration::from_millis(200);

impl Api {
    /// The records that this node knows. For what goes on while etcd is away.
    ///
    /// # Errors
    /// Nothing was ever read.
    pub(super) fn known(&self) -> Result<Arc<View>, Status> {
        let view = self.node.views.now();
        if view.revision > Revision::default() { Ok(view) } else { Err(self.away()) }
    }

    /// The records as they are now, with everything that was written before this call.
    ///
    /// # Errors
    /// etcd is away.
    pub(super) async fn current(&self) -> Result<Arc<View>, Status> {
        self.in_contact()?;
        // A look at etcd itself: a watch may be silent for seconds before it breaks.
        let candidates = self.node.keys.candidates();
        let look = self.node.store.list(&candidates).await.map_err(|error| errors::store(&error))?;
        let seen = timeout(SEEN_WITHIN, self.node.views.reached(look.revision)).await;
        Ok(seen.unwrap_or_else(|_| self.node.views.now()))
    }

    /// # Errors
    /// etcd is known to be away.
    pub(super) fn in_contact(&self) -> Result<(), Status> {
        match &*self.node.views.contact().borrow() {
            Contact::Current { .. } => Ok(()),
            Contact::Away { error, .. } => Err(errors::store(error)),
            Contact::Never => Err(self.away()),
        }
    }

    fn away(&self) -> Status {
        let message = "etcd was not reached yet, so nothing is known of the cluster: check ROSETTA_ETCD_ENDPOINTS, or \
                       ask another node";
        errors::unavailable(message, "ETCD_UNAVAILABLE")
    }

    /// What needs etcd, in time.
    ///
    /// # Errors
    /// Of `call`; or it takes too long.
    pub(super) async fn answered<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let late =
            StoreError::Unknown { place: "etcd".to_owned(), cause: format!("no answer within {ANSWERED_WITHIN:?}") };
        timeout(ANSWERED_WITHIN, call).await.unwrap_or_else(|_| Err(errors::store(&late)))
    }
}
