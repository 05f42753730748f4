//! Tables that the stream did not bring for a while: going on with them would miss changes in silence.

use super::{
    PipelineError,
    claim::Claim,
    job::Job,
    prepared::Prepared,
    selection::{self, Selected},
};
use crate::{
    postgres::{Connection, literal, qualified},
    schema::TargetTable,
    snapshot::{CopyOwner, are_complete, forget_others},
    source::publication::{self, Publication},
};

/// Forgets the copies of targets that the pipeline no longer has, so that one that comes back is copied anew.
pub(super) async fn forget_unselected(
    job: &Job,
    prepared: &mut [Prepared],
    claim: &Claim,
) -> Result<(), PipelineError> {
    for destination in prepared {
        let targets: Vec<String> = destination.tables.iter().map(|(_, table)| target_sql(table)).collect();
        let owner = owner(job, destination, claim);
        forget_others(&mut destination.session, &owner, &targets)
            .await
            .map_err(|error| PipelineError::destination(&destination.label(), error))?;
    }
    Ok(())
}

/// Refuses tables that were copied and followed, and have left a publication of Rosetta's since: most likely they were
/// dropped and made anew.
pub(super) async fn refuse_unpublished(
    job: &Job,
    source: &mut Connection,
    prepared: &mut [Prepared],
    claim: &Claim,
    selected: &[Selected],
) -> Result<(), PipelineError> {
    if job.definition.publication.is_some() {
        return Ok(());
    }
    let wanted = selection::publications(&job.definition.source, &job.definition.name, selected)
        .map_err(|problem| PipelineError::Refused(problem.to_string()))?;
    for publication in &wanted {
        let held = publication::tables_of(source, &publication.name).await;
        let Some(held) = held.map_err(|error| PipelineError::source(&job.source_label(), error))? else { continue };
        let is_gone = |selected: &Selected| {
            let name = (selected.table.schema.clone(), selected.table.name.clone());
            is_in(publication, &name) && !held.contains(&name)
        };
        let gone: Vec<usize> = (0..selected.len()).filter(|index| selected.get(*index).is_some_and(is_gone)).collect();
        for destination in prepared.iter_mut() {
            refuse_copied(job, destination, claim, &gone, publication).await?;
        }
    }
    Ok(())
}

fn is_in(publication: &Publication, (schema, name): &(String, String)) -> bool {
    publication.tables.iter().any(|table| table.schema == *schema && table.name == *name)
}

async fn refuse_copied(
    job: &Job,
    destination: &mut Prepared,
    claim: &Claim,
    gone: &[usize],
    publication: &Publication,
) -> Result<(), PipelineError> {
    let owner = owner(job, destination, claim);
    let targets: Vec<_> = destination.tables.iter().filter(|(index, _)| gone.contains(index)).cloned().collect();
    for (_, table) in targets {
        let target = target_sql(&table);
        let is_copied = are_complete(&mut destination.session, &owner, std::slice::from_ref(&target)).await;
        if is_copied.map_err(|error| PipelineError::destination(&destination.label(), error))? {
            return Err(PipelineError::Refused(format!(
                "table {} has left publication {} since it was copied (was it dropped and made anew?), so its changes were \
                 not followed: to copy it again, run TRUNCATE {target}; DELETE FROM rosetta.table_copy WHERE pipeline = {} \
                 AND target_table = {} at destination {}, and start again",
                table.source_name,
                publication.name,
                literal(&owner.pipeline),
                literal(&target),
                destination.label()
            )));
        }
    }
    Ok(())
}

fn owner(job: &Job, destination: &Prepared, claim: &Claim) -> CopyOwner {
    CopyOwner { pipeline: job.definition.name.clone(), destination: destination.name.clone(), epoch: claim.epoch }
}

fn target_sql(table: &TargetTable) -> String {
    qualified(&table.target_schema, &table.target_name)
}
