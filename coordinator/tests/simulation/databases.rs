//! A model of the source's slots and the destination's checkpoints, and of what must always hold there.

use rosetta_proto::Epoch;

/// Which of the two guards are in force; both, but for tests that prove what each is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guards {
    /// The destination refuses writes of an older epoch.
    pub(crate) fence: bool,
    /// The source lets one reader at a time have the slot.
    pub(crate) slot: bool,
}

pub(crate) const ALL_GUARDS: Guards = Guards { fence: true, slot: true };

#[derive(Clone, Copy, Debug)]
pub(crate) enum DatabaseRequest {
    /// The destination's checkpoint gets this epoch.
    TakeOver {
        epoch: Epoch,
    },
    /// The source's slot, for the process `reader`, which goes on from `position`.
    Acquire {
        epoch: Epoch,
        reader: usize,
        position: u64,
    },
    /// `count` transactions after position `from`, and the new position, in one destination transaction.
    Commit {
        epoch: Epoch,
        from: u64,
        count: u64,
    },
    /// Tells the slot what is durable.
    Confirm {
        reader: usize,
        epoch: Epoch,
        position: u64,
    },
    Close {
        reader: usize,
        epoch: Epoch,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseReply {
    TakenOver { position: u64 },
    Acquired,
    SlotBusy,
    Committed,
    Fenced { newest: Epoch },
    Done,
}

type Answer = (DatabaseReply, Option<(usize, Epoch)>);

/// The two databases of one pipeline.
#[derive(Debug)]
pub(crate) struct Databases {
    newest: Epoch,
    /// The position in the checkpoint, and with it every transaction up to it, each once.
    pub(crate) applied: u64,
    reader: Option<(usize, Epoch)>,
    confirmed: u64,
    pub(crate) fenced: u64,
}

impl Databases {
    pub(crate) fn new() -> Databases {
        Databases { newest: Epoch::NONE, applied: 0, reader: None, confirmed: 0, fenced: 0 }
    }

    /// The answer, and the reader that loses its slot by it.
    ///
    /// # Errors
    /// What must never happen has happened.
    pub(crate) fn answer(&mut self, request: DatabaseRequest, guards: Guards) -> Result<Answer, String> {
        let reply = match request {
            DatabaseRequest::TakeOver { epoch } => self.take_over(epoch, guards),
            DatabaseRequest::Acquire { epoch, reader, position } => {
                return self.acquire(epoch, reader, position, guards);
            }
            DatabaseRequest::Commit { epoch, from, count } => self.commit(epoch, from, count, guards)?,
            DatabaseRequest::Confirm { reader, epoch, position } => {
                if self.reader == Some((reader, epoch)) || !guards.slot {
                    self.confirmed = self.confirmed.max(position);
                }
                DatabaseReply::Done
            }
            DatabaseRequest::Close { reader, epoch } => {
                self.reader = self.reader.filter(|active| *active != (reader, epoch));
                DatabaseReply::Done
            }
        };
        Ok((reply, None))
    }

    /// A process is gone, and its connections with it.
    pub(crate) fn close_all(&mut self, reader: usize) {
        self.reader = self.reader.filter(|(active, _)| *active != reader);
    }

    fn take_over(&mut self, epoch: Epoch, guards: Guards) -> DatabaseReply {
        if epoch <= self.newest && guards.fence {
            self.fenced += 1;
            return DatabaseReply::Fenced { newest: self.newest };
        }
        self.newest = self.newest.max(epoch);
        DatabaseReply::TakenOver { position: self.applied }
    }

    fn acquire(&mut self, epoch: Epoch, reader: usize, position: u64, guards: Guards) -> Result<Answer, String> {
        if self.confirmed > position && epoch >= self.newest {
            return Err(format!("the slot is at {} and epoch {epoch} goes on from {position}: a gap", self.confirmed));
        }
        let other = self.reader.filter(|active| *active != (reader, epoch) && guards.slot);
        if other.is_some_and(|(_, theirs)| theirs >= epoch) {
            return Ok((DatabaseReply::SlotBusy, None));
        }
        self.reader = Some((reader, epoch));
        Ok((DatabaseReply::Acquired, other))
    }

    fn commit(&mut self, epoch: Epoch, from: u64, count: u64, guards: Guards) -> Result<DatabaseReply, String> {
        if epoch != self.newest && guards.fence {
            self.fenced += 1;
            return Ok(DatabaseReply::Fenced { newest: self.newest });
        }
        if epoch < self.newest {
            return Err(format!("a write of epoch {epoch} was accepted after epoch {} took over", self.newest));
        }
        if from != self.applied {
            return Err(format!("epoch {epoch} wrote what follows {from} upon {}", self.applied));
        }
        self.applied += count;
        Ok(DatabaseReply::Committed)
    }
}
