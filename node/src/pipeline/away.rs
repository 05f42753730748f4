//! Destinations that cannot be reached when a pipeline starts, or fail while it runs: the others go on without them.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use foldhash::HashSet;
use rosetta_proto::{Epoch, Lsn};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    PipelineError, Severity,
    claim::Claim,
    follow::LaneStart,
    job::{Job, JobDestination},
    lane::Role,
    selection::Selected,
    spill::{Spiller, SpillerParts},
};
use crate::{
    dead_letters::{Absence, Desk, Mailbox, Owner, Plan, Spill, StoreError, plan},
    destination::{DestinationError, postgres::open_session},
    postgres::{Connection, PgError},
    schema::SchemaError,
    source::slot::{self, Slot},
};

/// What the store has of the lanes of a destination, by its name; or why that is not known.
pub(super) struct Spills {
    by_destination: BTreeMap<String, Result<Vec<Spill>, StoreError>>,
}

/// A destination that the pipeline runs without.
pub(super) struct Without {
    name: String,
    plan: Plan,
    error: String,
}

/// Whether a pipeline may run without a destination that fails like this: it may be well again by itself.
pub(super) fn may_pass(error: &PipelineError) -> bool {
    let is_of_destination = matches!(
        error,
        PipelineError::Destination { error: DestinationError::Postgres { .. } }
            | PipelineError::Schema(SchemaError::Destination(_))
    );
    is_of_destination && error.severity() == Severity::Transient
}

/// Why this destination is not even asked: it is known to be away, and there are others to go on with.
pub(super) fn known(job: &Job, destination: &JobDestination) -> Option<PipelineError> {
    let now = Instant::now();
    let away = job.outages.find(&destination.name, now).filter(|_| job.desk.is_some())?;
    let is_well = |other: &JobDestination| other.url.is_some() && job.outages.find(&other.name, now).is_none();
    let error = io::Error::new(io::ErrorKind::NotConnected, away.error);
    job.destinations.iter().any(is_well).then(|| PipelineError::destination(&destination.name, PgError::Lost(error)))
}

impl Spills {
    pub(super) async fn read(job: &Job) -> Spills {
        let mut by_destination = BTreeMap::new();
        for destination in job.destinations.iter().filter(|destination| destination.url.is_some()) {
            let spills = match &job.desk {
                Some(desk) => desk.store.spills(&mailbox(job, &destination.name)).await,
                None => Ok(Vec::new()),
            };
            by_destination.insert(destination.name.clone(), spills);
        }
        Spills { by_destination }
    }

    /// What the store has of one lane.
    pub(super) fn find(&self, destination: &str, worker: usize) -> Option<Spill> {
        let spills = self.by_destination.get(destination)?.as_ref().ok()?;
        spills.iter().copied().find(|spill| usize::try_from(spill.worker).is_ok_and(|of| of == worker))
    }

    /// Why it is not known what the store has.
    pub(super) fn error(&self, destination: &str) -> Option<&StoreError> {
        self.by_destination.get(destination)?.as_ref().err()
    }
}

/// What is done about the destinations that are away.
///
/// # Errors
/// Nothing can go on without them.
pub(super) async fn decide(
    job: &Job,
    source: &mut Connection,
    away: Vec<(String, PipelineError)>,
    found: Option<&Slot>,
    spills: &Spills,
) -> Result<Vec<Without>, PipelineError> {
    if away.is_empty() {
        return Ok(Vec::new());
    }
    let current =
        slot::current_position(source).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    let confirmed = found.and_then(|slot| slot.confirmed);
    let retained = confirmed.map_or(0, |confirmed| current.bytes_since(confirmed));
    let (mut without, mut errors) = (Vec::new(), Vec::new());
    for (name, error) in away {
        let absence = absence(job, &name, spills, retained).await;
        without.push(Without { plan: plan(&absence, &job.definition.spill), error: error.to_string(), name });
        errors.push(error);
    }
    let all_are_away = without.len() == job.destinations.len();
    let all_are_held = without.iter().all(|one| matches!(one.plan, Plan::Hold { .. }));
    // Before there is a slot, every destination is needed: the slot begins with what they are given.
    if confirmed.is_none() || (all_are_away && all_are_held) {
        return Err(errors.swap_remove(0));
    }
    Ok(without)
}

