//! What a start finds in the store, and what it does away with.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use foldhash::HashMap;
use rosetta_proto::Lsn;

use super::{
    convert::Addressed,
    letter::{Letter, LetterChange, LetterId, LetterStream, Mailbox, ShapeId, TABLE_STOPPED},
    parked::{Block, Parked},
    store::{DeadLetterStore, Owner, StoreError},
};
use crate::{pipeline::batch::SourceTable, source::pgoutput::Tuple};

/// Letters that are looked at together.
const PAGE: usize = 1000;

/// Which letters a destination waits for, by table: what it was given without them.
pub type Waiting = BTreeMap<String, BTreeSet<LetterId>>;

/// The shapes of a pipeline's letters, each asked for once.
#[derive(Debug, Default)]
pub struct Shapes {
    known: HashMap<ShapeId, (Arc<SourceTable>, bool)>,
}

impl Shapes {
    /// The letter with its table.
    ///
    /// # Errors
    /// The store's; it has the letter but not its shape.
    pub async fn address(
        &mut self,
        store: &dyn DeadLetterStore,
        pipeline: &str,
        letter: Letter,
    ) -> Result<Addressed, StoreError> {
        if let Some((table, is_binary)) = self.known.get(&letter.shape) {
            return Ok(Addressed { table: Arc::clone(table), is_binary: *is_binary, letter });
        }
        let shape = store.shape(pipeline, letter.shape).await?.ok_or_else(|| StoreError::Unreadable {
            store: format!("{store:?}"),
            reason: format!("letter {} without its table's columns", letter.id),
        })?;
        let (table, is_binary) = (Arc::new(shape.source_table()), shape.is_binary);
        self.known.insert(letter.shape, (Arc::clone(&table), is_binary));
        Ok(Addressed { table, is_binary, letter })
    }
}

impl Addressed {
    /// What the letter blocks while it waits.
    pub fn block(&self) -> Block {
        match &self.letter.change {
            LetterChange::Truncate { .. } => Block::Table,
            LetterChange::Row { .. } if self.letter.failure.as_ref().is_some_and(|f| f.class == TABLE_STOPPED) => {
                Block::Table
            }
            LetterChange::Row { operation, old, new, .. } => {
                Block::of(&self.table.key, *operation, Tuple::from_checked(old), Tuple::from_checked(new))
            }
        }
    }
}

/// The rows that wait at a destination. `is_binary`: how the stream brings values now; keys in another form cannot be
/// compared, so that their tables wait as a whole.
///
/// # Errors
/// The store's; `Missing` when it has lost letters that the destination waits for.
pub async fn load_parked(
    store: &dyn DeadLetterStore,
    mailbox: &Mailbox,
    waiting: &Waiting,
    is_binary: bool,
) -> Result<Parked, StoreError> {
    let (mut parked, mut shapes) = (Parked::default(), Shapes::default());
    for (table, ids) in waiting {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { continue };
        let mut found = 0;
        let mut pages = Pages::new(mailbox.stream(table), *first..after(*last));
        while let Some(letters) = pages.next(store).await? {
            for letter in letters.into_iter().filter(|letter| ids.contains(&letter.id)) {
                let letter = shapes.address(store, &mailbox.pipeline, letter).await?;
                let oid = letter.table.relation.oid;
                parked.park(&letter.table, letter.block());
                if letter.is_binary != is_binary {
                    parked.block_table(oid);
                }
                found += 1;
            }
        }
        if found < ids.len() {
            return Err(StoreError::Missing {
                letters: ids.len() - found,
                table: table.clone(),
                pipeline: mailbox.pipeline.clone(),
                destination: mailbox.destination.clone(),
            });
        }
    }
    Ok(parked)
}

/// Removes letters for which the destination does not wait, of each table those before `below`: they were applied after
/// all, or settled before a crash. What the destination shows must be on its disk.
///
/// # Errors
/// The store's.
pub async fn sweep(
    store: &dyn DeadLetterStore,
    owner: &Owner,
    mailbox: &Mailbox,
    waiting: &Waiting,
    below: impl Fn(&str) -> Lsn,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    let none = BTreeSet::new();
    for (table, _) in store.streams(mailbox).await? {
        let kept = waiting.get(&table).unwrap_or(&none);
        let stream = mailbox.stream(&table);
        let mut pages = Pages::new(stream.clone(), LetterId::default()..LetterId::first_of(below(&table)));
        while let Some(letters) = pages.next(store).await? {
            let settled: Vec<_> = letters.iter().map(|letter| letter.id).filter(|id| !kept.contains(id)).collect();
            if !settled.is_empty() {
                removed += store.remove(owner, &stream, &settled).await?;
            }
        }
    }
    Ok(removed)
}

/// Removes all letters of a stream that are before `before`.
///
/// # Errors
/// The store's.
pub async fn remove_before(
    store: &dyn DeadLetterStore,
    owner: &Owner,
    stream: &LetterStream,
    before: LetterId,
) -> Result<(), StoreError> {
    let mut pages = Pages::new(stream.clone(), LetterId::default()..before);
    while let Some(letters) = pages.next(store).await? {
        let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
        store.remove(owner, stream, &ids).await?;
    }
    Ok(())
}

/// A range of a stream, some letters at a time.
#[derive(Debug)]
pub struct Pages {
    stream: LetterStream,
    range: Range<LetterId>,
}

impl Pages {
    pub fn new(stream: LetterStream, range: Range<LetterId>) -> Pages {
        Pages { stream, range }
    }

    /// All letters of a stream.
    pub fn all(stream: LetterStream) -> Pages {
        Pages::new(stream, LetterId::default()..LetterId::END)
    }

    /// The next letters, at least one; None at the end.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self, store: &dyn DeadLetterStore) -> Result<Option<Vec<Letter>>, StoreError> {
        if self.range.start >= self.range.end {
            return Ok(None);
        }
        let letters = store.read(&self.stream, self.range.clone(), PAGE).await?;
        let Some(last) = letters.last() else { return Ok(None) };
        self.range.start = after(last.id);
        Ok(Some(letters))
    }
}

/// The first place after this one.
pub(super) fn after(id: LetterId) -> LetterId {
    LetterId { ordinal: id.ordinal.saturating_add(1), ..id }
}
