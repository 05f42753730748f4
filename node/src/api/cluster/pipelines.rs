//! The service `Pipelines`: the catalog's commands as calls, and what is known of pipelines.

use std::{collections::BTreeMap, sync::Arc};

use rosetta_coordinator::records::Desired;
use rosetta_proto::{
    PipelineName, error_status,
    v1::{self, pipelines_server},
};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use super::{
    Api, contact::ANSWERED_WITHIN, definitions, errors, errors::Place, history::who, listing, stored, stored::Stored,
    stream::Produced, validate, watch,
};
use crate::{
    api::refuse,
    catalog::{Answer, Caller, CatalogError, Command},
};

#[derive(Clone)]
pub(super) struct Pipelines(pub(super) Arc<Api>);

impl Pipelines {
    /// Makes a change; all of it, or nothing.
    async fn change<T>(
        &self,
        request: &Request<T>,
        request_id: &str,
        command: Command,
        place: Place,
    ) -> Result<Answer, Status> {
        self.0.in_contact()?;
        self.0.change(&caller(request, request_id), &command, place).await
    }

    /// The same, of one pipeline; answers how it is kept from now on.
    async fn change_one<T>(
        &self,
        request: &Request<T>,
        request_id: &str,
        command: Command,
        place: Place,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        match self.change(request, request_id, command, place).await? {
            Answer::Pipeline(kept) => Ok(Response::new(stored::message(&kept))),
            Answer::Deleted | Answer::Applied(_) => Err(of_another_call()),
        }
    }
}

impl Api {
    /// # Errors
    /// See [`errors::catalog`]; that of an outage comes in time.
    pub(super) async fn change(&self, caller: &Caller, command: &Command, place: Place) -> Result<Answer, Status> {
        let changed = timeout(ANSWERED_WITHIN, Box::pin(self.node.catalog.change(caller, command))).await;
        changed.unwrap_or_else(|_| Err(self.silent())).map_err(|error| errors::catalog(&error, place))
    }

    /// What is defined: as the catalog says, or, while that is away, as it was published last.
    ///
    /// # Errors
    /// Neither is known.
    pub(super) async fn defined(&self) -> Result<BTreeMap<PipelineName, Stored>, Status> {
        let loaded = timeout(ANSWERED_WITHIN, Box::pin(self.node.catalog.load())).await;
        match loaded.unwrap_or_else(|_| Err(self.silent())) {
            Ok(snapshot) => Ok(stored::of_catalog(&snapshot)),
            Err(error) if error.is_unavailable() => match self.known() {
                Ok(view) => Ok(stored::of_view(&view)),
                Err(_) => Err(errors::catalog(&error, Place::Single)),
            },
            Err(error) => Err(errors::catalog(&error, Place::Single)),
        }
    }

    pub(super) fn silent(&self) -> CatalogError {
        let reason = format!("no answer within {ANSWERED_WITHIN:?}");
        CatalogError::Unavailable { server: self.node.catalog.server(), reason }
    }
}

#[tonic::async_trait]
impl pipelines_server::Pipelines for Pipelines {
    type WatchStream = Produced<v1::WatchPipelinesResponse>;

    async fn create(
        &self,
        request: Request<v1::CreatePipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let v1::CreatePipelineRequest { request_id, pipeline, source, destinations, paused } =
            request.get_ref().clone();
        let command = Command::Create {
            pipeline: definitions::required(pipeline)?,
            source: source.map(|source| definitions::from_source(source, "source.url")).transpose()?,
            destinations: definitions::from_destinations(destinations, "destinations.url")?,
            paused,
        };
        self.change_one(&request, &request_id, command, Place::Single).await
    }

    async fn update(
        &self,
        request: Request<v1::UpdatePipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let v1::UpdatePipelineRequest { request_id, pipeline, expected_revision } = request.get_ref().clone();
        let command = Command::Update { pipeline: definitions::required(pipeline)?, expected_revision };
        self.change_one(&request, &request_id, command, Place::Single).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeletePipelineRequest>,
    ) -> Result<Response<v1::DeletePipelineResponse>, Status> {
        let v1::DeletePipelineRequest { request_id, name, keep_slot } = request.get_ref().clone();
        let command = Command::Delete { name: named(name)?, keep_slot };
        match self.change(&request, &request_id, command, Place::Name("name")).await? {
            Answer::Deleted => Ok(Response::new(v1::DeletePipelineResponse {})),
            Answer::Pipeline(_) | Answer::Applied(_) => Err(of_another_call()),
        }
    }

    async fn pause(&self, request: Request<v1::PausePipelineRequest>) -> Result<Response<v1::StoredPipeline>, Status> {
        let v1::PausePipelineRequest { request_id, name } = request.get_ref().clone();
        let command = Command::SetDesired { name: named(name)?, desired: Desired::Pause };
        self.change_one(&request, &request_id, command, Place::Name("name")).await
    }

