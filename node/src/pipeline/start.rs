//! What happens before a pipeline streams: look, refuse or claim, make what is missing, copy.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use rosetta_proto::{Epoch, Lsn};
use tokio::time::{Instant, sleep};

use super::{
    PipelineError,
    follow::{Follow, LaneStart},
    intake::{Catalog, CatalogTable},
    job::{Job, JobDestination},
    selection::{self, Selected},
    status::State,
};
use crate::{
    config::SnapshotMode,
    destination::{
        Destination,
        null::Null,
        postgres::{Format, Lane, Origin, Phase, TakenOver, Target, TargetColumn, Writer, checkpoint, open_session},
    },
    postgres::{Connection, PgError, PgUrl, Session, ident, qualified, sqlstate},
    schema::{self, TargetTable, Transfer, Wanted},
    snapshot::{CopyJob, CopyOwner, CopyTable, Piece, copy_all, stream_starts},
    source::{
        publication,
        slot::{self, NewSlot, Slot},
        stream::ReplicationStream,
    },
};

/// For the walsender of an owner that was just ended to let go of the slot.
const SLOT_RELEASE: Duration = Duration::from_secs(15);
/// Pairs of connections that copy side by side.
const COPY_JOBS: usize = 4;

/// A PostgreSQL destination whose tables fit, with what leads where.
struct Prepared {
    name: String,
    url: PgUrl,
    session: Connection,
    /// The newest epoch that its checkpoints hold.
    known: Epoch,
    tables: Vec<(usize, TargetTable)>,
}

impl Prepared {
    /// The destination as messages call it.
    fn label(&self) -> String {
        format!("{} ({})", self.name, self.url.server())
    }
}

/// The pipeline's claim on everything it touches.
struct Claim {
    epoch: Epoch,
    origin: Origin,
    /// One for each of `Prepared`.
    taken: Vec<TakenOver>,
}

/// Brings the pipeline to the point where its stream runs.
///
/// # Errors
/// What is in the way; whatever can be checked is checked before anything is made at the source.
pub async fn start(job: &Job) -> Result<Follow, PipelineError> {
    job.status.update(|figures| figures.state = State::Starting);
    let mut source = connect_source(job).await?;
    let selected = select_tables(job, &mut source).await?;
    check_publication(job, &mut source).await?;
    let found = slot::find(&mut source, &job.definition.slot).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    check_slot(job, found.as_ref())?;
    let mut prepared = Vec::new();
    for destination in &job.destinations {
        if let Some(url) = &destination.url {
            prepared.push(prepare_destination(job, &mut source, destination, url, &selected).await?);
        }
    }
    check_unclaimed_slot(job, found.as_ref(), &prepared)?;
    let claim = claim(job, &mut source, &mut prepared).await?;
    let epoch = claim.epoch;
    job.status.update(|figures| figures.epoch = epoch);
    check_continuity(job, &claim, found.as_ref()).await?;
    let publications = ensure_publications(job, &mut source, &selected).await?;
    let positions = reach_stream(job, &mut source, &mut prepared, &claim, &selected, &publications).await?;
    let binary = is_binary(&prepared);
    let stream = start_stream(job, &mut source, epoch, &positions, &publications, binary).await?;
    let lanes = open_lanes(job, prepared, &claim, &positions, binary).await?;
    let catalog = catalog(job, &selected);
    source.close().await;
    let (workers, limits, status) = (job.definition.apply_workers, job.limits, std::sync::Arc::clone(&job.status));
    Ok(Follow { stream, lanes, workers, catalog, limits, status })
}

