//! What can go wrong with the store, by what the caller has to do about it.

use super::Revision;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed, since no member could be asked. Try again later.
    #[error(
        "{place} cannot be reached: {cause}; check that it runs and that a majority of its members sees each other"
    )]
    Unavailable { place: String, cause: String },
    /// The write may have been done or not, and may still be done within moments. Read before deciding.
    #[error("{place} did not answer a write: {cause}; it may have been done, so the records are read again")]
    Unknown { place: String, cause: String },
    /// A condition of the write does not hold: somebody else wrote first. Nothing was changed.
    #[error("somebody else changed the record first; read it again")]
    Conflict,
    /// The revisions asked for are gone. List anew, and watch from there.
    #[error("the store has compacted its history up to revision {0}; list anew")]
    Compacted(Revision),
    /// The lease has ended, or never was.
    #[error("the lease has ended; take a new one")]
    LeaseGone,
    /// The request itself is at fault (too large, no permission); trying again does not help.
    #[error("{place} refuses the request: {cause}; check the permissions and limits of its user")]
    Refused { place: String, cause: String },
}

impl StoreError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Unavailable { .. } | StoreError::Unknown { .. } => true,
            StoreError::Conflict | StoreError::Compacted(_) | StoreError::LeaseGone | StoreError::Refused { .. } => {
                false
            }
        }
    }

    /// The same failure of a request that writes: whether it was done is not known.
    #[must_use]
    pub(super) fn of_a_write(self) -> StoreError {
        match self {
            StoreError::Unavailable { place, cause } => StoreError::Unknown { place, cause },
            other @ (StoreError::Unknown { .. }
            | StoreError::Conflict
            | StoreError::Compacted(_)
            | StoreError::LeaseGone
            | StoreError::Refused { .. }) => other,
        }
    }
}
