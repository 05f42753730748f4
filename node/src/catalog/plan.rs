//! What a command does, decided from what is defined. Pure: no connection, no clock.

use rosetta_coordinator::records::Desired;
use rosetta_proto::NodeId;

use super::definition::{DefinitionSet, DestinationDefinition, PipelineDefinition, SourceDefinition};
use super::difference::{self, Change, ChangeKind, Difference};
use super::record::open_set;
use super::{CatalogError, Command, Kind, Refused, Snapshot, StoredPipeline, validate};
use crate::postgres::PgUrl;
use crate::secret::{Keyring, SecretError, open_url, seal_url};

/// A row that is written. Passwords are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    Source(SourceDefinition),
    Destination(DestinationDefinition),
    Insert {
        pipeline: PipelineDefinition,
        desired: Desired,
    },
    /// Only while the row has the revision that was seen.
    Update {
        pipeline: PipelineDefinition,
        seen: u64,
    },
    Desired {
        name: String,
        desired: Desired,
    },
    Pin {
        name: String,
        node: Option<NodeId>,
    },
    Restart {
        name: String,
    },
    Delete {
        kind: Kind,
        name: String,
    },
    /// What a pipeline that is deleted has at its servers is to be taken away: the pipeline with all that it needs.
    Forget {
        set: DefinitionSet,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Pipeline(String),
    Deleted,
    Applied(Difference),
}

#[derive(Debug)]
pub(super) struct Plan {
    /// In order. A pipeline comes before its source: a source that changes gives its pipelines new revisions.
    pub(super) writes: Vec<Write>,
    pub(super) outcome: Outcome,
}

pub(super) fn plan(before: &Snapshot, command: &Command, keys: &Keyring) -> Result<Plan, CatalogError> {
    match command {
        Command::Create { pipeline, source, destinations, paused } => {
            let given = DefinitionSet {
                sources: source.iter().cloned().collect(),
                destinations: destinations.clone(),
                pipelines: vec![pipeline.clone()],
            };
            create(before, &given, *paused, keys)
        }
        Command::Update { pipeline, expected_revision } => update(before, pipeline, *expected_revision),
        Command::Delete { name, keep_slot } => {
            revision(before, name)?;
            let delete = Write::Delete { kind: Kind::Pipeline, name: name.clone() };
            let forget = forget(before, name).filter(|_| !keep_slot);
            Ok(Plan { writes: forget.into_iter().chain([delete]).collect(), outcome: Outcome::Deleted })
        }
        Command::SetDesired { name, desired } => {
            one(before, name, Write::Desired { name: name.clone(), desired: *desired })
        }
        Command::Pin { name, node } => one(before, name, Write::Pin { name: name.clone(), node: node.clone() }),
        Command::Restart { name } => {
            let is_paused = |stored: &StoredPipeline| stored.desired == Desired::Pause;
            if before.pipelines.get(name).is_some_and(is_paused) {
                return Err(CatalogError::Paused { name: name.clone() });
            }
            one(before, name, Write::Restart { name: name.clone() })
        }
        Command::Apply { set, prune, dry_run, expected_fingerprint } => {
            if expected_fingerprint.as_ref().is_some_and(|expected| *expected != before.fingerprint) {
                return Err(CatalogError::StaleFingerprint);
            }
            let mut plan = apply(before, set, *prune, keys)?;
            if *dry_run {
                plan.writes.clear();
            }
            Ok(plan)
        }
    }
}

/// `None` for one that is not understood: where its slot is cannot be known.
fn forget(before: &Snapshot, name: &str) -> Option<Write> {
    before.pipelines.get(name).map(|stored| Write::Forget { set: before.set_of(&stored.definition) })
}

fn one(before: &Snapshot, name: &str, write: Write) -> Result<Plan, CatalogError> {
    revision(before, name)?;
    Ok(Plan { writes: vec![write], outcome: Outcome::Pipeline(name.to_owned()) })
}

/// The revision of a pipeline that is there, understood or not.
fn revision(before: &Snapshot, name: &str) -> Result<u64, CatalogError> {
    known_revision(before, name).ok_or_else(|| CatalogError::NotFound { kind: Kind::Pipeline, name: name.to_owned() })
}

fn known_revision(before: &Snapshot, name: &str) -> Option<u64> {
    let stored = before.pipelines.get(name).map(|stored| stored.revision);
    stored.or_else(|| before.refused_revision(Kind::Pipeline, name))
}

