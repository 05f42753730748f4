//! What a deleted pipeline leaves at its servers, and how that is taken away.

use rosetta_proto::Epoch;
use tracing::info;

use crate::{
    config::{Definitions, Settings},
    destination::postgres::{checkpoint, open_session},
    pipeline::{PipelineError, job::Job},
    postgres::{Connection, Session},
    source::{publication, slot},
};

/// Drops the slot, the publications of its own and the positions of a pipeline that nobody runs. What was copied stays.
/// Can be done again.
///
/// # Errors
/// A server is not reached, or the slot is being read.
pub(super) async fn remove(definitions: &Definitions) -> Result<(), PipelineError> {
    let Some(pipeline) = definitions.pipelines.first() else { return Ok(()) };
    let ownership = std::sync::Arc::new(rosetta_coordinator::InProcess::default());
    let job = Job::new(definitions, pipeline, &Settings::default(), ownership)?;
    remove_at_source(&job).await?;
    for destination in &job.destinations {
        let Some(url) = &destination.url else { continue };
        let server = format!("{} ({}@{})", destination.name, url.user, url.server());
        let failed = |error| PipelineError::destination(&server, error);
        let mut session = open_session(url, &job.application_name(Epoch::NONE)).await.map_err(failed)?;
        checkpoint::forget(&mut session, &pipeline.name, &destination.name).await.map_err(failed)?;
        session.close().await;
    }
    info!("pipeline {} is deleted: its slot and its positions are gone", pipeline.name);
    Ok(())
}

async fn remove_at_source(job: &Job) -> Result<(), PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let session = Session::sql(job.application_name(Epoch::NONE));
    let mut source = Connection::connect(&job.source, &session).await.map_err(failed)?;
    slot::drop_slot(&mut source, &job.definition.slot).await.map_err(failed)?;
    // The one that it shares with others of the source stays.
    if job.definition.publication.is_none() {
        let own = format!("rosetta_{}_{}", job.definition.source, job.definition.name);
        for name in [own.clone(), format!("{own}_inserts")] {
            publication::drop_publication(&mut source, &name).await.map_err(failed)?;
        }
    }
    source.close().await;
    Ok(())
}
