//! What happens before a pipeline streams: look and refuse, then claim, make what is missing, copy.

use rosetta_proto::{Epoch, Lsn};
use tokio::time::Instant;

use super::{
    PipelineError,
    away::{self, Spills},
    claim::{check_continuity, check_slot, check_unclaimed_slot, claim},
    coverage,
    first_copy::reach_stream,
    follow::Follow,
    gaps,
    job::Job,
    open::{catalog, is_binary, open_lanes, start_stream},
    prepared::{Prepared, prepare_destination},
    privileges,
    selection::{self, Problem, Selected, list_problems},
};
use crate::{
    config::Publish,
    postgres::{Connection, PgError, Session, ident},
    schema::{self, PartitionTree, Table},
    source::{
        filter, publication,
        slot::{self, Slot},
    },
};

/// A pipeline that can be taken over at once: its servers are reached, its tables read and checked. Nothing is claimed
/// yet, so that another process may run it meanwhile.
pub struct Ready {
    source: Connection,
    selected: Vec<Selected>,
    prepared: Vec<Prepared>,
    /// Destinations that cannot be reached, and why.
    away: Vec<(String, PipelineError)>,
}

/// Gets ready; slots, positions and rows are left alone. Tables that the destinations lack are made.
///
/// # Errors
/// What is in the way; whatever can be checked is checked before anything is made.
pub async fn prepare(job: &Job) -> Result<Ready, PipelineError> {
    let mut source = connect_source(job).await?;
    let selected = select_tables(job, &mut source).await?;
    privileges::check(job, &mut source, &selected).await?;
    find_slot(job, &mut source).await?;
    let (mut prepared, mut away) = (Vec::new(), Vec::new());
    for destination in &job.destinations {
        let Some(url) = &destination.url else { continue };
        let name = destination.name.clone();
        if let Some(error) = away::known(job, destination) {
            away.push((name, error));
            continue;
        }
        match prepare_destination(job, &mut source, destination, url, &selected).await {
            Ok(found) => {
                job.outages.answered(&name);
                prepared.push(found);
            }
            Err(error) if job.desk.is_some() && away::may_pass(&error) => {
                job.outages.failed(&name, error.to_string(), Instant::now());
                away.push((name, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Ready { source, selected, prepared, away })
}

/// Claims the pipeline and brings it to the point where its stream runs.
///
/// # Errors
/// What is in the way; whatever can be checked is checked before anything is made at the source.
pub async fn take_over(job: &Job, ready: Ready) -> Result<Follow, PipelineError> {
    let Ready { mut source, selected, mut prepared, away } = ready;
    // Since it got ready, the owner may have made the slot and moved the checkpoint.
    let found = find_slot(job, &mut source).await?;
    for destination in &mut prepared {
        destination.refresh(&job.definition.name).await?;
    }
    let spills = Spills::read(job).await;
    let without = away::decide(job, &mut source, away, found.as_ref(), &spills).await?;
    if without.is_empty() {
        check_unclaimed_slot(job, found.as_ref(), &prepared)?;
    }
    let claim = claim(job, &mut source, &mut prepared).await?;
    let epoch = claim.epoch;
    job.status.update(|figures| figures.epoch = epoch);
    check_continuity(job, &mut source, &claim, found.as_ref(), (&prepared, &spills)).await?;
    gaps::forget_unselected(job, &mut prepared, &claim).await?;
    gaps::refuse_unpublished(job, &mut source, &mut prepared, &claim, &selected).await?;
    let publications = ensure_publications(job, &mut source, &selected).await?;
    let positions =
        reach_stream(job, &mut source, &mut prepared, &claim, &selected, (&publications, without.is_empty())).await?;
    // What a destination that is away takes is not known; it takes text in any case.
    let binary = is_binary(&prepared) && !away::spills_now(&without);
    let mut lanes = open_lanes(job, prepared, &claim, &positions, (&spills, &selected), binary).await?;
    let confirmed = found.as_ref().and_then(|slot| slot.confirmed).unwrap_or_default();
    lanes.extend(away::lanes(job, &without, &spills, &claim, &selected, confirmed));
    let start = lanes.iter().map(|lane| lane.position).min().unwrap_or(confirmed);
    let stream = start_stream(job, &mut source, epoch, start, &publications, binary).await?;
    let catalog = catalog(job, &selected);
    note_positions(job, &mut source, start).await?;
    source.close().await;
    job.status.update(|figures| figures.away = away::describe(&without));
    let watchers = away::watch(job, &without);
    Ok(Follow { stream, lanes, catalog, watchers, job: job.clone() })
}

/// The pipeline's slot, if there is one; it must be of a kind that we can use.
async fn find_slot(job: &Job, source: &mut Connection) -> Result<Option<Slot>, PipelineError> {
    let found = slot::find(source, &job.definition.slot).await;
    let found = found.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    check_slot(job, found.as_ref())?;
    Ok(found)
}

/// The lag is known before the first commit: from where the destinations stand to the end of the source's log.
async fn note_positions(job: &Job, source: &mut Connection, start: Lsn) -> Result<(), PipelineError> {
    let current =
        slot::current_position(source).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    job.status.update(|figures| {
        figures.source_lsn = figures.source_lsn.max(current);
        figures.committed_lsn = start;
        figures.confirmed_lsn = start;
    });
    Ok(())
}

async fn connect_source(job: &Job) -> Result<Connection, PipelineError> {
    let server = job.source_label();
    let failed = |error| PipelineError::source(&server, error);
    let session = Session::sql(job.application_name(Epoch::NONE));
    let mut source = Connection::connect(&job.source, &session).await.map_err(failed)?;
    if source.server_version() < 14 {
        return Err(PipelineError::Refused(format!(
            "source {server} is PostgreSQL {}; 14 or newer is needed",
            source.server_version()
        )));
    }
    let rows = source
        .simple(
            "SELECT pg_catalog.current_setting('wal_level'), \
         (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), current_user",
        )
        .await
        .map_err(failed)?;
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
            "role {role} at source {server} has no right to replicate: ALTER ROLE {} REPLICATION",
            ident(role)
        )));
    }
    Ok(source)
}