async fn connect_source(job: &Job) -> Result<Connection, PipelineError> {
    let server = job.source_label();
    let failed = |error| PipelineError::source(&server, error);
    let session = Session::sql(job.application_name(Epoch::NONE));
    let mut source = Connection::connect(&job.source, &session).await.map_err(failed)?;
    if source.server_version() < 14 {
        return Err(PipelineError::Refused(format!("source {server} is PostgreSQL {}; 14 or newer is needed", source.server_version())));
    }
    let rows = source.simple("SELECT pg_catalog.current_setting('wal_level'), \
         (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), current_user").await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| failed(PgError::protocol("no answer")))?;
    if row.get(0) != Some("logical") {
        let level = row.get(0).unwrap_or_default();
        return Err(PipelineError::Refused(format!(
            "source {server} has wal_level = {level}, and logical is needed: ALTER SYSTEM SET wal_level = logical, then restart it"
        )));
    }
    if !row.is_true(1) {
        let role = row.get(2).unwrap_or_default();
        return Err(PipelineError::Refused(format!(
            "role {role} at source {server} has no right to replicate: ALTER ROLE {} REPLICATION", ident(role)
        )));
    }
    Ok(source)
}

async fn select_tables(job: &Job, source: &mut Connection) -> Result<Vec<Selected>, PipelineError> {
    let tables = schema::read_tables(source).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    let selected = selection::select(&job.definition, tables).map_err(PipelineError::Refused)?;
    let uses_lists = selected.iter().any(|table| table.filter.is_some() || selection::columns(table).is_some());
    if uses_lists && source.server_version() < 15 {
        return Err(PipelineError::Refused("column lists and row filters need PostgreSQL 15 or newer at the source".to_owned()));
    }
    if uses_lists && job.definition.publication.is_some() {
        return Err(PipelineError::Refused(
            "columns and filter are part of a publication: leave `publication` out so that Rosetta makes one, or put them into yours".to_owned(),
        ));
    }
    Ok(selected)
}

/// A publication of the user's is used as it is, and must be there before anything is made.
async fn check_publication(job: &Job, source: &mut Connection) -> Result<(), PipelineError> {
    let Some(name) = &job.definition.publication else { return Ok(()) };
    let tables = publication::tables_of(source, name).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    match tables {
        Some(_) => Ok(()),
        None => Err(PipelineError::Refused(format!(
            "publication '{name}' does not exist at the source: create it, or leave `publication` out so that Rosetta makes one"
        ))),
    }
}

async fn prepare_destination(
    job: &Job,
    source: &mut Connection,
    destination: &JobDestination,
    url: &PgUrl,
    selected: &[Selected],
) -> Result<Prepared, PipelineError> {
    let server = format!("{} ({})", destination.name, url.server());
    let failed = |error| PipelineError::destination(&server, error);
    let mut session = open_session(url, &job.application_name(Epoch::NONE)).await.map_err(failed)?;
    let read_only = session.simple("SELECT pg_catalog.current_setting('transaction_read_only')").await.map_err(failed)?;
    if read_only.first().and_then(|row| row.get(0)) == Some("on") {
        return Err(PipelineError::Refused(format!(
            "destination {server} is read-only: is it a standby, or is default_transaction_read_only on?"
        )));
    }
    checkpoint::install(&mut session).await.map_err(failed)?;
    let known = checkpoint::newest_epoch(&mut session, &job.definition.name, &destination.name).await.map_err(failed)?;
    let mut wanted = Vec::new();
    let mut indexes = Vec::new();
    for (index, table) in selected.iter().enumerate() {
        for route in table.routes.iter().filter(|route| route.leads_to(&destination.name)) {
            let (source, target, columns) = (table.table.clone(), route.target.clone(), route.columns.clone());
            wanted.push(Wanted { source, target, columns });
            indexes.push(index);
        }
    }
    let tables = Box::pin(schema::prepare(source, &mut session, &wanted)).await?;
    for warning in tables.iter().flat_map(|table| &table.warnings) {
        tracing::warn!(destination = destination.name, "{warning}");
    }
    let tables = indexes.into_iter().zip(tables).collect();
    Ok(Prepared { name: destination.name.clone(), url: url.clone(), session, known, tables })
}

