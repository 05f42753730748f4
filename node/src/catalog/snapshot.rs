//! What the catalog holds at one moment: what is understood, and what is not with its reason.

use std::collections::BTreeMap;

use rosetta_coordinator::records::{Desired, PipelineRecord};
use rosetta_proto::{NodeId, PipelineName};
use serde::{Deserialize, Serialize};
use tokio_postgres::{Error, Row, Transaction};

use super::definition::{DefinitionSet, DestinationDefinition, PipelineDefinition, SourceDefinition};
use super::{CatalogError, Kind, validate};
use crate::secret::{PasswordForm, password_forms};

/// All definitions, by name. URLs have their passwords encrypted, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub sources: BTreeMap<String, SourceDefinition>,
    pub destinations: BTreeMap<String, DestinationDefinition>,
    pub pipelines: BTreeMap<String, StoredPipeline>,
    /// Rows that cannot be run as they are.
    pub refused: Vec<Refused>,
    /// Of all definitions: another one as soon as any differs.
    pub fingerprint: String,
}

/// A pipeline as it is kept, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPipeline {
    pub definition: PipelineDefinition,
    /// Grows with each change of the definition, its source or its destinations. Never 0, and never twice the same for
    /// one name.
    pub revision: u64,
    pub desired: Desired,
    /// The only node on which it may run.
    pub pin: Option<NodeId>,
    /// How often a restart was asked for.
    pub restarts: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// A row that cannot be understood or run; written by hand, or by a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub kind: Kind,
    pub name: String,
    pub revision: u64,
    /// One line; no secret in it.
    pub reason: String,
}

impl Snapshot {
    /// A pipeline as nodes run it; `None` where there is no such pipeline, or it was refused. Passwords stay encrypted.
    pub fn record(&self, name: &str) -> Option<PipelineRecord> {
        let stored = self.pipelines.get(name)?;
        let name: PipelineName = name.parse().ok()?;
        let definition = serde_json::to_value(self.set_of(&stored.definition)).ok()?;
        let StoredPipeline { revision, desired, restarts, .. } = *stored;
        Some(PipelineRecord { name, revision, desired, pin: stored.pin.clone(), restarts, definition })
    }

    /// The pipeline with its source and its destinations: a set that can stand alone.
    pub(super) fn set_of(&self, pipeline: &PipelineDefinition) -> DefinitionSet {
        let destinations = pipeline.destinations.iter().filter_map(|name| self.destinations.get(name)).cloned();
        DefinitionSet {
            sources: self.sources.get(&pipeline.source).cloned().into_iter().collect(),
            destinations: destinations.collect(),
            pipelines: vec![pipeline.clone()],
        }
    }

    /// What is given, with what is defined of the servers that its pipelines need and that are not given.
    pub(super) fn completed(&self, given: &DefinitionSet) -> DefinitionSet {
        let mut set = given.clone();
        for needed in given.pipelines.iter().map(|pipeline| self.set_of(pipeline)) {
            let is_new = |source: &SourceDefinition| !given.sources.iter().any(|other| other.name == source.name);
            set.sources.extend(needed.sources.into_iter().filter(is_new));
            let is_new = |one: &DestinationDefinition| !given.destinations.iter().any(|other| other.name == one.name);
            set.destinations.extend(needed.destinations.into_iter().filter(is_new));
        }
        set
    }

    /// All that is understood, as one set.
    pub fn set(&self) -> DefinitionSet {
        DefinitionSet {
            sources: self.sources.values().cloned().collect(),
            destinations: self.destinations.values().cloned().collect(),
            pipelines: self.pipelines.values().map(|stored| stored.definition.clone()).collect(),
        }
    }

    pub(super) fn refused_revision(&self, kind: Kind, name: &str) -> Option<u64> {
        self.refused.iter().find(|row| row.kind == kind && row.name == name).map(|row| row.revision)
    }

    /// Moves what cannot run to `refused`, each pipeline for itself: one bad row must not stop the others.
    fn refuse_invalid(&mut self) {
        let mut kept = BTreeMap::new();
        for (name, stored) in std::mem::take(&mut self.pipelines) {
            match self.runnable(&stored.definition) {
                Ok(()) => {
                    kept.insert(name, stored);
                }
                Err(error) => {
                    let (kind, revision) = (Kind::Pipeline, stored.revision);
                    self.refused.push(Refused { kind, name, revision, reason: error.to_string() });
                }
            }
        }
        self.pipelines = kept;
    }

