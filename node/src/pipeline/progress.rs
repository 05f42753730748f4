use rosetta_proto::Lsn;

/// How far each lane of a pipeline is, and what the slot may be told. Positions only grow.
#[derive(Debug, Clone)]
pub struct Progress {
    lanes: Vec<LanePosition>,
    received: Lsn,
    confirmed: Lsn,
}

#[derive(Debug, Clone, Copy)]
struct LanePosition {
    /// The end of the last batch given to the lane.
    sent: Lsn,
    committed: Lsn,
    durable: Lsn,
}

impl Progress {
    /// The lanes stand at `resumed`, all of it durable.
    pub fn new(resumed: &[Lsn]) -> Progress {
        let lanes: Vec<_> =
            resumed.iter().map(|&lsn| LanePosition { sent: lsn, committed: lsn, durable: lsn }).collect();
        let start = resumed.iter().copied().min().unwrap_or_default();
        Progress { lanes, received: start, confirmed: start }
    }

    /// The source has been read up to `lsn`, outside of any transaction.
    pub fn received(&mut self, lsn: Lsn) {
        self.received = self.received.max(lsn);
    }

    /// `lane` was given everything up to `lsn`.
    pub fn sent(&mut self, lane: usize, lsn: Lsn) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.sent = lane.sent.max(lsn);
        }
    }

    /// What `lane` reports.
    pub fn applied(&mut self, lane: usize, committed: Option<Lsn>, durable: Lsn) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.committed = lane.committed.max(committed.unwrap_or_default()).max(durable);
            lane.durable = lane.durable.max(durable);
        }
    }

    /// What every destination holds on disk: all that the slot may be told.
    pub fn confirmable(&mut self) -> Lsn {
        let durable = self.lanes.iter().map(|lane| lane.durable).min().unwrap_or_default();
        self.confirmed = self.confirmed.max(durable);
        self.confirmed
    }

    /// What every destination shows.
    pub fn committed(&self) -> Lsn {
        self.lanes.iter().map(|lane| lane.committed).min().unwrap_or_default()
    }

    pub fn received_lsn(&self) -> Lsn {
        self.received
    }

    /// Bytes of the source's log that `lane` was not given although they were read: nothing of it in them.
    pub fn idle_distance(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| self.received.bytes_since(lane.sent))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the lanes report in whatever order, the slot is never told more than the slowest has
        /// on disk, and never less than it was told before.
        #[test]
        fn confirmed_is_monotone_and_durable_everywhere(
            resumed in prop::collection::vec(0u64..100, 1..5),
            reports in prop::collection::vec((0usize..5, any::<bool>(), 0u64..1000), 0..200),
        ) {
            let resumed: Vec<Lsn> = resumed.into_iter().map(Lsn).collect();
            let mut progress = Progress::new(&resumed);
            let mut durable = resumed.clone();
            let mut last = Lsn::ZERO;
            for (lane, is_durable, lsn) in reports {
                let lane = lane % resumed.len();
                let lsn = Lsn(lsn);
                progress.received(lsn);
                progress.sent(lane, lsn);
                if is_durable {
                    durable[lane] = durable[lane].max(lsn);
                }
                progress.applied(lane, Some(lsn), if is_durable { lsn } else { Lsn::ZERO });
                let confirmed = progress.confirmable();
                prop_assert!(confirmed >= last);
                prop_assert!(confirmed <= *durable.iter().min().unwrap());
                prop_assert!(progress.committed() >= confirmed);
                last = confirmed;
            }
        }
    }
}