/// Takes the pipeline over at every destination, with one epoch for all, and ends what older owners left.
async fn claim(job: &Job, source: &mut Connection, prepared: &mut [Prepared]) -> Result<Claim, PipelineError> {
    let server = job.source_label();
    let failed = |error| PipelineError::source(&server, error);
    let session = Session::replication(job.application_name(Epoch::NONE));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let origin = slot::identify(&mut replication, &job.definition.slot).await.map_err(failed)?;
    replication.close().await;
    let pipeline = &job.definition.name;
    let newest = prepared.iter().map(|destination| destination.known).max().unwrap_or(Epoch::NONE);
    let epoch = job.ownership.claim(pipeline, newest)?;
    let mut taken = Vec::new();
    for destination in prepared.iter_mut() {
        let server = destination.label();
        let failed = |error| PipelineError::destination(&server, error);
        checkpoint::end_older_sessions(&mut destination.session, pipeline, epoch).await.map_err(failed)?;
        let workers = job.definition.apply_workers;
        let session = &mut destination.session;
        taken.push(checkpoint::take_over(session, pipeline, &destination.name, workers, epoch, &origin).await?);
        let name = format!("SET application_name = {}", crate::postgres::literal(&job.application_name(epoch)));
        session.simple(&name).await.map_err(failed)?;
    }
    slot::end_older_reader(source, &job.definition.slot, epoch.0).await.map_err(failed)?;
    Ok(Claim { epoch, origin, taken })
}

async fn ensure_publications(job: &Job, source: &mut Connection, selected: &[Selected]) -> Result<Vec<String>, PipelineError> {
    if let Some(name) = &job.definition.publication {
        return Ok(vec![name.clone()]);
    }
    let wanted = selection::publications(&job.definition.source, &job.definition.name, selected).map_err(PipelineError::Refused)?;
    for publication in &wanted {
        publication::ensure(source, publication).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    }
    Ok(wanted.into_iter().map(|publication| publication.name).collect())
}

/// The lanes' positions, by destination and worker, once every destination is in phase `streaming`:
/// the slot is made and tables are copied where that was not done yet.
async fn reach_stream(
    job: &Job,
    source: &mut Connection,
    prepared: &mut [Prepared],
    claim: &Claim,
    selected: &[Selected],
    publications: &[String],
) -> Result<Vec<Vec<Lsn>>, PipelineError> {
    let name = &job.definition.slot;
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let found = slot::find(source, name).await.map_err(failed)?;
    let is_new = claim.taken.iter().all(|taken| taken.phase == Phase::New);
    let session = Session::replication(job.application_name(claim.epoch));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let mut begin = found.as_ref().and_then(|slot| slot.confirmed);
    let mut snapshot = None;
    if is_new && let Some(made) = make_slot(job, source, &mut replication, claim, found.as_ref(), publications).await? {
        begin = Some(made.consistent_point);
        snapshot = Some(made);
    }
    let begin = begin.ok_or_else(|| PipelineError::Internal(format!("slot {name} has no position")))?;
    let needs_copy = job.definition.snapshot == SnapshotMode::Initial && claim.taken.iter().any(|taken| taken.phase != Phase::Streaming);
    let mut positions = Vec::new();
    if needs_copy {
        let snapshot = match snapshot {
            Some(made) => made,
            // The snapshot of the first try is gone with its session; what is left is copied from a new one.
            None => slot::create(&mut replication, &temporary_name(name), true, true).await.map_err(failed)?,
        };
        for (destination, taken) in prepared.iter_mut().zip(&claim.taken) {
            if taken.phase != Phase::Streaming {
                enter(destination, job, claim, Phase::Copying, taken.positions.first().copied().flatten().unwrap_or(begin)).await?;
                Box::pin(copy(job, source, destination, claim, selected, &snapshot)).await?;
            }
        }
    }
    replication.close().await;
    for (destination, taken) in prepared.iter_mut().zip(&claim.taken) {
        let here: Vec<Lsn> = taken.positions.iter().map(|position| position.unwrap_or(begin)).collect();
        if taken.phase != Phase::Streaming {
            enter(destination, job, claim, Phase::Streaming, here.first().copied().unwrap_or(begin)).await?;
        }
        positions.push(here);
    }
    if positions.is_empty() {
        positions.push(vec![begin; job.definition.apply_workers]);
    }
    Ok(positions)
}

