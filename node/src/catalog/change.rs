//! Changes: each is one transaction of {the request's id, rows, events}.

use rosetta_coordinator::records::Desired;
use rosetta_proto::NodeId;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Error, Transaction};

use super::definition::{DefinitionSet, DestinationDefinition, PipelineDefinition, SourceDefinition};
use super::plan::{Outcome, Plan, Write, create, plan};
use super::{
    Catalog, CatalogError, Difference, Event, Kind, StoredPipeline, deletions, events, record, requests, snapshot,
    validate,
};
use crate::config::Definitions;

/// One change at a time, so that a set is checked against what it will stand beside.
const LOCK: i64 = 0x526f_7365_7474_6102;

/// Who asks for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Makes repeating harmless; `None` where repeating is not recognised.
    pub request_id: Option<String>,
    /// For the history; may be empty.
    pub who: String,
}

/// What is asked for. `Debug` shows no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Defines a pipeline, and what it needs that is not defined yet.
    Create {
        pipeline: PipelineDefinition,
        source: Option<SourceDefinition>,
        destinations: Vec<DestinationDefinition>,
        paused: bool,
    },
    /// Replaces the definition that has this revision.
    Update {
        pipeline: PipelineDefinition,
        expected_revision: u64,
    },
    /// Ends a pipeline. What it has copied stays.
    Delete {
        name: String,
        /// Leave its slot at the source and its position at the destinations, too.
        keep_slot: bool,
    },
    SetDesired {
        name: String,
        desired: Desired,
    },
    /// `None`: any node.
    Pin {
        name: String,
        node: Option<NodeId>,
    },
    Restart {
        name: String,
    },
    /// Makes what is defined equal to a set: all of it or nothing.
    Apply {
        set: DefinitionSet,
        /// Delete what is not in the set.
        prune: bool,
        /// Change nothing.
        dry_run: bool,
        /// Of the dry run that was shown.
        expected_fingerprint: Option<String>,
    },
}

/// What a change has led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Pipeline(Box<StoredPipeline>),
    Deleted,
    Applied(Difference),
}

impl Catalog {
    /// Makes a change: all of it or nothing. Listeners are notified by the database.
    ///
    /// # Errors
    /// See [`CatalogError`]. After `Unavailable` the outcome is not known: repeat with the same request id.
    pub async fn change(&self, caller: &Caller, command: &Command) -> Result<Answer, CatalogError> {
        if let Some(id) = &caller.request_id {
            requests::check_id(id)?;
        }
        self.within(Box::pin(self.change_once(caller, command))).await
    }

    /// As [`Command::Apply`].
    ///
    /// # Errors
    /// See [`Catalog::change`].
    pub async fn apply(
        &self,
        caller: &Caller,
        set: DefinitionSet,
        prune: bool,
        dry_run: bool,
    ) -> Result<Difference, CatalogError> {
        let command = Command::Apply { set, prune, dry_run, expected_fingerprint: None };
        match self.change(caller, &command).await? {
            Answer::Applied(difference) => Ok(difference),
            Answer::Pipeline(_) | Answer::Deleted => Err(CatalogError::invalid("request_id", "it had another answer")),
        }
    }

    /// Whether a pipeline could be created, without creating it. `given` holds it and what is given of its servers; the
    /// answer holds it alone with all of them, and their passwords.
    ///
    /// # Errors
    /// As [`Command::Create`].
    pub async fn try_create(&self, given: &DefinitionSet) -> Result<Definitions, CatalogError> {
        let before = self.load().await?;
        let keys = &self.shared.keys;
        create(&before, given, false, keys)?;
        validate(&record::open_set(&before.completed(given), keys)?)
    }

