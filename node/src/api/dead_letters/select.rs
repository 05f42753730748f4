//! Letters one after the other, of the mailboxes and tables that a filter leaves.

use std::{collections::VecDeque, sync::Arc};

use rosetta_proto::v1::DeadLetterFilter;

use crate::dead_letters::{
    Addressed, Desk, Letter, LetterId, LetterName, LetterStream, Mailbox, Pages, Shapes, StoreError,
};

/// Why a letter waits that no destination has refused.
pub(super) const AWAY: &str = "the destination was away";
/// The class of such letters.
const OUTAGE: &str = "outage";

/// A letter and what it is called.
pub(super) struct Selected {
    pub(super) name: LetterName,
    pub(super) letter: Addressed,
}

impl Selected {
    pub(super) fn class(&self) -> &str {
        self.letter.letter.failure.as_ref().map_or(OUTAGE, |failure| &failure.class)
    }
}

/// What is left to go through.
pub(super) struct Selection {
    desk: Arc<Desk>,
    filter: DeadLetterFilter,
    mailboxes: VecDeque<Mailbox>,
    streams: VecDeque<LetterStream>,
    open: Option<(LetterStream, Pages)>,
    letters: VecDeque<Letter>,
    shapes: Shapes,
    /// Streams before this one, and letters of it up to this place, were given before.
    after: Option<LetterName>,
}

impl Selection {
    pub(super) fn new(desk: Arc<Desk>, mailboxes: &[Mailbox], filter: DeadLetterFilter) -> Selection {
        let is_wanted = |wanted: &str, name: &str| wanted.is_empty() || wanted == name;
        let mailboxes = mailboxes.iter().filter(|mailbox| {
            is_wanted(&filter.pipeline, &mailbox.pipeline) && is_wanted(&filter.destination, &mailbox.destination)
        });
        let mailboxes = mailboxes.cloned().collect();
        Selection {
            desk,
            filter,
            mailboxes,
            streams: VecDeque::new(),
            open: None,
            letters: VecDeque::new(),
            shapes: Shapes::default(),
            after: None,
        }
    }

    /// How many letters there are in all. By class they can only be counted one by one.
    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for mailbox in &self.mailboxes {
            for (table, figures) in self.desk.store.streams(mailbox).await? {
                if !self.wants_table(&table) {
                    continue;
                }
                if self.filter.error_class.is_empty() {
                    count += figures.letters;
                    continue;
                }
                let mut pages = Pages::all(mailbox.stream(&table));
                while let Some(page) = pages.next(self.desk.store.as_ref()).await? {
                    count += page.iter().filter(|letter| self.wants_class(letter)).count() as u64;
                }
            }
        }
        Ok(count)
    }

    /// Leaves out what a page before ended with.
    pub(super) fn go_on_after(&mut self, name: &LetterName) {
        self.mailboxes.retain(|mailbox| *mailbox >= name.stream.mailbox);
        self.after = Some(name.clone());
    }

    pub(super) async fn next(&mut self) -> Result<Option<Selected>, StoreError> {
        let desk = Arc::clone(&self.desk);
        let store = desk.store.as_ref();
        loop {
            if let (Some(letter), Some((stream, _))) = (self.letters.pop_front(), &self.open) {
                if !self.wants_class(&letter) {
                    continue;
                }
                let name = LetterName { stream: stream.clone(), id: letter.id };
                let letter = self.shapes.address(store, &name.stream.mailbox.pipeline, letter).await?;
                return Ok(Some(Selected { name, letter }));
            }
            if let Some((_, pages)) = &mut self.open {
                match pages.next(store).await? {
                    Some(page) => self.letters = page.into(),
                    None => self.open = None,
                }
            } else if let Some(stream) = self.streams.pop_front() {
                let pages = self.pages(&stream);
                self.open = pages.map(|pages| (stream, pages));
            } else if let Some(mailbox) = self.mailboxes.pop_front() {
                let streams = store.streams(&mailbox).await?.into_iter().map(|(table, _)| table);
                self.streams =
                    streams.filter(|table| self.wants_table(table)).map(|table| mailbox.stream(&table)).collect();
            } else {
                return Ok(None);
            }
        }
    }

    /// The letters of a stream that were not given before; None when all were.
    fn pages(&self, stream: &LetterStream) -> Option<Pages> {
        match &self.after {
            Some(after) if *stream < after.stream => None,
            Some(after) if *stream == after.stream => {
                let start = LetterId { ordinal: after.id.ordinal.saturating_add(1), ..after.id };
                Some(Pages::new(stream.clone(), start..LetterId::END))
            }
            Some(_) | None => Some(Pages::all(stream.clone())),
        }
    }

    fn wants_table(&self, table: &str) -> bool {
        self.filter.table.is_empty() || self.filter.table == table
    }

    fn wants_class(&self, letter: &Letter) -> bool {
        let class = letter.failure.as_ref().map_or(OUTAGE, |failure| &failure.class);
        self.filter.error_class.is_empty() || self.filter.error_class == class
    }
}

/// The letter of this name.
pub(super) async fn find(desk: &Desk, name: &LetterName) -> Result<Option<Selected>, StoreError> {
    let end = LetterId { ordinal: name.id.ordinal.saturating_add(1), ..name.id };
    let found = desk.store.read(&name.stream, name.id..end, 1).await?;
    let Some(letter) = found.into_iter().next() else { return Ok(None) };
    let pipeline = &name.stream.mailbox.pipeline;
    let letter = Shapes::default().address(desk.store.as_ref(), pipeline, letter).await?;
    Ok(Some(Selected { name: name.clone(), letter }))
}
