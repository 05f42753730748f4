use std::{collections::VecDeque, sync::Arc};

use foldhash::{HashMap, HashMapExt};
use postgres_protocol::{IsNull, message::frontend};
use rosetta_proto::{Epoch, Lsn};
use tokio::time::Instant;

use super::{
    apply::{Placed, RowWriter},
    checkpoint::Lane,
    layout::{Format, Layout, Target},
    missing::MissingRows,
    parking::Parking,
    requests::{Failure, Outcome, Purpose, Requests},
};
use crate::{
    dead_letters::{Aside, Verdicts},
    destination::{Applied, DestinationError},
    pipeline::batch::{Batch, Change, Segment, SourceTable, TableChanges},
    postgres::{Connection, PgError, Row, sqlstate},
};

/// Locks the lane's checkpoint for this owner; division by zero when another owns it, so that the server
/// refuses everything after it in the transaction.
const GUARD: &str = "SELECT 1 / count(*) FROM (SELECT 1 FROM rosetta.checkpoint WHERE pipeline = $1 \
     AND destination = $2 AND worker = $3::text::int AND epoch = $4::text::bigint FOR UPDATE) AS owned";
/// The same, and moves the position.
const ADVANCE: &str = "WITH owned AS (UPDATE rosetta.checkpoint SET commit_lsn = $5::text::pg_lsn, updated_at = now() \
     WHERE pipeline = $1 AND destination = $2 AND worker = $3::text::int AND epoch = $4::text::bigint RETURNING 1) \
     SELECT 1 / count(*) FROM owned";
const FLUSHED: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()";

const MISSING: &str = "rows that the source updated or deleted are not at the destination: does somebody else write there? \
     compare with rosetta verify";

/// Applies batches to one destination over one connection, each in a transaction that begins with the
/// fence and ends with the checkpoint.
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) requests: Requests,
    pub(super) rows: RowWriter,
    pub(super) lane: Lane,
    pub(super) epoch: Epoch,
    pub(super) format: Format,
    /// By the source table's oid.
    targets: HashMap<u32, Vec<Target>>,
    layouts: HashMap<u32, (Arc<SourceTable>, Vec<Arc<Layout>>)>,
    layout_count: u32,
    /// The position in the destination when this session began.
    resumed_at: Lsn,
    /// Parts of the source transaction that is open at the destination.
    parts: u32,
    /// Commits that may not be on disk yet: the destination's position after each, and the source's.
    unflushed: VecDeque<(Lsn, Lsn)>,
    durable: Lsn,
    missing: MissingRows,
    /// Where changes go that the destination refuses; None: they end the pipeline.
    pub(super) parking: Option<Parking>,
}

/// A batch, and how it is to be written.
pub(super) struct Work<'a> {
    pub(super) batch: &'a Batch,
    pub(super) mode: Mode,
    /// What of it is not written.
    pub(super) aside: &'a Aside,
    /// Changes of transactions before this position are at the destination already.
    pub(super) floor: Lsn,
    pub(super) whole: bool,
    /// The first try: nothing was undone yet.
    pub(super) is_first: bool,
    /// For letters that come home: what crosses them off. None for changes from the stream.
    pub(super) closing: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Net,
    /// As `Net`, but rows that change are deleted and come again.
    Replace,
    /// Change by change.
    InOrder,
}

impl Mode {
    /// What may succeed where this mode violated a constraint: a unique value that went from row to row, a
    /// foreign key, a TRUNCATE that a foreign key forbids.
    pub(super) fn after(self, failure: &Failure) -> Option<Mode> {
        let code = failure.error.code().unwrap_or_default();
        let depends_on_order = matches!(failure.purpose, Purpose::Rows { .. } | Purpose::Truncate | Purpose::Commit)
            && (code.starts_with("23") || code == sqlstate::FEATURE_NOT_SUPPORTED);
        match self {
            Mode::Net if depends_on_order => Some(Mode::Replace),
            Mode::Replace if depends_on_order => Some(Mode::InOrder),
            Mode::Net | Mode::Replace | Mode::InOrder => None,
        }
    }
}

