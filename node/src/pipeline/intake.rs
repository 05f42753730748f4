use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};
use rosetta_proto::Lsn;

use super::{
    batch::{Batch, Position, RowKey, SourceTable},
    builder::{BatchBuilder, MisfitError},
};
use crate::source::{
    pgoutput::{Commit, Message, Relation, Truncate},
    stream::{Event, StreamError},
};

/// How large batches may become.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// A batch with this many changes ends at the end of the transaction.
    pub changes: usize,
    /// A transaction larger than this many changes is cut into parts.
    pub part_changes: usize,
    /// The same in bytes.
    pub part_bytes: usize,
    /// The longest that a change may wait for more of its batch.
    pub wait: Duration,
}

/// What the pipeline knows of its tables besides what the stream says.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By the table's oid at the source; other tables in the publication are not ours.
    pub tables: HashMap<u32, CatalogTable>,
}

#[derive(Debug, Clone)]
pub struct CatalogTable {
    pub primary_key: Vec<String>,
    pub worker: usize,
}

/// Turns the stream's events into batches, one queue a worker. No I/O, no clock.
#[derive(Debug)]
pub struct Intake {
    catalog: Catalog,
    limits: BatchLimits,
    relations: HashMap<u32, Option<Arc<SourceTable>>>,
    workers: Vec<WorkerQueue>,
    received: Lsn,
    in_transaction: bool,
    /// Changes of the open transaction so far, of whatever table.
    ordinal: u64,
    committed_at: Option<i64>,
    messages: usize,
    /// A logical message passed: somebody waits for the slot to move.
    advance_wanted: bool,
    reply_wanted: bool,
}

#[derive(Debug, Default)]
struct WorkerQueue {
    builder: BatchBuilder,
    full: VecDeque<Batch>,
}

/// Why an event could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Misfit(#[from] MisfitError),
    #[error("a change of table {0}, which was not described before")]
    UnknownRelation(u32),
}

impl Intake {
    pub fn new(catalog: Catalog, workers: usize, limits: BatchLimits, start: Lsn) -> Intake {
        Intake {
            catalog,
            limits,
            relations: HashMap::new(),
            workers: (0..workers).map(|_| WorkerQueue::default()).collect(),
            received: start,
            in_transaction: false,
            ordinal: 0,
            committed_at: None,
            messages: 0,
            advance_wanted: false,
            reply_wanted: false,
        }
    }

