//! One pipeline as a process runs it: take over, get the slot, write batch after batch.

use std::time::Duration;

use rand::Rng;
use rosetta_coordinator::records::EpochBlock;
use rosetta_proto::Epoch;

use crate::{
    databases::{DatabaseReply, DatabaseRequest},
    io::{Io, Purpose, Timer},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    TakingOver,
    Acquiring { position: u64 },
    Reading { position: u64 },
    Committing { position: u64, count: u64 },
}

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) block: EpochBlock,
    pub(crate) epoch: Epoch,
    pub(crate) state: State,
    /// It begins no more batches.
    pub(crate) is_stopping: bool,
}

/// What became of a runner after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Goes,
    /// An answer was lost: it starts anew with the next epoch, and reads where it is.
    Restarts,
    Fenced {
        newest: Epoch,
    },
}

impl Runner {
    pub(crate) fn start(pipeline: usize, block: EpochBlock, epoch: Epoch, io: &mut Io<'_>) -> Runner {
        io.database(pipeline, DatabaseRequest::TakeOver { epoch }, Purpose::Run { pipeline, epoch });
        Runner { block, epoch, state: State::TakingOver, is_stopping: false }
    }

    /// Whether nothing of it is under way.
    pub(crate) fn has_stopped(&self) -> bool {
        self.is_stopping && !matches!(self.state, State::Committing { .. })
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, State::Reading { .. } | State::Committing { .. })
    }

    /// `None`: no answer came in time.
    pub(crate) fn on_reply(&mut self, pipeline: usize, reply: Option<DatabaseReply>, io: &mut Io<'_>) -> Outcome {
        let Some(reply) = reply else { return Outcome::Restarts };
        match (self.state, reply) {
            (_, DatabaseReply::Fenced { newest }) => return Outcome::Fenced { newest },
            (State::TakingOver, DatabaseReply::TakenOver { position }) => {
                self.state = State::Acquiring { position };
                self.acquire(pipeline, position, io);
            }
            (State::Acquiring { position }, DatabaseReply::Acquired) => {
                self.state = State::Reading { position };
                self.read(pipeline, io);
            }
            (State::Acquiring { .. }, DatabaseReply::SlotBusy) => {
                io.after(Duration::from_millis(50), Timer::Run { pipeline, epoch: self.epoch });
            }
            (State::Committing { position, count }, DatabaseReply::Committed) => {
                let position = position + count;
                self.state = State::Reading { position };
                let confirm = DatabaseRequest::Confirm { reader: io.process, epoch: self.epoch, position };
                io.database(pipeline, confirm, Purpose::Forget);
                self.read(pipeline, io);
            }
            (
                State::TakingOver | State::Acquiring { .. } | State::Reading { .. } | State::Committing { .. },
                DatabaseReply::TakenOver { .. }
                | DatabaseReply::Acquired
                | DatabaseReply::SlotBusy
                | DatabaseReply::Committed
                | DatabaseReply::Done,
            ) => {}
        }
        Outcome::Goes
    }

    pub(crate) fn on_timer(&mut self, pipeline: usize, io: &mut Io<'_>) {
        match self.state {
            State::Acquiring { position } => self.acquire(pipeline, position, io),
            State::Reading { position } if !self.is_stopping => {
                let count = io.random.random_range(1..5);
                self.state = State::Committing { position, count };
                let commit = DatabaseRequest::Commit { epoch: self.epoch, from: position, count };
                io.database(pipeline, commit, Purpose::Run { pipeline, epoch: self.epoch });
            }
            State::Reading { .. } | State::TakingOver | State::Committing { .. } => {}
        }
    }

    fn acquire(&self, pipeline: usize, position: u64, io: &mut Io<'_>) {
        let acquire = DatabaseRequest::Acquire { epoch: self.epoch, reader: io.process, position };
        io.database(pipeline, acquire, Purpose::Run { pipeline, epoch: self.epoch });
    }

    fn read(&self, pipeline: usize, io: &mut Io<'_>) {
        let wait = Duration::from_millis(io.random.random_range(10..300));
        io.after(wait, Timer::Run { pipeline, epoch: self.epoch });
    }
}