impl Writer {
    /// A writer on a session that `takeover` has prepared, which stands at `resumed_at`.
    pub fn new(
        connection: Connection,
        lane: Lane,
        epoch: Epoch,
        format: Format,
        targets: Vec<Target>,
        resumed_at: Lsn,
    ) -> Writer {
        let mut by_source: HashMap<_, Vec<Target>> = HashMap::new();
        for target in targets {
            by_source.entry(target.source_oid).or_default().push(target);
        }
        Writer {
            connection,
            requests: Requests::default(),
            rows: RowWriter::default(),
            lane,
            epoch,
            format,
            targets: by_source,
            layouts: HashMap::new(),
            layout_count: 0,
            resumed_at,
            parts: 0,
            unflushed: VecDeque::new(),
            durable: resumed_at,
            missing: MissingRows::default(),
            parking: None,
        }
    }

    /// From now on changes that the destination refuses are set aside.
    pub fn set_parking(&mut self, parking: Parking) {
        self.parking = Some(parking);
    }

    /// Prepares the statements of the fence.
    ///
    /// # Errors
    /// The destination's.
    pub async fn prepare(&mut self) -> Result<(), DestinationError> {
        self.prepare_fence().map_err(|failure| self.judge(failure))?;
        self.requests.finish(&mut self.connection).await.map_err(|failure| self.judge(failure))?;
        Ok(())
    }

    /// Applies a batch; commits when it ends with its source transaction.
    ///
    /// # Errors
    /// Fenced, or what the destination says against the changes. The transaction is then not committed,
    /// or, when the connection was lost, not known to be.
    pub async fn apply(&mut self, batch: &Batch) -> Result<Applied, DestinationError> {
        if self.is_behind_us(batch) {
            return Ok(self.applied(None, 0));
        }
        let whole = self.parts == 0 && batch.end.is_some();
        let (outcome, aside) = self.write(batch, whole).await?;
        let missing = self.note_missing(&outcome);
        self.settle(aside, batch);
        let Some(end) = batch.end else {
            self.parts += 1;
            return Ok(self.applied(None, missing));
        };
        let committed = match whole {
            true => outcome,
            false => self.commit_parts(end.lsn).await.map_err(|failure| self.judge(failure))?,
        };
        self.parts = 0;
        if !committed.committed {
            return Err(PgError::protocol("COMMIT did not commit").into());
        }
        self.note_commit(end.lsn, committed.asked.first())?;
        self.forget_emptied().await;
        Ok(self.applied(Some(end.lsn), missing))
    }

    /// Writes a batch, by the first way that the destination accepts; changes that it refuses in every way are set
    /// aside.
    async fn write(&mut self, batch: &Batch, whole: bool) -> Result<(Outcome, Aside), DestinationError> {
        let mut verdicts = Verdicts::default();
        let mut aside = self.set_aside(batch, &verdicts).await?;
        let (mut mode, mut is_first) = (Mode::Net, true);
        loop {
            let work = Work { batch, mode, aside: &aside, floor: self.resumed_at, whole, is_first, closing: None };
            let failure = match self.attempt(&work).await {
                Ok(outcome) => return Ok((outcome, aside)),
                Err(failure) => failure,
            };
            is_first = false;
            match mode.after(&failure) {
                Some(next) => mode = next,
                None if self.may_set_aside(&failure, true) => {
                    self.undo_part(whole).await.map_err(|failure| self.judge(failure))?;
                    self.sift(&work, &mut verdicts, failure).await?;
                    aside = self.set_aside(batch, &verdicts).await?;
                    mode = Mode::Net;
                    continue;
                }
                None => return Err(self.judge(failure)),
            }
            self.undo_part(whole).await.map_err(|failure| self.judge(failure))?;
        }
    }

    /// Asks how far the destination has written its commits to disk.
    ///
    /// # Errors
    /// The destination's.
    pub async fn poll_durable(&mut self) -> Result<Lsn, DestinationError> {
        self.ask_flushed().map_err(|failure| self.judge(failure))?;
        let outcome = self.requests.finish(&mut self.connection).await.map_err(|failure| self.judge(failure))?;
        if let Some(row) = outcome.asked.first() {
            self.note_flushed(row.parse(1)?);
        }
        Ok(self.durable)
    }