fn temporary_name(slot: &str) -> String {
    format!("{}_copy", slot.get(..slot.len().min(50)).unwrap_or(slot))
}

/// Whether the slot of our name is one that we can use.
fn check_slot(job: &Job, found: Option<&Slot>) -> Result<(), PipelineError> {
    let Some(slot) = found else { return Ok(()) };
    let name = &job.definition.slot;
    if slot.plugin != "pgoutput" {
        return Err(PipelineError::Refused(format!(
            "slot {name} belongs to another program (its plugin is {}): name another one with slot = \"…\"", slot.plugin
        )));
    }
    if slot.database != job.source.database {
        return Err(PipelineError::Refused(format!(
            "slot {name} belongs to database '{}': name another one with slot = \"…\"", slot.database
        )));
    }
    Ok(())
}

/// A slot that no destination knows of was not made by us, and may be anybody's.
fn check_unclaimed_slot(job: &Job, found: Option<&Slot>, prepared: &[Prepared]) -> Result<(), PipelineError> {
    let name = &job.definition.slot;
    let copies = job.definition.snapshot == SnapshotMode::Initial && !prepared.is_empty();
    if found.is_none() || !copies || prepared.iter().any(|destination| destination.known != Epoch::NONE) {
        return Ok(());
    }
    Err(PipelineError::Refused(format!(
        "slot {name} exists, but the destination has no checkpoint: to copy afresh, drop it with \
         SELECT pg_drop_replication_slot('{name}') at the source; to go on from its position, use snapshot = \"never\""
    )))
}

async fn check_continuity(job: &Job, claim: &Claim, found: Option<&Slot>) -> Result<(), PipelineError> {
    for taken in claim.taken.iter().filter(|taken| taken.phase != Phase::New) {
        for position in taken.positions.iter().copied().flatten() {
            slot::check_continuity(&taken.origin, &claim.origin, found, position)?;
            if taken.origin.timeline != claim.origin.timeline {
                check_timeline(job, taken, claim, position).await?;
            }
        }
    }
    Ok(())
}

/// After a failover of the source: what the destination has must lie on the history that went on.
async fn check_timeline(job: &Job, taken: &TakenOver, claim: &Claim, position: Lsn) -> Result<(), PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let session = Session::replication(job.application_name(Epoch::NONE));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let (from, to) = (taken.origin.timeline, claim.origin.timeline);
    let branched = slot::branch_point(&mut replication, from, to).await.map_err(failed)?.unwrap_or(Lsn::ZERO);
    replication.close().await;
    if position > branched {
        return Err(slot::Discontinuity::TimelineDiverged { from, to, branched, position }.into());
    }
    Ok(())
}

/// Makes the slot of a new pipeline; None when one is there that may be used as it is.
async fn make_slot(
    job: &Job,
    source: &mut Connection,
    replication: &mut Connection,
    claim: &Claim,
    found: Option<&Slot>,
    publications: &[String],
) -> Result<Option<NewSlot>, PipelineError> {
    let name = &job.definition.slot;
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let copies = job.definition.snapshot == SnapshotMode::Initial && !claim.taken.is_empty();
    if let Some(slot) = found {
        if !copies {
            return Ok(None);
        }
        // No destination records a position, yet each records the claim, which is only made while there is
        // no such slot: a try of ours made it and ended before its position was recorded.
        if slot.is_active {
            slot::end_older_reader(source, name, claim.epoch.0).await.map_err(failed)?;
        }
        slot::drop_slot(source, name).await.map_err(failed)?;
    }
    match slot::create(replication, name, false, copies).await {
        Ok(made) => Ok(Some(made)),
        Err(error) => {
            abandon_publications(job, source, publications).await;
            Err(failed(error))
        }
    }
}