async fn select_tables(job: &Job, source: &mut Connection) -> Result<Vec<Selected>, PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let published = match &job.definition.publication {
        Some(name) => {
            publication::published(source, name).await.map_err(failed)?.ok_or_else(|| no_publication(name))?
        }
        None => Publish::All,
    };
    let mut relations = schema::read_tables(source).await.map_err(failed)?;
    relations.extend(schema::read_unsupported(source).await.map_err(failed)?);
    let mut selection = selection::select(&job.definition, &relations, published);
    selection.problems.extend(list_problems(&job.definition, &selection.tables, source.server_version()));
    if let Some(name) = &job.definition.publication {
        let problems = coverage::problems(source, name, &selection.tables, job.definition.snapshot).await;
        selection.problems.extend(problems.map_err(failed)?);
    }
    if let Some(left_out) = selection.says_left_out() {
        tracing::warn!("{left_out}");
    }
    if selection.problems.is_empty() {
        selection.problems = filter_problems(job, source, &selection.tables, &relations).await?;
    }
    match Problem::first(selection.problems) {
        Some(problem) => Err(PipelineError::Refused(problem)),
        None => Ok(selection.tables),
    }
}

async fn filter_problems(
    job: &Job,
    source: &mut Connection,
    selected: &[Selected],
    relations: &[Table],
) -> Result<Vec<Problem>, PipelineError> {
    let tree = PartitionTree::new(relations);
    let mut problems = Vec::new();
    for selected in selected {
        let Some(filter) = &selected.filter else { continue };
        let verdict = filter::probe(source, &selected.table.table_name(), filter).await;
        let verdict = verdict.map_err(|error| PipelineError::source(&job.source_label(), error))?;
        problems.extend(selection::filter_problems(selected, &verdict, &tree));
    }
    Ok(problems)
}

/// A publication of the user's is used as it is, and must be there before anything is made.
fn no_publication(name: &str) -> PipelineError {
    PipelineError::Refused(format!(
        "publication '{name}' does not exist at the source: create it, or leave `publication` out so that Rosetta makes one"
    ))
}

async fn ensure_publications(
    job: &Job,
    source: &mut Connection,
    selected: &[Selected],
) -> Result<Vec<String>, PipelineError> {
    if let Some(name) = &job.definition.publication {
        return Ok(vec![name.clone()]);
    }
    let wanted = selection::publications(&job.definition.source, &job.definition.name, selected)
        .map_err(|problem| PipelineError::Refused(problem.to_string()))?;
    for publication in &wanted {
        publication::ensure(source, publication)
            .await
            .map_err(|error| PipelineError::source(&job.source_label(), error))?;
    }
    Ok(wanted.into_iter().map(|publication| publication.name).collect())
}