    /// Whether something committed may not be on disk yet.
    pub fn has_unflushed(&self) -> bool {
        !self.unflushed.is_empty()
    }

    /// The process that serves this session at the destination.
    pub fn backend_pid(&self) -> i32 {
        self.connection.backend_pid()
    }

    /// Ends the session; an open transaction is rolled back.
    pub async fn close(self) {
        self.connection.close().await;
    }

    pub(super) async fn attempt(&mut self, work: &Work<'_>) -> Result<Outcome, Failure> {
        self.open_part(work)?;
        for segment in &work.batch.segments {
            match segment {
                Segment::Net(tables) if work.mode != Mode::InOrder => self.write_net(work, tables).await?,
                Segment::Net(tables) | Segment::InOrder(tables) => self.write_in_order(work, tables).await?,
                Segment::Truncate { relations, restart_identity, transaction, .. } => {
                    self.write_truncate(work, relations, *restart_identity, *transaction)?;
                }
            }
        }
        match work.closing {
            Some(sql) => self.requests.simple(&mut self.connection, Purpose::Control, sql)?,
            None if !work.aside.is_empty() => self.record_aside(work.aside)?,
            None => {}
        }
        if work.whole {
            self.requests.simple(&mut self.connection, Purpose::Commit, "COMMIT")?;
            self.ask_flushed()?;
        }
        self.requests.finish(&mut self.connection).await
    }

    /// What comes before the rows: BEGIN and the fence, or a savepoint inside a transaction that goes on.
    fn open_part(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        if self.parts == 0 && (work.is_first || work.whole) {
            self.requests.simple(&mut self.connection, Purpose::Control, "BEGIN")?;
            match work.batch.end {
                Some(end) => self.fence("advance", Some(end.lsn))?,
                None => self.fence("guard", None)?,
            }
        }
        if work.is_first && !work.whole {
            let sql = if self.parts > 0 { "RELEASE part; SAVEPOINT part" } else { "SAVEPOINT part" };
            self.requests.simple(&mut self.connection, Purpose::Control, sql)?;
        }
        if work.mode != Mode::Net {
            self.requests.simple(&mut self.connection, Purpose::Control, "SET CONSTRAINTS ALL DEFERRED")?;
        }
        Ok(())
    }

    /// Back to where the failed part began.
    pub(super) async fn undo_part(&mut self, whole: bool) -> Result<(), Failure> {
        self.undo(if whole { "ROLLBACK" } else { "ROLLBACK TO part" }).await
    }

    /// Goes back by this statement, after a failure in the midst of others.
    pub(super) async fn undo(&mut self, sql: &str) -> Result<(), Failure> {
        self.rows.reset();
        self.requests.simple(&mut self.connection, Purpose::Control, sql)?;
        self.requests.simple(&mut self.connection, Purpose::Control, "DEALLOCATE ALL")?;
        self.prepare_fence()?;
        self.requests.finish(&mut self.connection).await.map(drop)
    }

    fn prepare_fence(&mut self) -> Result<(), Failure> {
        let out = self.connection.out();
        for (name, sql) in [("guard", GUARD), ("advance", ADVANCE), ("flushed", FLUSHED)] {
            frontend::parse(name, sql, [], out)?;
        }
        frontend::sync(out);
        self.requests.expect(Purpose::Control);
        Ok(())
    }

    async fn commit_parts(&mut self, end: Lsn) -> Result<Outcome, Failure> {
        self.fence("advance", Some(end))?;
        self.requests.simple(&mut self.connection, Purpose::Commit, "COMMIT")?;
        self.ask_flushed()?;
        self.requests.finish(&mut self.connection).await
    }

    pub(super) fn fence(&mut self, statement: &str, position: Option<Lsn>) -> Result<(), Failure> {
        let mut parameters = vec![
            self.lane.pipeline.clone(),
            self.lane.destination.clone(),
            self.lane.worker.to_string(),
            self.epoch.to_string(),
        ];
        parameters.extend(position.map(|position| position.to_string()));
        self.execute(statement, &parameters)?;
        self.requests.expect(Purpose::Fence);
        Ok(())
    }