    async fn resume(
        &self,
        request: Request<v1::ResumePipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let v1::ResumePipelineRequest { request_id, name } = request.get_ref().clone();
        let command = Command::SetDesired { name: named(name)?, desired: Desired::Start };
        self.change_one(&request, &request_id, command, Place::Name("name")).await
    }

    async fn restart(
        &self,
        request: Request<v1::RestartPipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let v1::RestartPipelineRequest { request_id, name } = request.get_ref().clone();
        let command = Command::Restart { name: named(name)? };
        self.change_one(&request, &request_id, command, Place::Name("name")).await
    }

    async fn resync(
        &self,
        request: Request<v1::ResyncPipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let name = named(request.into_inner().name)?;
        let stored = find(&self.0.defined().await?, &name)?.stored;
        if stored.desired_state() == v1::DesiredState::Pause {
            let error = CatalogError::Paused { name };
            return Err(errors::catalog(&error, Place::Name("name")));
        }
        let slot = stored.pipeline.map(|pipeline| pipeline.slot).filter(|slot| !slot.is_empty());
        let slot = slot.unwrap_or_else(|| format!("rosetta_{name}"));
        let message = format!(
            "a resync is not made by this version: pause {name}, drop slot {slot} at the source, delete the pipeline's \
             rows from rosetta.checkpoint and rosetta.table_copy at the destinations, empty their tables, and resume it"
        );
        Err(error_status(Code::Unimplemented, message, "", "RESYNC_BY_HAND"))
    }

    async fn get(&self, request: Request<v1::GetPipelineRequest>) -> Result<Response<v1::GetPipelineResponse>, Status> {
        let name = named(request.into_inner().name)?;
        let Stored { stored, source, destinations, refused } = find(&self.0.defined().await?, &name)?;
        let mut statuses = match name.parse::<PipelineName>() {
            Ok(name) => self.0.statuses(&self.0.node.views.now(), [&name]).await,
            Err(_) => BTreeMap::new(),
        };
        let status = statuses.pop_first().map(|(_, status)| listing::with_refusal(status, refused.as_deref()));
        Ok(Response::new(v1::GetPipelineResponse { stored: Some(stored), status, source, destinations }))
    }

    async fn list(
        &self,
        request: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        let wanted = listing::Wanted::of(request.into_inner())?;
        let defined = wanted.among(self.0.defined().await?);
        let statuses = self.0.statuses(&self.0.node.views.now(), defined.keys()).await;
        Ok(Response::new(wanted.page(defined, statuses)))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchPipelinesRequest>,
    ) -> Result<Response<Produced<v1::WatchPipelinesResponse>>, Status> {
        watch::start(Arc::clone(&self.0), request.into_inner()).map(Response::new)
    }

    async fn validate(
        &self,
        request: Request<v1::ValidatePipelineRequest>,
    ) -> Result<Response<v1::ValidatePipelineResponse>, Status> {
        let problems = Box::pin(validate::problems(&self.0, request.into_inner())).await?;
        Ok(Response::new(v1::ValidatePipelineResponse { problems }))
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let v1::ApplyRequest { request_id, definitions, dry_run, prune, expected_fingerprint } =
            request.get_ref().clone();
        let expected_fingerprint = (!expected_fingerprint.is_empty()).then_some(expected_fingerprint);
        let missing = || refuse::field("definitions", "definitions are missing: give a set", "DEFINITIONS_MISSING");
        let set = definitions::from_set(definitions.ok_or_else(missing)?)?;
        let command = Command::Apply { set, prune, dry_run, expected_fingerprint };
        match self.change(&request, &request_id, command, Place::Set).await? {
            Answer::Applied(difference) => Ok(Response::new(v1::ApplyResponse {
                changes: difference.changes.into_iter().map(definitions::change).collect(),
                fingerprint: difference.fingerprint,
            })),
            Answer::Pipeline(_) | Answer::Deleted => Err(of_another_call()),
        }
    }
}

fn caller<T>(request: &Request<T>, request_id: &str) -> Caller {
    Caller { request_id: (!request_id.is_empty()).then(|| request_id.to_owned()), who: who(request) }
}

/// # Errors
/// The name is empty.
pub(super) fn named(name: String) -> Result<String, Status> {
    if name.is_empty() {
        return Err(refuse::field("name", "name is empty: name a pipeline", "NAME_MISSING"));
    }
    Ok(name)
}

fn find(defined: &BTreeMap<PipelineName, Stored>, name: &str) -> Result<Stored, Status> {
    let found = name.parse().ok().and_then(|name: PipelineName| defined.get(&name)).cloned();
    found.ok_or_else(|| refuse::no_pipeline(name, "name"))
}

/// Only a request id that another call has used can lead here.
fn of_another_call() -> Status {
    refuse::field(
        "request_id",
        "request_id was used for another call; give each request an id of its own",
        "REQUEST_ID",
    )
}