/// A publication that no slot of ours reads is not left behind.
async fn abandon_publications(job: &Job, source: &mut Connection, publications: &[String]) {
    if job.definition.publication.is_some() {
        return;
    }
    let ours = "SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE 'rosetta\\_%' \
                AND database = pg_catalog.current_database()";
    if source.simple(ours).await.is_ok_and(|rows| rows.is_empty()) {
        for publication in publications {
            let _ = publication::drop_publication(source, publication).await;
        }
    }
}

async fn enter(destination: &mut Prepared, job: &Job, claim: &Claim, phase: Phase, position: Lsn) -> Result<(), PipelineError> {
    let lane = (job.definition.name.as_str(), destination.name.as_str());
    let timeline = claim.origin.timeline;
    let owned = checkpoint::set_phase(&mut destination.session, lane, claim.epoch, phase, position, timeline)
        .await
        .map_err(|error| PipelineError::destination(&destination.label(), error))?;
    if owned { Ok(()) } else { Err(PipelineError::Fenced("another process has taken this pipeline over".to_owned())) }
}

async fn copy(
    job: &Job,
    source: &mut Connection,
    destination: &mut Prepared,
    claim: &Claim,
    selected: &[Selected],
    snapshot: &NewSlot,
) -> Result<(), PipelineError> {
    job.status.update(|figures| figures.state = State::Copying);
    let mut tables = Vec::new();
    for (index, target) in &destination.tables {
        if let Some(table) = selected.get(*index) {
            tables.push(copy_table(job, source, table, target).await?);
        }
    }
    let (pipeline, name) = (job.definition.name.clone(), destination.name.clone());
    let copy = CopyJob {
        owner: CopyOwner { pipeline, destination: name, epoch: claim.epoch },
        source: job.source.clone(),
        destination: destination.url.clone(),
        snapshot: snapshot.snapshot.clone().unwrap_or_default(),
        snapshot_lsn: snapshot.consistent_point,
        jobs: COPY_JOBS,
        status: std::sync::Arc::clone(&job.status),
    };
    Ok(copy_all(&copy, tables).await?)
}

async fn copy_table(job: &Job, source: &mut Connection, selected: &Selected, target: &TargetTable) -> Result<CopyTable, PipelineError> {
    let table = &selected.table;
    let mut pieces = Vec::new();
    if selection::is_partitioned(table) {
        let sql = format!(
            "SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) / 8192 FROM pg_catalog.pg_partition_tree({}::oid) t \
             JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf",
            table.oid
        );
        for row in source.simple(&sql).await.map_err(|error| PipelineError::source(&job.source_label(), error))? {
            let (schema, name) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
            pieces.push(Piece { schema, name, pages: row.parse(2)? });
        }
    } else {
        pieces.push(Piece { schema: table.schema.clone(), name: table.name.clone(), pages: table.approximate_pages });
    }
    Ok(CopyTable {
        source_name: table.table_name().to_string(),
        pieces,
        target_name: format!("{}.{}", target.target_schema, target.target_name),
        target_sql: qualified(&target.target_schema, &target.target_name),
        columns_sql: target.columns.iter().map(|column| ident(&column.name)).collect(),
        filter: selected.filter.clone(),
        binary: target.columns.iter().all(|column| column.transfer == Transfer::Binary),
    })
}

/// Values travel in binary only when every column of every table may; it is one option for the whole stream.
fn is_binary(prepared: &[Prepared]) -> bool {
    let columns = prepared.iter().flat_map(|destination| &destination.tables).flat_map(|(_, table)| &table.columns);
    columns.into_iter().all(|column| column.transfer == Transfer::Binary)
}

