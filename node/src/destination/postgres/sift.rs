//! Which changes of a batch the destination refuses. They are tried in the source's order, many in one request: how many
//! statements were done before the one that failed tells which it was. What was good is tried again without it, so each
//! refused change costs little more than one request. Nothing of this stays: it only finds out.

use super::{
    apply::Placed,
    requests::{Failure, Purpose},
    writer::{Mode, Work, Writer},
};
use crate::{
    dead_letters::{Block, Outlook, Parked, Rejection, Verdicts},
    destination::DestinationError,
    pipeline::batch::Segment,
};

/// Changes that are tried together. After a refusal fewer, as others may be near.
const MOST: usize = 256;
const FEWEST: usize = 16;

/// Begins a trial: constraints speak at the change that violates them.
const BEGIN: &str = "SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT sift";

/// How a trial went.
enum Trial {
    Accepted,
    /// The change at this index is refused.
    Refused(usize, Rejection),
}

impl Writer {
    /// Finds the changes that the destination refuses, each by itself, and adds them to `verdicts`. The part is as
    /// undone after this as before.
    ///
    /// # Errors
    /// What is not about a row; and `cause`, if no change is to blame.
    pub(super) async fn sift(
        &mut self,
        work: &Work<'_>,
        verdicts: &mut Verdicts,
        cause: Failure,
    ) -> Result<(), DestinationError> {
        let known = verdicts.rejections();
        let sifted = self.sift_batch(work, verdicts).await;
        sifted.map_err(|failure| self.judge(failure))?;
        self.undo_part(work.whole).await.map_err(|failure| self.judge(failure))?;
        if verdicts.rejections() == known { Err(self.judge(cause)) } else { Ok(()) }
    }

    async fn sift_batch(&mut self, work: &Work<'_>, verdicts: &mut Verdicts) -> Result<(), Failure> {
        if work.whole {
            self.requests.simple(&mut self.connection, Purpose::Control, "BEGIN")?;
            self.fence("guard", None)?;
        }
        self.requests.simple(&mut self.connection, Purpose::Control, BEGIN)?;
        self.requests.finish(&mut self.connection).await?;
        let nothing = Parked::default();
        let mut outlook = Outlook::new(&nothing);
        for segment in &work.batch.segments {
            match segment {
                Segment::Net(tables) | Segment::InOrder(tables) => {
                    let placed = self.placed(work, tables)?;
                    self.sift_changes(&placed, verdicts, &mut outlook, work.closing.is_none()).await?;
                }
                Segment::Truncate { relations, restart_identity, transaction, .. } => {
                    let in_order = Work { mode: Mode::InOrder, ..*work };
                    self.write_truncate(&in_order, relations, *restart_identity, *transaction)?;
                    self.requests.simple(&mut self.connection, Purpose::Control, "RELEASE sift; SAVEPOINT sift")?;
                    self.requests.finish(&mut self.connection).await?;
                    relations.iter().for_each(|table| outlook.clear(table.relation.oid));
                }
            }
        }
        Ok(())
    }

    async fn sift_changes(
        &mut self,
        placed: &[Placed<'_>],
        verdicts: &mut Verdicts,
        outlook: &mut Outlook<'_>,
        is_live: bool,
    ) -> Result<(), Failure> {
        let (mut at, mut size) = (0, MOST);
        while at < placed.len() {
            let mut tried = Vec::with_capacity(size);
            let mut end = at;
            while end < placed.len() && tried.len() < size {
                if !waits(&placed[end], verdicts, outlook) {
                    tried.push(end);
                }
                end += 1;
            }
            match self.try_changes(placed, &tried, is_live).await? {
                Trial::Accepted => {
                    if is_live {
                        self.note_accepted(placed, &tried);
                    }
                    (at, size) = (end, (size * 2).clamp(FEWEST, MOST));
                }
                Trial::Refused(index, rejection) => {
                    self.note_refused(&placed[index], rejection, verdicts, outlook, is_live);
                    // What came before it was good.
                    size = tried.iter().position(|tried| *tried == index).unwrap_or_default();
                    if size == 0 {
                        (at, size) = (index + 1, FEWEST);
                    }
                }
            }
        }
        Ok(())
    }

    async fn try_changes(&mut self, placed: &[Placed<'_>], indexes: &[usize], is_live: bool) -> Result<Trial, Failure> {
        let statements = self.rows.try_in_order(&mut self.connection, &mut self.requests, placed, indexes).await?;
        self.requests.simple(&mut self.connection, Purpose::Control, "RELEASE sift; SAVEPOINT sift")?;
        match self.requests.finish(&mut self.connection).await {
            Ok(_) => Ok(Trial::Accepted),
            Err(failure) if failure.purpose == Purpose::Trial && self.may_set_aside(&failure, is_live) => {
                let Some(index) = statements.get(failure.completed).copied() else { return Err(failure) };
                self.undo("ROLLBACK TO sift").await?;
                let (class, message) = failure.error.as_rejection();
                Ok(Trial::Refused(index, Rejection { class, message }))
            }
            Err(failure) => Err(failure),
        }
    }

    fn note_accepted(&mut self, placed: &[Placed<'_>], indexes: &[usize]) {
        let Some(parking) = &mut self.parking else { return };
        for (table, ..) in indexes.iter().filter_map(|index| placed.get(*index)) {
            parking.breaker.applied(table.table.relation.oid, 1);
        }
    }

    fn note_refused(
        &mut self,
        (table, change, _): &Placed<'_>,
        rejection: Rejection,
        verdicts: &mut Verdicts,
        outlook: &mut Outlook<'_>,
        is_live: bool,
    ) {
        let oid = table.table.relation.oid;
        // Letters that are tried again tell nothing of what the table's changes are like now.
        let has_to_stop = is_live && self.parking.as_mut().is_some_and(|parking| parking.breaker.rejected(oid));
        if has_to_stop {
            let table = crate::dead_letters::table_name(&table.table);
            let (destination, class) = (&self.lane.destination, &rejection.class);
            tracing::error!(
                destination,
                table,
                class,
                "most of a table's changes are rejected, so the table has stopped; its changes wait as dead letters: {}",
                rejection.message
            );
            verdicts.stop(oid, change.place(), &rejection);
        }
        outlook.park(&table.table, Block::of_change(table, change));
        verdicts.reject(oid, change.place(), rejection);
    }
}

/// Whether it is known already that this change is not applied.
fn waits((table, change, _): &Placed<'_>, verdicts: &Verdicts, outlook: &Outlook<'_>) -> bool {
    let oid = table.table.relation.oid;
    verdicts.is_rejected(change.place())
        || verdicts.has_stopped(oid, change.place())
        || outlook.holds(oid, Block::of_change(table, change))
}
