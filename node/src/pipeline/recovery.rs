//! Tries the letters of one lane again: by itself, less and less often while nothing helps, and when somebody asks.
//!
//! A pass goes through all letters, a page at a time between batches. A row of which a letter was refused is held for the
//! rest of the pass, so that its later letters wait, whatever page they are on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use crate::{
    dead_letters::{
        Addressed, BLOCKED, Desk, DeskCommand, Failure, LetterId, LetterName, LetterStream, Mailbox, Owner, Pages,
        Parked, Rejection, Shapes, StoreError, TABLE_STOPPED,
    },
    destination::{
        DestinationError,
        postgres::{Replayed, Writer, unix_millis},
    },
};

/// Until letters are tried again by themselves; doubled up to the longest while that is in vain.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// A table of which so many letters are refused one after the other is left for the next pass, unless somebody asked.
const ENOUGH_REFUSED: usize = 100;

/// What a lane does about its letters.
pub(super) struct Recovery {
    desk: Arc<Desk>,
    owner: Owner,
    mailbox: Mailbox,
    requests: mpsc::Receiver<DeskCommand>,
    wait: Duration,
    /// When to begin a pass, or to go on with one.
    due: Option<Instant>,
    pass: Option<Pass>,
    /// Of these tables the next pass is to try all letters.
    asked_for: Option<Vec<String>>,
}

/// One going through the letters.
struct Pass {
    tables: VecDeque<String>,
    pages: Option<(LetterStream, Pages)>,
    shapes: Shapes,
    held: Parked,
    /// Letters of the table refused since one was taken.
    refused: usize,
    settled: usize,
    is_asked_for: bool,
}

impl Recovery {
    pub(super) fn new(desk: Arc<Desk>, owner: Owner, mailbox: Mailbox, worker: usize) -> Recovery {
        let requests = desk.open(&mailbox, worker);
        Recovery { desk, owner, mailbox, requests, wait: FIRST_RETRY, due: None, pass: None, asked_for: None }
    }

    /// When there is something to do without being asked, now that `letters` wait.
    pub(super) fn due(&mut self, letters: u64) -> Option<Instant> {
        if letters == 0 && self.pass.is_none() && self.asked_for.is_none() {
            (self.due, self.wait) = (None, FIRST_RETRY);
        } else if self.due.is_none() {
            self.due = Some(Instant::now() + self.wait);
        }
        self.due
    }