async fn absence(job: &Job, destination: &str, spills: &Spills, retained: u64) -> Absence {
    let away_for = job.outages.find(destination, Instant::now()).map_or(Duration::ZERO, |away| away.for_);
    let is_spilled = (0..job.definition.apply_workers).any(|worker| spills.find(destination, worker).is_some());
    let stored = match &job.desk {
        Some(desk) => desk.store.streams(&mailbox(job, destination)).await.ok(),
        None => None,
    };
    let has_store = stored.is_some() && spills.error(destination).is_none();
    let stored = stored.iter().flatten().map(|(_, figures)| figures.bytes).sum();
    Absence { away_for, is_spilled, has_store, stored, retained }
}

/// Some changes go to the store now.
pub(super) fn spills_now(without: &[Without]) -> bool {
    without.iter().any(|one| one.plan == Plan::Spill)
}

/// The lanes of the destinations that are away, from the slot's position on.
pub(super) fn lanes(
    job: &Job,
    without: &[Without],
    spills: &Spills,
    claim: &Claim,
    selected: &[Selected],
    confirmed: Lsn,
) -> Vec<LaneStart> {
    let mut lanes = Vec::new();
    for one in without {
        for worker in 0..job.definition.apply_workers {
            let found = spills.find(&one.name, worker);
            let position = found.map_or(confirmed, |spill| confirmed.max(spill.end));
            let role = match (one.plan, spiller_parts(job, &one.name, worker, claim.epoch, selected, false)) {
                (Plan::Spill, Some(parts)) => Role::Spilling(Box::new(Spiller::new(parts, found, position))),
                (Plan::Spill, None) | (Plan::Hold { .. }, _) => Role::Held,
            };
            lanes.push(LaneStart { worker, destination: one.name.clone(), position, role });
        }
    }
    lanes
}

/// What it takes to spill a lane; None where the process has no store.
pub(super) fn spiller_parts(
    job: &Job,
    destination: &str,
    worker: usize,
    epoch: Epoch,
    selected: &[Selected],
    is_binary: bool,
) -> Option<SpillerParts> {
    let leads_there = |table: &&Selected| table.routes.iter().any(|route| route.destination == destination);
    let tables: HashSet<u32> = selected.iter().filter(leads_there).map(|selected| selected.table.oid).collect();
    Some(SpillerParts {
        desk: Arc::clone(job.desk.as_ref()?),
        owner: Owner { pipeline: job.definition.name.clone(), epoch },
        mailbox: mailbox(job, destination),
        worker,
        tables: Arc::new(tables),
        is_binary,
        limits: job.definition.spill,
    })
}

/// Ends when one of the destinations that are away answers, or when it is time to think again about another.
pub(super) fn watch(job: &Job, without: &[Without]) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    for one in without {
        watch_one(job, &one.name, &mut watchers);
        match one.plan {
            Plan::Hold { again } => look_again(again, &mut watchers),
            Plan::Spill => {}
        }
    }
    watchers
}

/// Ends after this time.
pub(super) fn look_again(after: Duration, watchers: &mut JoinSet<()>) {
    watchers.spawn(sleep(after));
}

/// Ends when the destination answers.
pub(super) fn watch_one(job: &Job, name: &str, watchers: &mut JoinSet<()>) {
    let destination = job.destinations.iter().find(|destination| destination.name == name);
    let Some(url) = destination.and_then(|destination| destination.url.clone()) else { return };
    let (name, outages) = (name.to_owned(), Arc::clone(&job.outages));
    let application_name = job.application_name(Epoch::NONE);
    watchers.spawn(async move {
        while let Some(away) = outages.find(&name, Instant::now()) {
            sleep(away.pause).await;
            match open_session(&url, &application_name).await {
                Ok(session) => {
                    session.close().await;
                    outages.answered(&name);
                }
                Err(error) => tracing::debug!(destination = name, "still away: {error}"),
            }
        }
    });
}

/// How the destinations that are away are told of.
pub(super) fn describe(without: &[Without]) -> Option<String> {
    let one = without.first()?;
    let others = match without.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let what = match one.plan {
        Plan::Spill => "its changes wait as dead letters",
        Plan::Hold { .. } => "its changes wait in the source's log",
    };
    Some(format!("destination {}{others} is away, {what}: {}", one.name, one.error))
}

/// The newest owner that the store knows of, which a destination that is away may know, too.
pub(super) async fn newest_owner(desk: Option<&Arc<Desk>>, pipeline: &str) -> Epoch {
    let Some(desk) = desk else { return Epoch::NONE };
    desk.store.newest_epoch(pipeline).await.unwrap_or(Epoch::NONE) // a store that is away refuses older owners later
}

fn mailbox(job: &Job, destination: &str) -> Mailbox {
    Mailbox::new(&job.definition.name, destination)
}