    pub(super) fn ask_flushed(&mut self) -> Result<(), Failure> {
        self.execute("flushed", &[])?;
        self.requests.expect(Purpose::Ask);
        Ok(())
    }

    fn execute(&mut self, statement: &str, parameters: &[String]) -> Result<(), Failure> {
        let out = self.connection.out();
        let write = |value: &String, buffer: &mut bytes::BytesMut| {
            buffer.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind("", statement, [], parameters, write, [], out)
            .map_err(|_| PgError::protocol("a fence that does not fit into a message"))?;
        frontend::execute("", 0, out)?;
        frontend::sync(out);
        Ok(())
    }

    async fn write_net(&mut self, work: &Work<'_>, tables: &[TableChanges]) -> Result<(), Failure> {
        let batch = work.batch;
        for table in tables {
            for layout in self.layouts(&table.table)? {
                let start = work.floor.max(layout.start);
                let all_new = batch.transactions.first().is_none_or(|first| *first >= start);
                let wanted: Vec<Change>;
                let changes = if all_new && work.aside.is_empty() {
                    table.changes.as_slice()
                } else {
                    let is_wanted = |change: &&Change| is_after(batch, change, start) && !work.aside.skips(change);
                    wanted = table.changes.iter().filter(is_wanted).copied().collect();
                    wanted.as_slice()
                };
                let replace = work.mode == Mode::Replace;
                self.rows.write_net(&mut self.connection, &mut self.requests, &layout, table, changes, replace).await?;
            }
        }
        Ok(())
    }

    async fn write_in_order(&mut self, work: &Work<'_>, tables: &[TableChanges]) -> Result<(), Failure> {
        let placed = self.placed(work, tables)?;
        self.rows.write_in_order(&mut self.connection, &mut self.requests, &placed).await
    }

    /// The changes of these tables that are to be written, in the source's order.
    pub(super) fn placed<'a>(
        &mut self,
        work: &Work<'_>,
        tables: &'a [TableChanges],
    ) -> Result<Vec<Placed<'a>>, Failure> {
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for table in tables {
            for layout in self.layouts(&table.table)? {
                let start = work.floor.max(layout.start);
                let is_wanted = |change: &&Change| is_after(work.batch, change, start) && !work.aside.skips(change);
                let wanted = table.changes.iter().filter(is_wanted);
                placed.extend(wanted.map(|change| (table, *change, Arc::clone(&layout))));
            }
        }
        placed.sort_by_key(|(_, change, _)| change.place());
        Ok(placed)
    }

    pub(super) fn write_truncate(
        &mut self,
        work: &Work<'_>,
        relations: &[Arc<SourceTable>],
        restart_identity: bool,
        transaction: u32,
    ) -> Result<(), Failure> {
        let commit_lsn = work.batch.transactions.get(transaction as usize).copied().unwrap_or_default();
        let mut tables = Vec::new();
        for relation in relations {
            let layouts = self.layouts(relation)?;
            let wanted = layouts.iter().filter(|layout| commit_lsn >= work.floor.max(layout.start));
            tables.extend(wanted.map(|layout| layout.table_sql.clone()));
        }
        if tables.is_empty() {
            return Ok(());
        }
        // A foreign key from a table that is not truncated forbids TRUNCATE, at the destination alone
        // when that table is not replicated: then the rows are deleted.
        let sql = match work.mode {
            Mode::Net | Mode::Replace if restart_identity => format!("TRUNCATE {} RESTART IDENTITY", tables.join(", ")),
            Mode::Net | Mode::Replace => format!("TRUNCATE {}", tables.join(", ")),
            Mode::InOrder => tables.iter().map(|table| format!("DELETE FROM {table}")).collect::<Vec<_>>().join("; "),
        };
        self.requests.simple(&mut self.connection, Purpose::Truncate, &sql)
    }

    /// How the table is laid out at each of its targets here.
    pub(super) fn layouts(&mut self, table: &Arc<SourceTable>) -> Result<Vec<Arc<Layout>>, Failure> {
        if let Some((known, layouts)) = self.layouts.get(&table.relation.oid)
            && Arc::ptr_eq(known, table)
        {
            return Ok(layouts.clone());
        }
        let mut layouts = Vec::new();
        for target in self.targets.get(&table.relation.oid).map(Vec::as_slice).unwrap_or_default() {
            let layout = Layout::new(table, target, self.format, self.layout_count)
                .map_err(|error| PgError::Drift(error.to_string()))?;
            self.layout_count += 1;
            layouts.push(Arc::new(layout));
        }
        self.layouts.insert(table.relation.oid, (Arc::clone(table), layouts.clone()));
        Ok(layouts)
    }

    /// Whether changes of this table in the transaction at `commit_lsn` are to be written to any target.
    pub(super) fn is_wanted(&self, floor: Lsn, oid: u32, commit_lsn: Lsn) -> bool {
        let targets = self.targets.get(&oid).map(Vec::as_slice).unwrap_or_default();
        targets.iter().any(|target| commit_lsn >= floor.max(target.start))
    }

    /// Whether changes of this source table are written here.
    pub fn is_mine(&self, oid: u32) -> bool {
        self.targets.contains_key(&oid)
    }

    /// How many letters wait at this lane.
    pub fn letters(&self) -> u64 {
        self.parking.as_ref().map_or(0, Parking::letters)
    }

    /// A source transaction is open at the destination.
    pub(super) fn has_open_parts(&self) -> bool {
        self.parts > 0
    }

    /// The form of the values to come.
    pub fn set_format(&mut self, format: Format) {
        if self.format != format {
            self.format = format;
            self.layouts.clear();
        }
    }

    pub(super) fn resumed_at(&self) -> Lsn {
        self.resumed_at
    }

    /// Nothing was committed since this session began.
    pub(super) fn has_just_begun(&self) -> bool {
        self.unflushed.is_empty() && self.durable == self.resumed_at
    }

    /// Everything in the batch was applied before this session began.
    fn is_behind_us(&self, batch: &Batch) -> bool {
        match batch.end {
            Some(end) => end.lsn <= self.resumed_at,
            None => self.parts == 0 && batch.transactions.iter().all(|commit_lsn| *commit_lsn < self.resumed_at),
        }
    }

    fn note_commit(&mut self, position: Lsn, flushed: Option<&Row>) -> Result<(), DestinationError> {
        let row = flushed.ok_or_else(|| PgError::protocol("no flush position after COMMIT"))?;
        self.unflushed.push_back((row.parse(0)?, position));
        self.note_flushed(row.parse(1)?);
        Ok(())
    }

    fn note_flushed(&mut self, flushed: Lsn) {
        while let Some((_, position)) = self.unflushed.pop_front_if(|(local, _)| *local <= flushed) {
            self.durable = self.durable.max(position);
        }
    }

    /// Counts the rows that were not there, and tells of them.
    fn note_missing(&mut self, outcome: &Outcome) -> u64 {
        for (layout, count) in &outcome.missing_rows {
            let layouts = self.layouts.values().flat_map(|(_, layouts)| layouts);
            let Some(found) = layouts.into_iter().find(|known| known.id == *layout) else { continue };
            if let Some(rows) = self.missing.note(&found.table_sql, *count, Instant::now()) {
                let (destination, table) = (&self.lane.destination, &found.table_sql);
                tracing::warn!(destination, table, rows, "{MISSING}");
            }
        }
        outcome.missing_rows.values().sum()
    }

    fn applied(&self, committed: Option<Lsn>, missing_rows: u64) -> Applied {
        Applied { committed, durable: self.durable, missing_rows }
    }

    pub(super) fn judge(&self, failure: Failure) -> DestinationError {
        let code = failure.error.code();
        if failure.purpose == Purpose::Fence && code == Some(sqlstate::DIVISION_BY_ZERO) {
            return DestinationError::Fenced { epoch: self.epoch };
        }
        DestinationError::Postgres { server: self.connection.server().to_owned(), source: failure.error }
    }
}

fn is_after(batch: &Batch, change: &Change, start: Lsn) -> bool {
    batch.transactions.get(change.transaction as usize).is_none_or(|commit_lsn| *commit_lsn >= start)
}
