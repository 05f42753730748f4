use std::sync::{Mutex, PoisonError};

use rosetta_coordinator::{NotOwner, Ownership, records::EpochBlock};
use rosetta_proto::Epoch;

/// The epochs of one ownership: each start takes the next of its block, without asking anybody (docs/CLUSTER.md,
/// "Epochs").
pub(super) struct BlockEpochs {
    block: EpochBlock,
    last: Mutex<Option<Epoch>>,
}

impl BlockEpochs {
    pub(super) fn new(block: EpochBlock) -> BlockEpochs {
        BlockEpochs { block, last: Mutex::new(None) }
    }

    pub(super) fn block(&self) -> EpochBlock {
        self.block
    }
}

impl Ownership for BlockEpochs {
    /// Fails when the block is used up, too: the owner then takes a new one, if it still is the owner.
    fn claim(&self, pipeline: &str, newest: Epoch) -> Result<Epoch, NotOwner> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let least = last.map_or(self.block.first(), Epoch::next);
        let epoch = least.max(newest.next());
        if !self.block.contains(epoch) {
            let given = last.unwrap_or(self.block.first());
            return Err(NotOwner { pipeline: pipeline.to_owned(), given, newest: newest.max(given) });
        }
        *last = Some(epoch);
        Ok(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_is_newer_than_all_before_until_the_block_is_used_up() {
        let epochs = BlockEpochs::new(EpochBlock(7));
        assert_eq!(epochs.claim("orders", Epoch(6999)), Ok(Epoch(7000)));
        assert_eq!(
            epochs.claim("orders", Epoch(6999)),
            Ok(Epoch(7001)),
            "the claim before never reached the destination"
        );
        assert_eq!(epochs.claim("orders", Epoch(7998)), Ok(Epoch(7999)));
        let used_up = epochs.claim("orders", Epoch(7999)).unwrap_err();
        assert_eq!(EpochBlock::beyond(used_up.newest), EpochBlock(8));
    }

    #[test]
    fn a_destination_that_knows_more_is_told_of() {
        let newer = BlockEpochs::new(EpochBlock(1)).claim("orders", Epoch(9001)).unwrap_err();
        assert_eq!(EpochBlock::beyond(newer.newest), EpochBlock(10));
    }
}
