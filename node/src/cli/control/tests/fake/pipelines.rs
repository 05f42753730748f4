use rosetta_proto::v1::{
    ApplyRequest, ApplyResponse, CreatePipelineRequest, DeletePipelineRequest, DeletePipelineResponse, DesiredState,
    GetPipelineRequest, GetPipelineResponse, ListPipelinesRequest, ListPipelinesResponse, ListedPipeline,
    PausePipelineRequest, PipelineState, PipelineStatus, RestartPipelineRequest, ResumePipelineRequest,
    ResyncPipelineRequest, StoredPipeline, UpdatePipelineRequest, ValidatePipelineRequest, ValidatePipelineResponse,
    WatchPipelinesRequest, WatchPipelinesResponse, pipelines_server::Pipelines,
};
use tokio_stream::Empty;
use tonic::{Request, Response, Status, async_trait};

use super::Fake;

impl Fake {
    fn control(&self, call: &'static str, name: &str, id: &str) -> Result<Response<StoredPipeline>, Status> {
        let script = self.ask(call, name, id)?;
        if !script.pipelines.iter().any(|known| known == name) {
            return Err(Status::not_found(format!("pipeline {name} does not exist; `rosetta status` lists them")));
        }
        let mut stored = StoredPipeline { revision: 4, ..StoredPipeline::default() };
        stored.set_desired_state(if call == "Pause" { DesiredState::Pause } else { DesiredState::Start });
        Ok(Response::new(stored))
    }
}

#[async_trait]
impl Pipelines for Fake {
    type WatchStream = Empty<Result<WatchPipelinesResponse, Status>>;

    async fn pause(&self, request: Request<PausePipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        let PausePipelineRequest { request_id, name } = request.into_inner();
        self.control("Pause", &name, &request_id)
    }

    async fn resume(&self, request: Request<ResumePipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        let ResumePipelineRequest { request_id, name } = request.into_inner();
        self.control("Resume", &name, &request_id)
    }

    async fn restart(&self, request: Request<RestartPipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        let RestartPipelineRequest { request_id, name } = request.into_inner();
        self.control("Restart", &name, &request_id)
    }

    async fn resync(&self, request: Request<ResyncPipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        let ResyncPipelineRequest { request_id, name } = request.into_inner();
        self.control("Resync", &name, &request_id)
    }

    async fn delete(
        &self,
        request: Request<DeletePipelineRequest>,
    ) -> Result<Response<DeletePipelineResponse>, Status> {
        let DeletePipelineRequest { request_id, name, keep_slot } = request.into_inner();
        drop(self.ask("Delete", &format!("{name} keep_slot={keep_slot}"), &request_id)?);
        Ok(Response::new(DeletePipelineResponse {}))
    }

    /// One pipeline on each page.
    async fn list(&self, request: Request<ListPipelinesRequest>) -> Result<Response<ListPipelinesResponse>, Status> {
        let token = request.into_inner().page_token;
        let script = self.ask("List", &token, "")?;
        let index = token.parse().unwrap_or(0);
        let status = script.pipelines.get(index).map(|name| PipelineStatus {
            pipeline: name.clone(),
            state: PipelineState::Running.into(),
            ..PipelineStatus::default()
        });
        let next = index + 1;
        let next_page_token = if next < script.pipelines.len() { next.to_string() } else { String::new() };
        let pipelines = status.map(|status| ListedPipeline { stored: None, status: Some(status) });
        Ok(Response::new(ListPipelinesResponse { pipelines: pipelines.into_iter().collect(), next_page_token }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let ApplyRequest { request_id, definitions, dry_run, prune, expected_fingerprint } = request.into_inner();
        let pipelines = definitions.map_or(0, |set| set.pipelines.len());
        let what = format!("pipelines={pipelines} dry_run={dry_run} prune={prune} expected={expected_fingerprint}");
        let mut script = self.ask("Apply", &what, &request_id)?;
        let answer = ApplyResponse { changes: script.changes.clone(), fingerprint: script.fingerprint.clone() };
        if !dry_run {
            script.changes.clear();
        }
        Ok(Response::new(answer))
    }

    async fn create(&self, _: Request<CreatePipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn validate(
        &self,
        _: Request<ValidatePipelineRequest>,
    ) -> Result<Response<ValidatePipelineResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update(&self, _: Request<UpdatePipelineRequest>) -> Result<Response<StoredPipeline>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get(&self, _: Request<GetPipelineRequest>) -> Result<Response<GetPipelineResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch(&self, _: Request<WatchPipelinesRequest>) -> Result<Response<Self::WatchStream>, Status> {
        drop(self.ask("Watch", "", "")?);
        Err(Status::unimplemented(""))
    }
}
