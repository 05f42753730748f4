//! Changes that the destination refuses are set aside: written to the store of dead letters, then recorded here in the
//! transaction that leaves them out. `rosetta.dead_letter` says which letters wait; the store says what is in them.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use foldhash::HashSet;
use rosetta_proto::Lsn;

use super::{
    layout::Format,
    requests::{Failure, Purpose},
    writer::Writer,
};
use crate::{
    dead_letters::{
        self as letters, Addition, Aside, AsideLetter, Breaker, DeadLetterStore, Emptied, Letter, LetterId, Mailbox,
        Owner, Parked, Shape, ShapeId, StoreError, Verdicts,
    },
    destination::DestinationError,
    pipeline::batch::Batch,
    postgres::literal,
    schema::array_literal,
};

/// What setting changes aside takes.
pub struct Parking {
    pub(super) store: Arc<dyn DeadLetterStore>,
    pub(super) owner: Owner,
    pub(super) mailbox: Mailbox,
    /// What waits at this lane's destination.
    pub(super) parked: Parked,
    pub(super) breaker: Breaker,
    shapes: HashSet<ShapeId>,
    /// Letters that a TRUNCATE made void, once it is committed: all of the table before the place.
    emptied: Vec<(String, LetterId)>,
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

impl Parking {
    /// For a lane at which `parked` waits already.
    pub fn new(store: Arc<dyn DeadLetterStore>, owner: Owner, mailbox: Mailbox, parked: Parked) -> Parking {
        let (breaker, shapes, emptied) = (Breaker::default(), HashSet::default(), Vec::new());
        Parking { store, owner, mailbox, parked, breaker, shapes, emptied }
    }

    /// How many letters wait.
    pub fn letters(&self) -> u64 {
        self.parked.letters()
    }

    /// Writes the letters; they are safe when it returns.
    async fn store(&mut self, letters: &[AsideLetter], format: Format) -> Result<(), StoreError> {
        let mut addition = Addition::default();
        for letter in letters {
            let shape = Shape::of(&letter.table, format == Format::Binary);
            let id = shape.id();
            if self.shapes.insert(id) {
                addition.shapes.push(Arc::new(shape));
            }
            addition.letters.push((letters::table_name(&letter.table), self.letter(letter, id)));
        }
        let shapes: Vec<_> = addition.shapes.iter().map(|shape| shape.id()).collect();
        let added = self.store.add(&self.owner, &self.mailbox.destination, addition).await;
        if added.is_err() {
            self.shapes.retain(|id| !shapes.contains(id));
        }
        added
    }

