use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an ownership: each new owner of a pipeline takes a greater one, and only the
/// greatest may write. Stored in the destination's checkpoint, so the fence commits with the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before any owner.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch that the next owner takes.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