/// Defines what is given; what is there already must be the same.
pub(super) fn create(
    before: &Snapshot,
    given: &DefinitionSet,
    paused: bool,
    keys: &Keyring,
) -> Result<Plan, CatalogError> {
    let desired = if paused { Desired::Pause } else { Desired::Start };
    let mut writes = Vec::new();
    let mut names = Vec::new();
    for pipeline in &given.pipelines {
        if known_revision(before, &pipeline.name).is_some() {
            let remedy = "update it, or choose another name";
            return Err(CatalogError::AlreadyExists { kind: Kind::Pipeline, name: pipeline.name.clone(), remedy });
        }
        names.push(pipeline.name.clone());
        writes.push(Write::Insert { pipeline: pipeline.clone(), desired });
    }
    let remedy = "leave it out, or change it with apply";
    for source in &given.sources {
        match before.sources.get(&source.name) {
            Some(stored) if is_same_source(stored, source, keys) => {}
            Some(_) => {
                return Err(CatalogError::AlreadyExists { kind: Kind::Source, name: source.name.clone(), remedy });
            }
            None => writes.push(Write::Source(sealed_source(source, keys)?)),
        }
    }
    for destination in &given.destinations {
        match before.destinations.get(&destination.name) {
            Some(stored) if is_same_destination(stored, destination, keys) => {}
            Some(_) => {
                let (kind, name) = (Kind::Destination, destination.name.clone());
                return Err(CatalogError::AlreadyExists { kind, name, remedy });
            }
            None => writes.push(Write::Destination(sealed_destination(destination, keys)?)),
        }
    }
    check(&overlaid(before, given))?;
    Ok(Plan { writes, outcome: Outcome::Pipeline(names.pop().unwrap_or_default()) })
}

fn update(before: &Snapshot, pipeline: &PipelineDefinition, expected: u64) -> Result<Plan, CatalogError> {
    if expected == 0 {
        let reason = "expected_revision is missing; give the revision that you have seen";
        return Err(CatalogError::invalid("expected_revision", reason));
    }
    let current = revision(before, &pipeline.name)?;
    if current != expected {
        return Err(CatalogError::Conflict { name: pipeline.name.clone(), expected, current });
    }
    let given = DefinitionSet { pipelines: vec![pipeline.clone()], ..DefinitionSet::default() };
    check(&overlaid(before, &given))?;
    let write = Write::Update { pipeline: pipeline.clone(), seen: current };
    Ok(Plan { writes: vec![write], outcome: Outcome::Pipeline(pipeline.name.clone()) })
}

fn apply(before: &Snapshot, given: &DefinitionSet, prune: bool, keys: &Keyring) -> Result<Plan, CatalogError> {
    let mut after = overlaid(before, given);
    if prune {
        prune_to(&mut after, given);
    }
    check(&after)?;
    // Unusable rows are not compared: they would seem to be deleted.
    let known = if prune { before.set() } else { overlaid(before, &DefinitionSet::default()) };
    let mut changes = difference::between(&opened(&known, keys), &opened(&after, keys));
    if prune {
        changes.extend(pruned_rows(before, given));
    }
    let difference = Difference { changes, fingerprint: before.fingerprint.clone() };
    let differs = |kind, name: &str| {
        difference.finds(kind, name, ChangeKind::Created) || difference.finds(kind, name, ChangeKind::Changed)
    };
    let mut writes = Vec::new();
    for pipeline in given.pipelines.iter().filter(|pipeline| differs(Kind::Pipeline, &pipeline.name)) {
        match known_revision(before, &pipeline.name) {
            None => writes.push(Write::Insert { pipeline: pipeline.clone(), desired: Desired::Start }),
            Some(seen) => writes.push(Write::Update { pipeline: pipeline.clone(), seen }),
        }
    }
    for source in given.sources.iter().filter(|source| differs(Kind::Source, &source.name)) {
        writes.push(Write::Source(sealed_source(source, keys)?));
    }
    for destination in given.destinations.iter().filter(|given| differs(Kind::Destination, &given.name)) {
        writes.push(Write::Destination(sealed_destination(destination, keys)?));
    }
    for change in difference.changes.iter().filter(|change| change.change == ChangeKind::Deleted) {
        if change.kind == Kind::Pipeline {
            writes.extend(forget(before, &change.name));
        }
        writes.push(Write::Delete { kind: change.kind, name: change.name.clone() });
    }
    Ok(Plan { writes, outcome: Outcome::Applied(difference) })
}

/// What is defined, with what is given in the place of what has its name. What is given comes last, so that a problem
/// between two is reported of it.
fn overlaid(before: &Snapshot, given: &DefinitionSet) -> DefinitionSet {
    let mut set = before.set();
    set.sources.retain(|source| !given.sources.iter().any(|other| other.name == source.name) && is_url(&source.url));
    set.destinations.retain(|destination| {
        let is_usable = destination.url.as_deref().map_or(destination.kind == "null", is_url);
        is_usable && !given.destinations.iter().any(|other| other.name == destination.name)
    });
    set.pipelines.retain(|pipeline| !given.pipelines.iter().any(|other| other.name == pipeline.name));
    set.sources.extend(given.sources.iter().cloned());
    set.destinations.extend(given.destinations.iter().cloned());
    set.pipelines.extend(given.pipelines.iter().cloned());
    set
}

