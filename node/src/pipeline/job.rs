use std::sync::Arc;

use rosetta_coordinator::Ownership;

use super::{PipelineError, intake::BatchLimits, status::Status};
use crate::{
    config::{Definitions, DestinationKind, Pipeline, Settings},
    dead_letters::{Desk, Outages},
    postgres::{PgError, PgUrl},
};

/// Bytes of a source transaction that are handed to a destination at a time; at most three such parts are
/// in memory for each worker.
const PART_BYTES: usize = 8 * 1024 * 1024;
const SMALLEST_PART_BYTES: usize = 1024 * 1024;

/// A pipeline with everything that it takes to run it.
#[derive(Clone)]
pub struct Job {
    pub definition: Pipeline,
    pub source: PgUrl,
    pub destinations: Vec<JobDestination>,
    pub limits: BatchLimits,
    pub status: Arc<Status>,
    pub ownership: Arc<dyn Ownership>,
    /// Where changes wait that a destination refuses; None: they end the pipeline.
    pub desk: Option<Arc<Desk>>,
    /// Its destinations that are away, or were lately.
    pub outages: Arc<Outages>,
}

#[derive(Debug, Clone)]
pub struct JobDestination {
    pub name: String,
    /// None for the kind that counts and discards.
    pub url: Option<PgUrl>,
}

impl Job {
    /// The job that `definition` describes.
    ///
    /// # Errors
    /// A URL that cannot be used.
    pub fn new(
        definitions: &Definitions,
        definition: &Pipeline,
        settings: &Settings,
        ownership: Arc<dyn Ownership>,
    ) -> Result<Job, PipelineError> {
        let url = |owner: &str, url: &str| PgUrl::parse(url).map_err(|error| refused(owner, &error));
        let source = definitions.source(&definition.source);
        let source = source.ok_or_else(|| PipelineError::Internal(format!("no source '{}'", definition.source)))?;
        let source_url = url(&format!("source {}", source.name), source.url.expose())?;
        let mut destinations = Vec::new();
        for name in &definition.destinations {
            let found = definitions.destination(name);
            let found = found.ok_or_else(|| PipelineError::Internal(format!("no destination '{name}'")))?;
            let url = match &found.kind {
                DestinationKind::Postgres { url: text } => Some(url(&format!("destination {name}"), text.expose())?),
                DestinationKind::Null => None,
            };
            destinations.push(JobDestination { name: name.clone(), url });
        }
        let limits = BatchLimits {
            changes: settings.max_batch_rows,
            part_changes: settings.max_queue_rows,
            wait: settings.poll_interval,
            part_bytes: (PART_BYTES / definition.apply_workers.max(1)).max(SMALLEST_PART_BYTES),
        };
        let status = Arc::new(Status::new(&definition.name));
        Ok(Job {
            definition: definition.clone(),
            source: source_url,
            destinations,
            limits,
            status,
            ownership,
            desk: None,
            outages: Arc::default(),
        })
    }

    /// The same with a place for dead letters.
    #[must_use]
    pub fn with_desk(self, desk: Arc<Desk>) -> Job {
        Job { desk: Some(desk), ..self }
    }

    /// The source as messages call it.
    pub fn source_label(&self) -> String {
        format!("{} ({}@{})", self.definition.source, self.source.user, self.source.server())
    }

    /// What sessions of this pipeline are called: `rosetta:<epoch>:<pipeline>`.
    pub fn application_name(&self, epoch: rosetta_proto::Epoch) -> String {
        format!("rosetta:{epoch}:{}", self.definition.name)
    }
}

fn refused(owner: &str, error: &PgError) -> PipelineError {
    PipelineError::Refused(format!("{owner}: {error}"))
}
