//! The letters of many tables in the source's order.

use std::{collections::VecDeque, sync::Arc};

use rosetta_proto::Lsn;

use super::{
    convert::Addressed,
    letter::{Letter, LetterId, LetterStream, Mailbox},
    load::{Shapes, after},
    store::{DeadLetterStore, StoreError},
};

/// Letters that are read of one table together.
const AHEAD: usize = 1024;

/// Goes through letters of a mailbox up to an end, in the order of the source's log.
pub struct Merged {
    store: Arc<dyn DeadLetterStore>,
    mailbox: Mailbox,
    end: LetterId,
    streams: Vec<Ahead>,
    shapes: Shapes,
}

/// What was read of one table and not taken yet.
struct Ahead {
    stream: LetterStream,
    /// Where to read on.
    next: LetterId,
    letters: VecDeque<Letter>,
}

impl Merged {
    /// Letters from `from` on and before `end`, all of which must be in the store by now.
    ///
    /// # Errors
    /// The store's.
    pub async fn new(
        store: Arc<dyn DeadLetterStore>,
        mailbox: Mailbox,
        (from, end): (Lsn, Lsn),
    ) -> Result<Merged, StoreError> {
        let (next, end) = (LetterId::first_of(from), LetterId::first_of(end));
        let tables = store.streams(&mailbox).await?.into_iter().map(|(table, _)| table);
        let ahead = |table: String| Ahead { stream: mailbox.stream(&table), next, letters: VecDeque::new() };
        let streams = tables.map(ahead).collect();
        Ok(Merged { store, mailbox, end, streams, shapes: Shapes::default() })
    }

    /// The next letters: whole transactions, at most so many letters and about so many bytes; if the first transaction is
    /// larger, a part of it. Empty at the end. The flag tells whether the last transaction is complete.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self, most: usize, bytes: usize) -> Result<(Vec<(String, Addressed)>, bool), StoreError> {
        let (mut taken, mut size): (Vec<(String, Addressed)>, usize) = (Vec::new(), 0);
        let next = loop {
            let head = self.head().await?;
            let (Some(index), true) = (head, taken.len() < most && size < bytes) else { break head };
            let Some(letter) = self.streams[index].letters.pop_front() else { break None };
            size += letter.size();
            let letter = self.shapes.address(self.store.as_ref(), &self.mailbox.pipeline, letter).await?;
            taken.push((self.streams[index].stream.table.clone(), letter));
        };
        let next = next.and_then(|index| self.streams[index].letters.front()).map(|letter| letter.id.commit_lsn);
        let last = taken.last().map(|(_, letter)| letter.letter.id.commit_lsn);
        if last.is_none() || last != next {
            return Ok((taken, true));
        }
        // The last transaction goes on: it is left for the next time, unless there is nothing else.
        let whole = taken.partition_point(|(_, letter)| Some(letter.letter.id.commit_lsn) < last);
        if whole == 0 {
            return Ok((taken, false));
        }
        for (table, letter) in taken.drain(whole..).rev() {
            if let Some(ahead) = self.streams.iter_mut().find(|ahead| ahead.stream.table == table) {
                ahead.letters.push_front(letter.letter);
            }
        }
        Ok((taken, true))
    }

    /// The stream whose next letter comes first.
    async fn head(&mut self) -> Result<Option<usize>, StoreError> {
        let mut first: Option<(LetterId, usize)> = None;
        for (index, ahead) in self.streams.iter_mut().enumerate() {
            if ahead.letters.is_empty() && ahead.next < self.end {
                let letters = self.store.read(&ahead.stream, ahead.next..self.end, AHEAD).await?;
                ahead.next = letters.last().map_or(self.end, |last| after(last.id));
                ahead.letters = letters.into();
            }
            if let Some(letter) = ahead.letters.front()
                && first.is_none_or(|(id, _)| letter.id < id)
            {
                first = Some((letter.id, index));
            }
        }
        Ok(first.map(|(_, index)| index))
    }
}