    /// The next request.
    pub(super) async fn request(&mut self) -> DeskCommand {
        match self.requests.recv().await {
            Some(command) => command,
            None => std::future::pending().await, // another lane took the place: ours is about to end
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// The destination's.
    pub(super) async fn serve(&mut self, command: DeskCommand, writer: &mut Writer) -> Result<(), DestinationError> {
        match command {
            DeskCommand::Replay { tables } => {
                (self.pass, self.asked_for) = (None, Some(tables));
                self.due = Some(Instant::now());
                Ok(())
            }
            DeskCommand::Discard { letters, done } => {
                let discarded = self.discard(&letters, writer).await;
                let answer = discarded.as_ref().map(|count| *count).map_err(ToString::to_string);
                let _ = done.send(answer); // whoever asked may have gone
                match discarded {
                    Err(error @ (DestinationError::Postgres { .. } | DestinationError::Fenced { .. })) => Err(error),
                    Ok(_) | Err(DestinationError::DeadLetters(_)) => Ok(()),
                }
            }
        }
    }

    /// Begins a pass, or goes on with it by a page.
    ///
    /// # Errors
    /// The destination's. That the store is away is none: then the letters wait for another time.
    pub(super) async fn step(&mut self, writer: &mut Writer) -> Result<(), DestinationError> {
        if !writer.is_between_transactions() {
            self.due = Some(Instant::now() + Duration::from_millis(100));
            return Ok(());
        }
        match self.try_page(writer).await {
            Ok(true) => self.due = Some(Instant::now()),
            Ok(false) => self.end_pass(),
            Err(DestinationError::DeadLetters(error)) if error.is_transient() => {
                tracing::warn!(destination = self.mailbox.destination, "dead letters are not tried again yet: {error}");
                self.end_pass();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// False when the pass is over.
    async fn try_page(&mut self, writer: &mut Writer) -> Result<bool, DestinationError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => Pass::new(self.tables(self.asked_for.as_deref()).await?, self.asked_for.take().is_some()),
        };
        let Some(letters) = pass.next_page(&self.desk, &self.mailbox, writer).await? else {
            self.pass = Some(pass);
            return Ok(false);
        };
        let replayed = writer.replay(&letters, &mut pass.held).await?;
        self.record(&letters, &replayed).await?;
        pass.count(&replayed);
        self.pass = Some(pass);
        Ok(true)
    }

    /// The tables to go through: all, or those asked for, with what they were called before they were renamed. All
    /// letters under an older name come before those under a newer one, so the order of first letters is right.
    async fn tables(&self, asked_for: Option<&[String]>) -> Result<VecDeque<String>, StoreError> {
        let (store, mut shapes, mut found) = (self.desk.store.as_ref(), Shapes::default(), Vec::new());
        for (table, _) in store.streams(&self.mailbox).await? {
            let first = store.read(&self.mailbox.stream(&table), LetterId::default()..LetterId::END, 1).await?;
            let Some(first) = first.into_iter().next() else { continue };
            let first = shapes.address(store, &self.mailbox.pipeline, first).await?;
            found.push((first.letter.id, first.table.relation.oid, table));
        }
        found.sort();
        let is_asked_for = |oid: u32| {
            let Some(tables) = asked_for else { return true };
            found.iter().any(|(_, other, table)| *other == oid && tables.contains(table))
        };
        Ok(found.iter().filter(|(_, oid, _)| is_asked_for(*oid)).map(|(.., table)| table.clone()).collect())
    }

    fn end_pass(&mut self) {
        let settled = self.pass.take().map_or(0, |pass| pass.settled);
        if settled > 0 {
            tracing::info!(destination = self.mailbox.destination, letters = settled, "dead letters were applied");
            self.wait = FIRST_RETRY;
        } else {
            self.wait = (self.wait * 2).min(LONGEST_RETRY);
        }
        self.due = Some(Instant::now() + self.wait);
    }

    /// Tells the store what became of letters: the destination has recorded it.
    async fn record(&self, letters: &[Addressed], replayed: &Replayed) -> Result<(), StoreError> {
        let by_name = |name: &(String, LetterId)| {
            letters.iter().find(|letter| letter.letter.id == name.1 && letter.is_of(&name.0))
        };
        for table in tables_of(&replayed.settled) {
            let ids: Vec<_> = replayed.settled.iter().filter(|(of, _)| *of == table).map(|(_, id)| *id).collect();
            self.desk.store.remove(&self.owner, &self.mailbox.stream(&table), &ids).await?;
        }
        let refused: Vec<_> = replayed.refused.iter().map(|(table, id, _)| (table.clone(), *id)).collect();
        for table in tables_of(&refused) {
            let of_table = replayed.refused.iter().filter(|(of, ..)| *of == table);
            let failures = of_table.filter_map(|(table, id, rejection)| {
                let before = by_name(&(table.clone(), *id))?.letter.failure.as_ref();
                Some((*id, failed_again(before, rejection)?))
            });
            let failures: Vec<_> = failures.collect();
            self.desk.store.note(&self.owner, &self.mailbox.stream(&table), &failures).await?;
        }
        Ok(())
    }

    async fn discard(&self, names: &[LetterName], writer: &mut Writer) -> Result<u64, DestinationError> {
        let mut shapes = Shapes::default();
        let mut discarded = 0;
        let names: Vec<_> = names.iter().map(|name| (name.stream.table.clone(), name.id)).collect();
        for table in tables_of(&names) {
            let ids: Vec<_> = names.iter().filter(|(of, _)| *of == table).map(|(_, id)| *id).collect();
            let waiting = writer.waits_for(&table, &ids).await?;
            let stream = self.mailbox.stream(&table);
            let mut letters = Vec::new();
            for id in ids.iter().filter(|id| waiting.contains(id)) {
                let found = self.desk.store.read(&stream, *id..LetterId { ordinal: id.ordinal + 1, ..*id }, 1).await?;
                for letter in found {
                    letters.push(shapes.address(self.desk.store.as_ref(), &self.mailbox.pipeline, letter).await?);
                }
            }
            letters.retain(|letter| writer.is_mine(letter.table.relation.oid));
            if !letters.is_empty() {
                writer.discard(&letters).await?;
                let ids: Vec<_> = letters.iter().map(|letter| letter.letter.id).collect();
                self.desk.store.remove(&self.owner, &stream, &ids).await?;
                discarded += ids.len() as u64;
            }
        }
        Ok(discarded)
    }
}

impl Pass {
    fn new(tables: VecDeque<String>, is_asked_for: bool) -> Pass {
        let (shapes, held) = (Shapes::default(), Parked::default());
        Pass { tables, pages: None, shapes, held, refused: 0, settled: 0, is_asked_for }
    }

    /// Letters to try; None when all were tried.
    async fn next_page(
        &mut self,
        desk: &Desk,
        mailbox: &Mailbox,
        writer: &mut Writer,
    ) -> Result<Option<Vec<Addressed>>, DestinationError> {
        let store = desk.store.as_ref();
        loop {
            let Some((stream, pages)) = &mut self.pages else {
                let Some(table) = self.tables.pop_front() else { return Ok(None) };
                let stream = mailbox.stream(&table);
                (self.pages, self.refused) = (Some((stream.clone(), Pages::all(stream))), 0);
                continue;
            };
            let has_enough = self.refused >= ENOUGH_REFUSED && !self.is_asked_for;
            let page = if has_enough { None } else { pages.next(store).await? };
            let Some(page) = page else {
                self.pages = None;
                continue;
            };
            let ids: Vec<_> = page.iter().map(|letter| letter.id).collect();
            let waiting = writer.waits_for(&stream.table, &ids).await?;
            let mut letters = Vec::new();
            for letter in page.into_iter().filter(|letter| waiting.contains(&letter.id)) {
                letters.push(self.shapes.address(store, &mailbox.pipeline, letter).await?);
            }
            letters.retain(|letter| writer.is_mine(letter.table.relation.oid));
            if !letters.is_empty() {
                return Ok(Some(letters));
            }
        }
    }

    fn count(&mut self, replayed: &Replayed) {
        self.settled += replayed.settled.len();
        self.refused = if replayed.settled.is_empty() { self.refused + replayed.refused.len() } else { 0 };
    }
}

/// What is noted of a letter that was refused again; None where it only waits behind another.
fn failed_again(before: Option<&Failure>, rejection: &Rejection) -> Option<Failure> {
    if rejection.class == BLOCKED {
        return None;
    }
    let now = unix_millis();
    // A letter that keeps its table from going on does so until it is gone.
    let keeps = before.is_some_and(|before| before.class == TABLE_STOPPED);
    Some(Failure {
        class: if keeps { TABLE_STOPPED.to_owned() } else { rejection.class.clone() },
        message: rejection.message.clone(),
        attempts: before.map_or(1, |before| before.attempts.saturating_add(1)),
        first_failed_at: before.map_or(now, |before| before.first_failed_at),
        last_failed_at: now,
    })
}

fn tables_of(letters: &[(String, LetterId)]) -> Vec<String> {
    let mut tables: Vec<_> = letters.iter().map(|(table, _)| table.clone()).collect();
    tables.sort();
    tables.dedup();
    tables
}
