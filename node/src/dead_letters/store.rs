use std::{fmt, future::Future, ops::Range, pin::Pin, sync::Arc};

use rosetta_proto::Epoch;

use super::letter::{
    Failure, Letter, LetterId, LetterStream, Mailbox, Shape, ShapeId, Spill, SpillStep, StreamFigures,
};

/// Who writes: of a pipeline's owners only the newest may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub pipeline: String,
    pub epoch: Epoch,
}

/// Letters to be added to one mailbox.
#[derive(Debug, Clone, Default)]
pub struct Addition {
    /// With the table of each, in the order of the source's log.
    pub letters: Vec<(String, Letter)>,
    /// What the letters' shapes are.
    pub shapes: Vec<Arc<Shape>>,
    /// Recorded after the letters, or with them.
    pub spill: Option<SpillStep>,
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the store of dead letters ({store}) does not answer: {reason}")]
    Unavailable { store: String, reason: String },
    #[error("the store of dead letters ({store}) is full: {reason}; give it more room, or replay or discard letters")]
    Full { store: String, reason: String },
    #[error(
        "fenced: epoch {epoch} of pipeline {pipeline} is no longer the newest, the store of dead letters knows {newest}"
    )]
    Fenced { pipeline: String, epoch: Epoch, newest: Epoch },
    /// Letters could be lost there.
    #[error("{0}")]
    Unsafe(String),
    #[error(
        "the store of dead letters ({store}) has lost what it had acknowledged: pipeline {pipeline}, destination \
         {destination}, worker {worker}. What it held is gone from the source's log: the destination must be copied anew"
    )]
    Forgotten { store: String, pipeline: String, destination: String, worker: u32 },
    #[error(
        "the store of dead letters has lost {letters} of table {table} that destination {destination} waits for: bring it \
         back, or give them up with DELETE FROM rosetta.dead_letter WHERE pipeline = '{pipeline}' AND source_table = \
         '{table}' there, and run rosetta verify"
    )]
    Missing { letters: usize, table: String, pipeline: String, destination: String },
    #[error("the store of dead letters ({store}) holds what is not readable: {reason}")]
    Unreadable { store: String, reason: String },
}

/// The answer to a request.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where letters wait: a file of SQLite, or Redis Streams. One contract (`tests/tests/dead_letters/contract.rs`) is
/// held by both. Whatever was answered survives a crash of the store. Every call may be made again when its answer was
/// lost: doing a thing twice is the same as doing it once.
pub trait DeadLetterStore: Send + Sync + fmt::Debug {
    /// From now on only this owner and newer ones may write for the pipeline.
    ///
    /// # Errors
    /// `Fenced`: a newer one has claimed it.
    fn claim<'a>(&'a self, owner: &'a Owner) -> Answer<'a, ()>;

    /// The newest owner that claimed the pipeline.
    fn newest_epoch<'a>(&'a self, pipeline: &'a str) -> Answer<'a, Epoch>;

    /// Adds letters, wherever in the order they belong. One that is there already is left as it is,
    /// but for its failure.
    ///
    /// # Errors
    /// `Full`, `Fenced`; `Forgotten`: the spill is not where its last step left it. Letters may have been added all the same, the spill not.
    fn add<'a>(&'a self, owner: &'a Owner, destination: &'a str, addition: Addition) -> Answer<'a, ()>;

    /// Removes letters; how many there were.
    ///
    /// # Errors
    /// `Fenced`.
    fn remove<'a>(&'a self, owner: &'a Owner, stream: &'a LetterStream, ids: &'a [LetterId]) -> Answer<'a, u64>;

    /// Records why letters failed; those that are not there stay so.
    ///
    /// # Errors
    /// `Fenced`.
    fn note<'a>(
        &'a self,
        owner: &'a Owner,
        stream: &'a LetterStream,
        failures: &'a [(LetterId, Failure)],
    ) -> Answer<'a, ()>;

    /// Letters within `range`, in order, at most `limit`.
    fn read<'a>(&'a self, stream: &'a LetterStream, range: Range<LetterId>, limit: usize) -> Answer<'a, Vec<Letter>>;

    /// The tables that have letters, in the order of their names.
    fn streams<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<(String, StreamFigures)>>;

    fn shape<'a>(&'a self, pipeline: &'a str, id: ShapeId) -> Answer<'a, Option<Arc<Shape>>>;

    /// The spills of a mailbox that have not been ended, by worker.
    fn spills<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<Spill>>;

    /// The spill of this worker was replayed to its end.
    ///
    /// # Errors
    /// `Fenced`.
    fn end_spill<'a>(&'a self, owner: &'a Owner, destination: &'a str, worker: u32) -> Answer<'a, ()>;
}

impl StoreError {
    /// Whether the same request may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Unavailable { .. } | StoreError::Full { .. } => true,
            StoreError::Fenced { .. } | StoreError::Unsafe(_) => false,
            StoreError::Forgotten { .. } | StoreError::Missing { .. } | StoreError::Unreadable { .. } => false,
        }
    }
}