/// A row that somebody wrote by hand and nobody can use must not stand in the way of others.
fn is_url(url: &str) -> bool {
    PgUrl::parse(url).is_ok()
}

/// Leaves what is given, and what its pipelines need.
fn prune_to(set: &mut DefinitionSet, given: &DefinitionSet) {
    set.pipelines.clone_from(&given.pipelines);
    let is_given = |name: &String| given.sources.iter().any(|source| source.name == *name);
    set.sources.retain(|source| is_given(&source.name) || given.pipelines.iter().any(|p| p.source == source.name));
    let is_given = |name: &String| given.destinations.iter().any(|destination| destination.name == *name);
    set.destinations.retain(|destination| {
        is_given(&destination.name) || given.pipelines.iter().any(|p| p.destinations.contains(&destination.name))
    });
}

/// Pipelines that are not understood and not given: they go, too.
fn pruned_rows(before: &Snapshot, given: &DefinitionSet) -> Vec<Change> {
    let is_given = |name: &str| given.pipelines.iter().any(|pipeline| pipeline.name == name);
    let pruned = before.refused.iter().filter(|row| row.kind == Kind::Pipeline && !is_given(&row.name));
    let change = |row: &Refused| Change {
        change: ChangeKind::Deleted,
        kind: row.kind,
        name: row.name.clone(),
        fields: Vec::new(),
    };
    pruned.map(change).collect()
}

/// Checks a set, also one without pipelines, which a file may not be.
fn check(set: &DefinitionSet) -> Result<(), CatalogError> {
    if !set.pipelines.is_empty() {
        return validate(set).map(drop);
    }
    let probe = "rosetta-probe".to_owned();
    let mut set = set.clone();
    set.sources.push(SourceDefinition { name: probe.clone(), url: "postgres://probe@localhost".to_owned() });
    set.destinations.push(DestinationDefinition { name: probe.clone(), kind: "null".to_owned(), url: None });
    set.pipelines.push(PipelineDefinition {
        name: "probe".to_owned(),
        source: probe.clone(),
        destinations: vec![probe],
        tables: vec!["public.*".to_owned()],
        ..PipelineDefinition::default()
    });
    validate(&set).map(drop)
}

/// A set with the passwords that open; those that do not stay, and differ from any that is given.
fn opened(set: &DefinitionSet, keys: &Keyring) -> DefinitionSet {
    let mut opened = set.clone();
    for source in &mut opened.sources {
        let part = DefinitionSet { sources: vec![source.clone()], ..DefinitionSet::default() };
        if let Ok(DefinitionSet { sources, .. }) = open_set(&part, keys) {
            *source = sources.into_iter().next().unwrap_or_default();
        }
    }
    for destination in &mut opened.destinations {
        let part = DefinitionSet { destinations: vec![destination.clone()], ..DefinitionSet::default() };
        if let Ok(DefinitionSet { destinations, .. }) = open_set(&part, keys) {
            *destination = destinations.into_iter().next().unwrap_or_default();
        }
    }
    opened
}

fn is_same_source(stored: &SourceDefinition, given: &SourceDefinition, keys: &Keyring) -> bool {
    open_url(&stored.url, stored.place(), keys).is_ok_and(|url| url == given.url)
}

fn is_same_destination(stored: &DestinationDefinition, given: &DestinationDefinition, keys: &Keyring) -> bool {
    let url = stored.url.as_ref().map(|url| open_url(url, stored.place(), keys)).transpose();
    stored.kind == given.kind && url.is_ok_and(|url| url == given.url)
}

fn sealed_source(source: &SourceDefinition, keys: &Keyring) -> Result<SourceDefinition, CatalogError> {
    let refused = |error: SecretError| CatalogError::invalid("source.url", error.to_string());
    let url = seal_url(&source.url, source.place(), keys).map_err(refused)?;
    Ok(SourceDefinition { name: source.name.clone(), url })
}

fn sealed_destination(
    destination: &DestinationDefinition,
    keys: &Keyring,
) -> Result<DestinationDefinition, CatalogError> {
    let refused = |error: SecretError| CatalogError::invalid("destination.url", error.to_string());
    let seal = |url: &String| seal_url(url, destination.place(), keys);
    let url = destination.url.as_ref().map(seal).transpose().map_err(refused)?;
    Ok(DestinationDefinition { url, ..destination.clone() })
}