    fn runnable(&self, pipeline: &PipelineDefinition) -> Result<(), CatalogError> {
        let set = self.set_of(pipeline);
        validate(&set)?;
        let source = set.sources.iter().map(|source| (Kind::Source, &source.name, Some(&source.url)));
        let destinations = set.destinations.iter().map(|d| (Kind::Destination, &d.name, d.url.as_ref()));
        for (kind, name, url) in source.chain(destinations) {
            // Otherwise it would go to etcd as it is.
            if url.is_some_and(|url| password_forms(url).contains(&PasswordForm::Plain)) {
                let reason = format!("{kind} {name} has a password that is not encrypted; run: rosetta secrets rotate");
                return Err(CatalogError::invalid("url", reason));
            }
        }
        Ok(())
    }
}

pub(super) async fn load(transaction: &Transaction<'_>) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::default();
    for row in transaction.query("select name, url from rosetta.sources order by name", &[]).await? {
        let source = SourceDefinition { name: row.try_get(0)?, url: row.try_get(1)? };
        snapshot.sources.insert(source.name.clone(), source);
    }
    for row in transaction.query("select name, kind, url from rosetta.destinations order by name", &[]).await? {
        let destination = DestinationDefinition { name: row.try_get(0)?, kind: row.try_get(1)?, url: row.try_get(2)? };
        snapshot.destinations.insert(destination.name.clone(), destination);
    }
    for row in transaction.query(&format!("{PIPELINES} order by name"), &[]).await? {
        let name: String = row.try_get(0)?;
        match pipeline(&row)? {
            Ok(stored) => {
                snapshot.pipelines.insert(name, stored);
            }
            Err(reason) => {
                let (kind, revision) = (Kind::Pipeline, unsigned(&row, 2)?);
                snapshot.refused.push(Refused { kind, name, revision, reason });
            }
        }
    }
    snapshot.refuse_invalid();
    snapshot.fingerprint = fingerprint(transaction).await?;
    Ok(snapshot)
}

const PIPELINES: &str = "select name, definition::text, revision, status, pin, restarts, \
    (extract(epoch from created_at) * 1000)::bigint, (extract(epoch from updated_at) * 1000)::bigint \
    from rosetta.pipelines";

/// One pipeline, as it is now.
pub(super) async fn load_pipeline(
    transaction: &Transaction<'_>,
    name: &str,
) -> Result<Option<Result<StoredPipeline, String>>, Error> {
    let row = transaction.query_opt(&format!("{PIPELINES} where name = $1"), &[&name]).await?;
    row.as_ref().map(pipeline).transpose()
}

/// A row's pipeline, or why it is none.
fn pipeline(row: &Row) -> Result<Result<StoredPipeline, String>, Error> {
    let name: String = row.try_get(0)?;
    let text: String = row.try_get(1)?;
    let mut definition: PipelineDefinition = match serde_json::from_str(&text) {
        Ok(definition) => definition,
        Err(error) => return Ok(Err(format!("pipeline {name}: its definition is not understood: {error}"))),
    };
    definition.name = name;
    let desired = match row.try_get::<_, &str>(3)? {
        "START" => Desired::Start,
        // The table allows nothing else; whatever a newer version means, standing still harms nothing.
        _ => Desired::Pause,
    };
    let pin = match row.try_get::<_, Option<String>>(4)?.map(NodeId::try_from).transpose() {
        Ok(pin) => pin,
        Err(error) => return Ok(Err(format!("pipeline {}: pin: {error}", definition.name))),
    };
    Ok(Ok(StoredPipeline {
        definition,
        revision: unsigned(row, 2)?,
        desired,
        pin,
        restarts: unsigned(row, 5)?,
        created_at_ms: row.try_get(6)?,
        updated_at_ms: row.try_get(7)?,
    }))
}

fn unsigned(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

/// A change makes the greatest revision greater, and a deletion alone makes the count smaller.
async fn fingerprint(transaction: &Transaction<'_>) -> Result<String, Error> {
    let query = "select coalesce(max(revision), 0) || '-' || count(*) from ( \
                 select revision from rosetta.sources union all select revision from rosetta.destinations \
                 union all select revision from rosetta.pipelines) definitions";
    transaction.query_one(query, &[]).await?.try_get(0)
}