    /// Takes one event in; breaks off when no more can be held.
    ///
    /// # Errors
    /// The event contradicts the stream so far.
    pub fn take(&mut self, event: Event<'_>) -> Result<ControlFlow<()>, IntakeError> {
        self.messages += 1;
        match event {
            Event::Message(message) => self.message(message)?,
            Event::Keepalive { wal_end, wants_reply } => {
                self.reply_wanted |= wants_reply;
                if !self.in_transaction {
                    self.received = self.received.max(wal_end);
                    // Sent by a WAL sender that has nothing else to send.
                    self.committed_at = None;
                }
            }
        }
        Ok(if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// No more can be held until a batch is taken away.
    pub fn is_full(&self) -> bool {
        self.workers
            .iter()
            .any(|worker| !worker.full.is_empty() && worker.is_over(self.limits.part_changes, self.limits.part_bytes))
    }

    /// A batch of `worker` that is as large as it may be.
    pub fn full_batch(&mut self, worker: usize) -> Option<Batch> {
        let queue = self.workers.get_mut(worker)?;
        if let Some(batch) = queue.full.pop_front() {
            return Some(batch);
        }
        let is_large = queue.builder.is_complete() && queue.builder.changes() >= self.limits.changes;
        is_large.then(|| queue.builder.take())
    }

    /// What `worker` has gathered, if it ends with a transaction and changes something.
    pub fn gathered(&mut self, worker: usize) -> Option<&mut BatchBuilder> {
        let queue = self.workers.get_mut(worker)?;
        (queue.full.is_empty() && queue.builder.is_complete() && queue.builder.changes() > 0)
            .then_some(&mut queue.builder)
    }

    /// A batch without changes that moves `worker` to where the stream is, if it has nothing else to do.
    pub fn rest_batch(&mut self, worker: usize) -> Option<Batch> {
        let queue = self.workers.get_mut(worker)?;
        if self.in_transaction || !queue.full.is_empty() || queue.builder.changes() > 0 {
            return None;
        }
        let _positions_without_changes = queue.builder.take();
        queue.builder.rest_at(Position { lsn: self.received, committed_at: None });
        Some(queue.builder.take())
    }

    /// When the newest transaction in the stream was committed, unless the stream has come to rest since.
    pub fn committed_at(&self) -> Option<i64> {
        self.committed_at
    }

    pub fn received(&self) -> Lsn {
        self.received
    }

    /// Messages since the last call.
    pub fn take_message_count(&mut self) -> usize {
        std::mem::take(&mut self.messages)
    }

    pub fn take_reply_wanted(&mut self) -> bool {
        std::mem::take(&mut self.reply_wanted)
    }

    pub fn advance_wanted(&self) -> bool {
        self.advance_wanted && !self.in_transaction
    }

    pub fn clear_advance_wanted(&mut self) {
        self.advance_wanted = false;
    }

    fn message(&mut self, message: Message<'_>) -> Result<(), IntakeError> {
        match message {
            Message::Begin(begin) => {
                self.in_transaction = true;
                self.ordinal = 0;
                self.committed_at = Some(begin.committed_at);
                self.workers.iter_mut().for_each(|worker| worker.builder.begin(begin.commit_lsn));
            }
            Message::Commit(commit) => self.commit(commit),
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                let ordinal = self.count_change();
                if let Some(table) = self.table(relation)? {
                    self.worker(&table).builder.at(ordinal).insert(&table, new)?;
                    self.cut(&table);
                }
            }
            Message::Update { relation, old, new } => {
                let ordinal = self.count_change();
                if let Some(table) = self.table(relation)? {
                    self.worker(&table).builder.at(ordinal).update(&table, old.as_ref(), new)?;
                    self.cut(&table);
                }
            }
            Message::Delete { relation, old } => {
                let ordinal = self.count_change();
                if let Some(table) = self.table(relation)? {
                    self.worker(&table).builder.at(ordinal).delete(&table, &old)?;
                    self.cut(&table);
                }
            }
            Message::Truncate(truncate) => self.truncate(&truncate)?,
            Message::Logical { lsn } => {
                self.advance_wanted = true;
                if !self.in_transaction {
                    self.received = self.received.max(lsn);
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn commit(&mut self, commit: Commit) {
        self.in_transaction = false;
        self.received = self.received.max(commit.end_lsn);
        let end = Position { lsn: commit.end_lsn, committed_at: Some(commit.committed_at) };
        for worker in &mut self.workers {
            worker.builder.commit(end);
            if worker.builder.changes() == 0 && worker.full.is_empty() {
                // Nothing of this transaction is ours; the position alone is not worth a batch.
                let _empty = worker.builder.take();
            }
        }
        let limits = self.limits;
        for worker in &mut self.workers {
            if worker.builder.changes() >= limits.changes && worker.full.is_empty() {
                worker.full.push_back(worker.builder.take());
            }
        }
    }

    fn relation(&mut self, relation: Relation) {
        let known = self.relations.get(&relation.oid);
        if known.is_some_and(|known| known.as_ref().is_some_and(|table| table.relation == relation)) {
            return;
        }
        let oid = relation.oid;
        let table = self.catalog.tables.get(&oid).map(|entry| {
            let key = row_key(&relation, &entry.primary_key);
            Arc::new(SourceTable { relation, key, worker: entry.worker })
        });
        if let Some(worker) = table.as_ref().and_then(|table| self.workers.get_mut(table.worker)) {
            worker.builder.close_segment();
        }
        self.relations.insert(oid, table);
    }

    /// The place of the change that has just come.
    fn count_change(&mut self) -> u64 {
        self.ordinal += 1;
        self.ordinal - 1
    }

    fn truncate(&mut self, truncate: &Truncate) -> Result<(), IntakeError> {
        let ordinal = self.count_change();
        let mut ours = Vec::new();
        for relation in &truncate.relations {
            ours.extend(self.table(*relation)?);
        }
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let tables: Vec<_> = ours.iter().filter(|table| table.worker == index).cloned().collect();
            if !tables.is_empty() {
                worker.builder.at(ordinal).truncate(tables, truncate.restart_identity);
            }
        }
        Ok(())
    }

    fn table(&self, oid: u32) -> Result<Option<Arc<SourceTable>>, IntakeError> {
        self.relations.get(&oid).cloned().ok_or(IntakeError::UnknownRelation(oid))
    }

    fn worker(&mut self, table: &SourceTable) -> &mut WorkerQueue {
        let index = table.worker.min(self.workers.len() - 1);
        &mut self.workers[index]
    }

    /// Ends the batch inside a transaction that is too large for one.
    fn cut(&mut self, table: &SourceTable) {
        let limits = self.limits;
        let worker = self.worker(table);
        if worker.full.is_empty() && worker.is_over(limits.part_changes, limits.part_bytes) {
            worker.full.push_back(worker.builder.take());
        }
    }
}

impl WorkerQueue {
    fn is_over(&self, changes: usize, bytes: usize) -> bool {
        self.builder.changes() >= changes || self.builder.bytes() >= bytes
    }
}

/// What identifies a row in the changes of this table. REPLICA IDENTITY FULL marks every column, so the
/// primary key comes from the catalog.
fn row_key(relation: &Relation, primary_key: &[String]) -> RowKey {
    let index_of = |name: &String| relation.columns.iter().position(|column| column.name == *name);
    let marked = || relation.columns.iter().enumerate().filter(|(_, column)| column.is_key).map(|(index, _)| index);
    match relation.identity {
        b'f' => match primary_key.iter().map(index_of).collect::<Option<Vec<_>>>() {
            Some(key) if !key.is_empty() => RowKey::Columns(key),
            Some(_) | None => RowKey::WholeRow,
        },
        b'd' | b'i' if marked().next().is_some() => RowKey::Columns(marked().collect()),
        _ => RowKey::None,
    }
}
