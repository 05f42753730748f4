//! Changes that go to the store of dead letters instead of to their destination.

use std::sync::Arc;

use foldhash::HashSet;
use rosetta_proto::Lsn;

use super::batch::Batch;
use crate::{
    dead_letters::{
        Addition, Desk, Letter, Mailbox, Owner, Shape, ShapeId, Spill, SpillLimits, SpillStep, StoreError, letters_of,
        table_name,
    },
    destination::postgres::unix_millis,
};

/// Batches between two looks at how much is stored.
const LOOK_EVERY: u32 = 64;

/// Writes the changes of one lane to the store, in order.
pub(super) struct Spiller {
    pub(super) desk: Arc<Desk>,
    pub(super) owner: Owner,
    pub(super) mailbox: Mailbox,
    worker: u32,
    /// The source tables that lead to the destination.
    tables: Arc<HashSet<u32>>,
    is_binary: bool,
    limits: SpillLimits,
    /// Up to where the store has everything, as it has recorded it.
    recorded: Option<Lsn>,
    /// Transactions before this are there already, or at the destination.
    start: Lsn,
    since: u64,
    shapes: HashSet<ShapeId>,
    batches: u32,
    /// About how many letters the destination has in the store.
    letters: u64,
    /// The last batch was a part of a transaction that goes on.
    in_transaction: bool,
}

/// What a lane's spiller is made of.
pub(super) struct SpillerParts {
    pub(super) desk: Arc<Desk>,
    pub(super) owner: Owner,
    pub(super) mailbox: Mailbox,
    pub(super) worker: usize,
    pub(super) tables: Arc<HashSet<u32>>,
    pub(super) is_binary: bool,
    pub(super) limits: SpillLimits,
}

impl Spiller {
    /// One that goes on from `start`; `found` is what the store has of this lane.
    pub(super) fn new(parts: SpillerParts, found: Option<Spill>, start: Lsn) -> Spiller {
        let SpillerParts { desk, owner, mailbox, worker, tables, is_binary, limits } = parts;
        Spiller {
            desk,
            owner,
            mailbox,
            worker: u32::try_from(worker).unwrap_or(u32::MAX),
            tables,
            is_binary,
            limits,
            recorded: found.map(|spill| spill.end),
            start,
            since: found.map_or_else(unix_millis, |spill| spill.since),
            shapes: HashSet::default(),
            batches: 0,
            letters: 0,
            in_transaction: false,
        }
    }

    pub(super) fn worker(&self) -> u32 {
        self.worker
    }

    pub(super) fn tables(&self) -> Arc<HashSet<u32>> {
        Arc::clone(&self.tables)
    }

    /// About how many letters wait.
    pub(super) fn letters(&self) -> u64 {
        self.letters
    }

    /// A transaction has been written in part.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Up to where the store has everything.
    pub(super) fn end(&self) -> Lsn {
        self.recorded.unwrap_or(self.start).max(self.start)
    }

    /// Writes a batch; the store has it when this returns.
    ///
    /// # Errors
    /// The store's. `Full` also when it holds as much as it may.
    pub(super) async fn spill(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.batches.is_multiple_of(LOOK_EVERY) {
            self.check_room().await?;
        }
        self.batches = self.batches.wrapping_add(1);
        let (mut addition, now) = (Addition::default(), unix_millis());
        let mut last: Option<(u32, ShapeId)> = None;
        for (table, id, change) in letters_of(batch) {
            if id.commit_lsn < self.start || !self.tables.contains(&table.relation.oid) {
                continue;
            }
            let shape = match last {
                Some((oid, shape)) if oid == table.relation.oid => shape,
                Some(_) | None => self.shape(Shape::of(&table, self.is_binary), &mut addition),
            };
            last = Some((table.relation.oid, shape));
            let letter = Letter { id, shape, change, epoch: self.owner.epoch, added_at: now, failure: None };
            addition.letters.push((table_name(&table), letter));
        }
        let end = batch.end.map(|end| end.lsn).filter(|end| *end > self.end());
        addition.spill = end.map(|end| {
            let to = Spill { worker: self.worker, end, since: self.since };
            SpillStep { from: self.recorded, to }
        });
        self.in_transaction = batch.end.is_none();
        if addition.letters.is_empty() && addition.spill.is_none() {
            return Ok(());
        }
        let added_letters = addition.letters.len() as u64;
        let added = self.desk.store.add(&self.owner, &self.mailbox.destination, addition).await;
        if added.is_err() {
            self.shapes.clear();
        }
        added?;
        self.recorded = end.or(self.recorded);
        self.letters += added_letters;
        Ok(())
    }

    fn shape(&mut self, shape: Shape, addition: &mut Addition) -> ShapeId {
        let id = shape.id();
        if self.shapes.insert(id) {
            addition.shapes.push(Arc::new(shape));
        }
        id
    }

    async fn check_room(&mut self) -> Result<(), StoreError> {
        let streams = self.desk.store.streams(&self.mailbox).await?;
        self.letters = streams.iter().map(|(_, figures)| figures.letters).sum();
        let stored: u64 = streams.iter().map(|(_, figures)| figures.bytes).sum();
        if stored < self.limits.max_bytes {
            return Ok(());
        }
        let reason = format!("destination {} has {stored} bytes of letters there", self.mailbox.destination);
        Err(StoreError::Full { store: format!("{:?}", self.desk.store), reason })
    }
}
