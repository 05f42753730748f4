//! Letters come home: applied in the source's order and crossed off in one transaction, under the fence. It is flushed
//! before they leave the store, so that a letter is in the store or in the destination, and never in neither.

use std::collections::BTreeSet;

use super::{
    layout::Format,
    parking::unnest_letters,
    writer::{Mode, Work, Writer},
};
use crate::{
    dead_letters::{
        self as letters, Addressed, Aside, LetterId, Mailbox, Parked, Rejection, Verdicts, Waiting, batch_of,
        set_aside, table_name,
    },
    destination::DestinationError,
    postgres::{Connection, PgError, literal},
};
use rosetta_proto::Lsn;

/// What became of letters that were tried.
#[derive(Debug, Default)]
pub struct Replayed {
    /// They are in the destination for good, or void.
    pub settled: Vec<(String, LetterId)>,
    /// They stay, and why.
    pub refused: Vec<(String, LetterId, Rejection)>,
}

/// Which letters a destination waits for.
///
/// # Errors
/// The destination's.
pub async fn read_waiting(connection: &mut Connection, mailbox: &Mailbox) -> Result<Waiting, PgError> {
    let sql =
        "SELECT source_table, commit_lsn, ordinal FROM rosetta.dead_letter WHERE pipeline = $1 AND destination = $2";
    let mut waiting = Waiting::new();
    for row in connection.query(sql, &[Some(&mailbox.pipeline), Some(&mailbox.destination)]).await? {
        let id = LetterId { commit_lsn: row.parse(1)?, ordinal: row.parse(2)? };
        waiting.entry(row.text(0)?.to_owned()).or_default().insert(id);
    }
    Ok(waiting)
}

/// Makes everything that the destination shows of this pipeline survive a crash of it.
///
/// # Errors
/// The destination's.
pub async fn flush(connection: &mut Connection, mailbox: &Mailbox) -> Result<(), PgError> {
    let Mailbox { pipeline, destination } = mailbox;
    let sql = format!(
        "BEGIN; SET LOCAL synchronous_commit = on; UPDATE rosetta.checkpoint SET updated_at = now() \
         WHERE pipeline = {} AND destination = {}; COMMIT",
        literal(pipeline),
        literal(destination)
    );
    connection.simple(&sql).await.map(drop)
}

impl Writer {
    /// Whether letters may be tried now: not in the midst of a source transaction.
    pub fn is_between_transactions(&self) -> bool {
        !self.has_open_parts()
    }

    /// Tries these letters, all of which this destination waits for, in their order. `held`: rows of which an earlier
    /// letter was refused in the same pass; it grows.
    ///
    /// # Errors
    /// Fenced, or the destination's, when it is not about a row. Nothing was done then, or it is not known.
    pub async fn replay(&mut self, addressed: &[Addressed], held: &mut Parked) -> Result<Replayed, DestinationError> {
        let mut replayed = Replayed::default();
        let is_same_form = |one: &Addressed, other: &Addressed| one.is_binary == other.is_binary;
        for letters in addressed.chunk_by(is_same_form) {
            let live = self.format;
            let is_binary = letters.first().is_some_and(|letter| letter.is_binary);
            self.set_format(if is_binary { Format::Binary } else { Format::Text });
            let result = self.replay_alike(letters, held, &mut replayed).await;
            self.set_format(live);
            result?;
        }
        // Each pass describes its tables anew, and would leave statements behind.
        self.undo("SELECT 1").await.map_err(|failure| self.judge(failure))?;
        Ok(replayed)
    }