async fn start_stream(
    job: &Job,
    source: &mut Connection,
    epoch: Epoch,
    positions: &[Vec<Lsn>],
    publications: &[String],
    binary: bool,
) -> Result<ReplicationStream, PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let slot = &job.definition.slot;
    let position = positions.iter().flatten().copied().min().unwrap_or_default();
    let deadline = Instant::now() + SLOT_RELEASE;
    loop {
        let session = Session::replication(job.application_name(epoch));
        let replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
        match ReplicationStream::start(replication, slot, position, publications, binary).await {
            Err(error) if error.code() == Some(sqlstate::OBJECT_IN_USE) && Instant::now() < deadline => {
                slot::end_older_reader(source, slot, epoch.0).await.map_err(failed)?;
                // The only sign that the server gives is that the next try succeeds.
                sleep(Duration::from_millis(50)).await;
            }
            result => return result.map_err(failed),
        }
    }
}

async fn open_lanes(
    job: &Job,
    prepared: Vec<Prepared>,
    claim: &Claim,
    positions: &[Vec<Lsn>],
    binary: bool,
) -> Result<Vec<LaneStart>, PipelineError> {
    let format = if binary { Format::Binary } else { Format::Text };
    let mut lanes = Vec::new();
    for (mut destination, positions) in prepared.into_iter().zip(positions) {
        let (pipeline, name) = (job.definition.name.clone(), destination.name.clone());
        let owner = CopyOwner { pipeline, destination: name, epoch: claim.epoch };
        let server = destination.label();
        let failed = |error| PipelineError::destination(&server, error);
        let starts = stream_starts(&mut destination.session, &owner).await.map_err(failed)?;
        let targets = targets(&destination.tables, &starts);
        let mut session = Some(destination.session);
        for (worker, position) in positions.iter().enumerate() {
            let connection = match session.take() {
                Some(session) => session,
                None => open_session(&destination.url, &job.application_name(claim.epoch)).await.map_err(failed)?,
            };
            let lane = Lane { pipeline: owner.pipeline.clone(), destination: owner.destination.clone(), worker };
            let mut writer = Writer::new(connection, lane, claim.epoch, format, targets.clone(), *position);
            writer.prepare().await?;
            lanes.push(LaneStart { worker, destination: Destination::Postgres(Box::new(writer)), position: *position });
        }
    }
    let start = positions.iter().flatten().copied().min().unwrap_or_default();
    for _ in job.destinations.iter().filter(|destination| destination.url.is_none()) {
        for worker in 0..job.definition.apply_workers {
            lanes.push(LaneStart { worker, destination: Destination::Null(Null::at(start)), position: start });
        }
    }
    Ok(lanes)
}

fn targets(tables: &[(usize, TargetTable)], starts: &HashMap<String, Lsn>) -> Vec<Target> {
    let target = |table: &TargetTable| {
        let table_sql = qualified(&table.target_schema, &table.target_name);
        let column = |column: &schema::TargetColumn| TargetColumn {
            name: column.name.clone(),
            type_sql: column.cast_sql.clone(),
            type_oid: column.type_oid,
            is_array: column.is_array,
            identity_always: column.identity_always,
        };
        Target {
            source_schema: table.source_name.schema.clone(),
            source_name: table.source_name.name.clone(),
            start: starts.get(&table_sql).copied().unwrap_or_default(),
            table_sql,
            columns: table.columns.iter().map(column).collect(),
            is_projection: table.is_projection,
        }
    };
    tables.iter().map(|(_, table)| target(table)).collect()
}

fn catalog(job: &Job, selected: &[Selected]) -> Catalog {
    let mut tables = HashMap::new();
    for selected in selected {
        let worker = selection::worker_of(&selected.table.table_name(), job.definition.apply_workers);
        let entry = CatalogTable { primary_key: selected.table.primary_key.clone(), worker };
        tables.insert(selected.table.oid, entry);
    }
    Catalog { tables }
}