    async fn change_once(&self, caller: &Caller, command: &Command) -> Result<Answer, CatalogError> {
        let failed = |error: Error| self.failed(&error);
        let keys = &self.shared.keys;
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
        if let Some(id) = &caller.request_id
            && let Some(earlier) = requests::earlier(&transaction, id).await.map_err(failed)?
        {
            return requests::recognise(command, id, keys, earlier);
        }
        let before = snapshot::load(&transaction).await.map_err(failed)?;
        let Plan { writes, outcome } = plan(&before, command, keys)?;
        for write in &writes {
            self.write(&transaction, write).await?;
        }
        let answer = self.answer(&transaction, outcome).await?;
        events::insert(&*transaction, &history(&writes, &caller.who)).await.map_err(failed)?;
        if let Some(id) = &caller.request_id {
            let fingerprint = requests::fingerprint(command, id, keys)?;
            let text = serde_json::to_string(&answer).map_err(|error| CatalogError::invalid("", error.to_string()))?;
            requests::remember(&transaction, id, &fingerprint, &text).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(answer)
    }

    async fn write(&self, transaction: &Transaction<'_>, write: &Write) -> Result<(), CatalogError> {
        let rows = write_row(transaction, write).await.map_err(|error| self.failed(&error))?;
        match write {
            // The advisory lock does not hold plain SQL off.
            Write::Update { pipeline, seen } if rows == 0 => {
                let now = snapshot::load_pipeline(transaction, &pipeline.name).await.map_err(|e| self.failed(&e))?;
                let current = now.and_then(Result::ok).map_or(0, |stored| stored.revision);
                Err(CatalogError::Conflict { name: pipeline.name.clone(), expected: *seen, current })
            }
            _ => Ok(()),
        }
    }

    async fn answer(&self, transaction: &Transaction<'_>, outcome: Outcome) -> Result<Answer, CatalogError> {
        match outcome {
            Outcome::Deleted => Ok(Answer::Deleted),
            Outcome::Applied(difference) => Ok(Answer::Applied(difference)),
            Outcome::Pipeline(name) => {
                let stored = snapshot::load_pipeline(transaction, &name).await.map_err(|e| self.failed(&e))?;
                let stored = stored.ok_or(CatalogError::NotFound { kind: Kind::Pipeline, name })?;
                Ok(Answer::Pipeline(Box::new(stored.map_err(|reason| CatalogError::invalid("", reason))?)))
            }
        }
    }
}

async fn write_row(transaction: &Transaction<'_>, write: &Write) -> Result<u64, Error> {
    match write {
        Write::Source(source) => {
            let statement = "insert into rosetta.sources (name, url) values ($1, $2) \
                             on conflict (name) do update set url = excluded.url";
            transaction.execute(statement, &[&source.name, &source.url]).await
        }
        Write::Destination(destination) => {
            let statement = "insert into rosetta.destinations (name, kind, url) values ($1, $2, $3) \
                             on conflict (name) do update set kind = excluded.kind, url = excluded.url";
            transaction.execute(statement, &[&destination.name, &destination.kind, &destination.url]).await
        }
        Write::Delete { kind, name } => {
            let statement = match kind {
                Kind::Source => "delete from rosetta.sources where name = $1",
                Kind::Destination => "delete from rosetta.destinations where name = $1",
                Kind::Pipeline => "delete from rosetta.pipelines where name = $1",
            };
            transaction.execute(statement, &[name]).await
        }
        Write::Forget { set } => deletions::write(transaction, set).await,
        Write::Insert { .. }
        | Write::Update { .. }
        | Write::Desired { .. }
        | Write::Pin { .. }
        | Write::Restart { .. } => write_pipeline(transaction, write).await,
    }
}

/// Writes a pipeline's row; other rows are not its business.
async fn write_pipeline(transaction: &Transaction<'_>, write: &Write) -> Result<u64, Error> {
    match write {
        Write::Insert { pipeline, desired } => {
            // Defined anew before it was forgotten: it goes on where it was.
            deletions::done(transaction, &pipeline.name).await?;
            let statement = "insert into rosetta.pipelines (name, definition, status) values ($1, $2::text::jsonb, $3)";
            transaction.execute(statement, &[&pipeline.name, &definition_text(pipeline), &word(*desired)]).await
        }
        Write::Update { pipeline, seen } => {
            let statement =
                "update rosetta.pipelines set definition = $2::text::jsonb where name = $1 and revision = $3";
            let seen = i64::try_from(*seen).unwrap_or(i64::MAX);
            transaction.execute(statement, &[&pipeline.name, &definition_text(pipeline), &seen]).await
        }
        Write::Desired { name, desired } => {
            let statement = "update rosetta.pipelines set status = $2 where name = $1";
            transaction.execute(statement, &[name, &word(*desired)]).await
        }
        Write::Pin { name, node } => {
            let statement = "update rosetta.pipelines set pin = $2 where name = $1";
            transaction.execute(statement, &[name, &node.as_ref().map(NodeId::as_str)]).await
        }
        Write::Restart { name } => {
            let statement = "update rosetta.pipelines set restarts = restarts + 1 where name = $1";
            transaction.execute(statement, &[name]).await
        }
        Write::Source(_) | Write::Destination(_) | Write::Delete { .. } | Write::Forget { .. } => Ok(0),
    }
}

/// The definition without its name, which is the row's.
fn definition_text(pipeline: &PipelineDefinition) -> String {
    let mut value = serde_json::to_value(pipeline).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("name");
    }
    value.to_string()
}

fn word(desired: Desired) -> &'static str {
    match desired {
        Desired::Start => "START",
        Desired::Pause => "PAUSE",
    }
}

/// What the history says of the rows that were written.
fn history(writes: &[Write], who: &str) -> Vec<(i64, Event)> {
    let requested_by = (!who.is_empty()).then(|| who.to_owned());
    let with_caller = |event: Event| Event { requested_by: requested_by.clone(), ..event };
    writes.iter().filter_map(event_of).map(|event| (rand::random(), with_caller(event))).collect()
}

fn event_of(write: &Write) -> Option<Event> {
    Some(match write {
        Write::Source(source) => Event::now("source_changed").with("source", &source.name),
        Write::Destination(destination) => Event::now("destination_changed").with("destination", &destination.name),
        Write::Insert { pipeline, .. } => Event::now("pipeline_created").of_pipeline(&pipeline.name),
        Write::Update { pipeline, .. } => Event::now("definition_changed").of_pipeline(&pipeline.name),
        Write::Desired { name, desired } => Event::now("desired_changed").of_pipeline(name).with("to", word(*desired)),
        Write::Pin { name, node } => {
            Event::now("pin_changed").of_pipeline(name).with("to", node.as_ref().map_or("", NodeId::as_str))
        }
        Write::Restart { name } => Event::now("restart_requested").of_pipeline(name),
        Write::Delete { kind: Kind::Pipeline, name } => Event::now("pipeline_deleted").of_pipeline(name),
        Write::Delete { kind, name } => Event::now(&format!("{kind}_deleted")).with(&kind.to_string(), name),
        // Comes with a deletion.
        Write::Forget { .. } => return None,
    })
}