    fn letter(&self, aside: &AsideLetter, shape: ShapeId) -> Letter {
        let now = unix_millis();
        let failure = letters::Failure {
            class: aside.rejection.class.clone(),
            message: aside.rejection.message.clone(),
            attempts: 1,
            first_failed_at: now,
            last_failed_at: now,
        };
        let (id, change, epoch) = (aside.id, aside.change.clone(), self.owner.epoch);
        Letter { id, shape, change, epoch, added_at: now, failure: Some(failure) }
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Writer {
    /// What of the batch is not written; its letters are in the store when this returns.
    pub(super) async fn set_aside(&mut self, batch: &Batch, verdicts: &Verdicts) -> Result<Aside, DestinationError> {
        let Some(parking) = &self.parking else { return Ok(Aside::default()) };
        if parking.parked.is_empty() && verdicts.rejections() == 0 {
            return Ok(Aside::default());
        }
        let floor = self.resumed_at();
        let is_wanted = |oid, commit_lsn| self.is_wanted(floor, oid, commit_lsn);
        let aside = letters::set_aside(batch, &parking.parked, verdicts, is_wanted);
        let format = self.format;
        if let Some(parking) = self.parking.as_mut().filter(|_| !aside.letters.is_empty()) {
            parking.store(&aside.letters, format).await?;
        }
        Ok(aside)
    }

    /// Whether the change that failed may be one that only this destination refuses.
    pub(super) fn may_set_aside(&self, failure: &Failure, is_live: bool) -> bool {
        let is_of_rows = matches!(failure.purpose, Purpose::Rows { .. } | Purpose::Trial | Purpose::Commit);
        let labels_are_known = !is_live || self.has_just_begun();
        self.parking.is_some() && is_of_rows && failure.error.is_of_row(labels_are_known)
    }

    /// Records what was set aside, in the transaction that leaves it out.
    pub(super) fn record_aside(&mut self, aside: &Aside) -> Result<(), Failure> {
        let (pipeline, destination) = (literal(&self.lane.pipeline), literal(&self.lane.destination));
        let mine = format!("pipeline = {pipeline} AND destination = {destination}");
        for Emptied { names, before, .. } in &aside.emptied {
            let LetterId { commit_lsn, ordinal } = before;
            // What is deleted here is then removed from the store, so it must not come back.
            let sql = format!(
                "SET LOCAL synchronous_commit = on; DELETE FROM rosetta.dead_letter WHERE {mine} \
                 AND source_table = ANY ({}::text[]) AND (commit_lsn, ordinal) < ('{commit_lsn}'::pg_lsn, {ordinal})",
                literal(&array_literal(names.iter().map(String::as_str)))
            );
            self.requests.simple(&mut self.connection, Purpose::Control, &sql)?;
        }
        if aside.letters.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = aside.letters.iter().map(|letter| letters::table_name(&letter.table)).collect();
        let ids = aside.letters.iter().map(|letter| letter.id);
        let sql = format!(
            "INSERT INTO rosetta.dead_letter (pipeline, destination, source_table, commit_lsn, ordinal) \
             SELECT {pipeline}, {destination}, l.* FROM {} AS l ON CONFLICT DO NOTHING",
            unnest_letters(names.iter().map(String::as_str), ids)
        );
        self.requests.simple(&mut self.connection, Purpose::Control, &sql)
    }

    /// The batch, or part, is applied without what was set aside.
    pub(super) fn settle(&mut self, aside: Aside, batch: &Batch) {
        let Some(parking) = &mut self.parking else { return };
        if !parking.breaker.is_quiet() {
            for table in batch.segments.iter().flat_map(|segment| segment.tables()) {
                parking.breaker.applied(table.table.relation.oid, table.changes.len() as u64);
            }
        }
        if aside.is_empty() {
            return;
        }
        for Emptied { oid, names, before } in &aside.emptied {
            parking.breaker.reset(*oid);
            parking.emptied.extend(names.iter().map(|table| (table.clone(), *before)));
        }
        aside.change.apply_to(&mut parking.parked);
    }

    /// Removes letters that a committed TRUNCATE made void. Those that stay by misfortune are found at the next start.
    pub(super) async fn forget_emptied(&mut self) {
        let Some(parking) = &mut self.parking else { return };
        for (table, before) in std::mem::take(&mut parking.emptied) {
            tracing::warn!(table, "dead letters before a TRUNCATE of their table are settled by it");
            let stream = parking.mailbox.stream(&table);
            if let Err(error) = letters::remove_before(parking.store.as_ref(), &parking.owner, &stream, before).await {
                tracing::warn!(table, "settled dead letters stay in the store for now: {error}");
            }
        }
    }
}

/// Letters as rows of SQL: table, position, ordinal.
pub(super) fn unnest_letters<'a>(
    tables: impl Iterator<Item = &'a str>,
    ids: impl Iterator<Item = LetterId> + Clone,
) -> String {
    let lsns: Vec<String> = ids.clone().map(|id| Lsn(id.commit_lsn.0).to_string()).collect();
    let ordinals: Vec<String> = ids.map(|id| id.ordinal.to_string()).collect();
    format!(
        "unnest({}::text[], {}::pg_lsn[], {}::bigint[])",
        literal(&array_literal(tables)),
        literal(&array_literal(lsns.iter().map(String::as_str))),
        literal(&array_literal(ordinals.iter().map(String::as_str)))
    )
}
