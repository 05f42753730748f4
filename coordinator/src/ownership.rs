//! The seam between running alone and running in a cluster.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rosetta_proto::Epoch;

/// This process may not run the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another process has taken pipeline {pipeline} over (epoch {newest}; this process had epoch {given})")]
pub struct NotOwner {
    pub pipeline: String,
    pub given: Epoch,
    pub newest: Epoch,
}

/// The seam between running alone and running in a cluster.
pub trait Ownership: Send + Sync {
    /// The epoch with which this process takes `pipeline` over, when `newest` is the newest epoch that its
    /// destinations know.
    ///
    /// # Errors
    /// Somebody newer owns it.
    fn claim(&self, pipeline: &str, newest: Epoch) -> Result<Epoch, NotOwner>;
}

/// Coordination within one process: whoever starts, owns, until somebody else has started since. A process
/// that was stopped and wakes must not take back what another took over meanwhile.
#[derive(Debug, Default)]
pub struct InProcess {
    owned: Mutex<HashMap<String, Epoch>>,
}

impl Ownership for InProcess {
    fn claim(&self, pipeline: &str, newest: Epoch) -> Result<Epoch, NotOwner> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let given = owned.get(pipeline).copied();
        if let Some(given) = given.filter(|given| newest > *given) {
            return Err(NotOwner { pipeline: pipeline.to_owned(), given, newest });
        }
        let epoch = newest.max(given.unwrap_or(Epoch::NONE)).next();
        owned.insert(pipeline.to_owned(), epoch);
        Ok(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_is_newer_than_all_before() {
        let process = InProcess::default();
        assert_eq!(process.claim("orders", Epoch(7)), Ok(Epoch(8)));
        assert_eq!(process.claim("orders", Epoch(8)), Ok(Epoch(9)));
        assert_eq!(process.claim("orders", Epoch(8)), Ok(Epoch(10)), "the claim before never reached the destination");
    }

    #[test]
    fn what_another_took_over_is_not_taken_back() {
        let process = InProcess::default();
        assert_eq!(process.claim("orders", Epoch::NONE), Ok(Epoch(1)));
        assert!(process.claim("orders", Epoch(2)).is_err());
        assert_eq!(process.claim("bills", Epoch(2)), Ok(Epoch(3)));
    }
}