    /// Letters whose values came in one form.
    async fn replay_alike(
        &mut self,
        letters: &[Addressed],
        held: &mut Parked,
        replayed: &mut Replayed,
    ) -> Result<(), DestinationError> {
        let batch = batch_of(letters, None);
        let mut verdicts = Verdicts::default();
        loop {
            let aside =
                set_aside(&batch, held, &verdicts, |oid, commit_lsn| self.is_wanted(Lsn::ZERO, oid, commit_lsn));
            let kept: BTreeSet<_> = aside.letters.iter().map(|letter| (table_name(&letter.table), letter.id)).collect();
            let name = |letter: &Addressed| (table_name(&letter.table), letter.letter.id);
            let settled: Vec<_> = letters.iter().map(name).filter(|letter| !kept.contains(letter)).collect();
            let closing = self.settle_sql(&settled);
            let work = Work {
                batch: &batch,
                mode: Mode::InOrder,
                aside: &aside,
                floor: Lsn::ZERO,
                whole: true,
                is_first: true,
                closing: Some(&closing),
            };
            match self.attempt(&work).await {
                Ok(_) => {
                    self.release(letters, &kept);
                    replayed.settled.extend(settled);
                    take_refused(aside, held, replayed);
                    return Ok(());
                }
                Err(failure) if self.may_set_aside(&failure, false) => {
                    self.undo_part(true).await.map_err(|failure| self.judge(failure))?;
                    self.sift(&work, &mut verdicts, failure).await?;
                }
                Err(failure) => return Err(self.judge(failure)),
            }
        }
    }

    /// Gives letters up, as if they had been applied.
    ///
    /// # Errors
    /// As `replay`.
    pub async fn discard(&mut self, addressed: &[Addressed]) -> Result<(), DestinationError> {
        let settled: Vec<_> = addressed.iter().map(|letter| (table_name(&letter.table), letter.letter.id)).collect();
        let closing = self.settle_sql(&settled);
        let (batch, aside) = (batch_of(&[], None), Aside::default());
        let work = Work {
            batch: &batch,
            mode: Mode::Net,
            aside: &aside,
            floor: Lsn::ZERO,
            whole: true,
            is_first: true,
            closing: Some(&closing),
        };
        self.attempt(&work).await.map_err(|failure| self.judge(failure))?;
        self.release(addressed, &BTreeSet::new());
        Ok(())
    }

    /// Which of these letters this destination waits for.
    ///
    /// # Errors
    /// The destination's.
    pub async fn waits_for(&mut self, table: &str, ids: &[LetterId]) -> Result<BTreeSet<LetterId>, DestinationError> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(BTreeSet::new()) };
        let sql = format!(
            "SELECT commit_lsn, ordinal FROM rosetta.dead_letter WHERE pipeline = {} AND destination = {} \
             AND source_table = {} AND commit_lsn BETWEEN '{}' AND '{}'",
            literal(&self.lane.pipeline),
            literal(&self.lane.destination),
            literal(table),
            first.commit_lsn,
            last.commit_lsn
        );
        let rows = self.connection.simple(&sql).await.map_err(|error| self.judge(error.into()))?;
        let id = |row: &crate::postgres::Row| -> Result<LetterId, PgError> {
            Ok(LetterId { commit_lsn: row.parse(0)?, ordinal: row.parse(1)? })
        };
        let waiting = rows.iter().map(id).collect::<Result<_, PgError>>();
        waiting.map_err(|error| self.judge(error.into()))
    }

    fn settle_sql(&self, settled: &[(String, LetterId)]) -> String {
        let tables = settled.iter().map(|(table, _)| table.as_str());
        format!(
            "SET LOCAL synchronous_commit = on; DELETE FROM rosetta.dead_letter AS d USING {} AS l(t, c, o) \
             WHERE d.pipeline = {} AND d.destination = {} AND d.source_table = l.t AND d.commit_lsn = l.c AND d.ordinal = l.o",
            unnest_letters(tables, settled.iter().map(|(_, id)| *id)),
            literal(&self.lane.pipeline),
            literal(&self.lane.destination)
        )
    }

    /// Later changes of these letters' rows need not wait any more.
    fn release(&mut self, addressed: &[Addressed], kept: &BTreeSet<(String, LetterId)>) {
        let Some(parking) = &mut self.parking else { return };
        for letter in addressed {
            if !kept.contains(&(table_name(&letter.table), letter.letter.id)) {
                let oid = letter.table.relation.oid;
                parking.parked.release(oid, letter.block());
                if !parking.parked.has_table(oid) {
                    parking.breaker.reset(oid);
                }
            }
        }
    }
}

fn take_refused(aside: Aside, held: &mut Parked, replayed: &mut Replayed) {
    let Aside { letters, change, .. } = aside;
    let refused = letters.into_iter().map(|letter| (letters::table_name(&letter.table), letter.id, letter.rejection));
    replayed.refused.extend(refused);
    change.apply_to(held);
}
