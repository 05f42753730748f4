use rosetta_proto::Lsn;

use super::Applied;
use crate::pipeline::batch::Batch;

/// Counts and discards: for measuring the reading side alone. Keeps no position; the slot's is its own.
#[derive(Debug, Default)]
pub struct Null {
    position: Lsn,
}

impl Null {
    /// A destination that stands at `position`.
    pub fn at(position: Lsn) -> Null {
        Null { position }
    }

    pub(super) fn apply(&mut self, batch: &Batch) -> Applied {
        let committed = batch.end.map(|end| end.lsn);
        self.position = committed.map_or(self.position, |lsn| self.position.max(lsn));
        Applied { committed, durable: self.position, missing_rows: 0 }
    }

    pub(super) fn durable(&self) -> Lsn {
        self.position
    }
}
