use std::{pin::Pin, sync::Arc, time::Duration};

use rosetta_proto::{
    error_status,
    v1::{self, pipelines_server},
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::{NODE, change_the_file};
use crate::{
    api::{convert, rate::Rate, refuse},
    secret::redacted_url,
    supervisor::{Fleet, Member},
};

/// Between two messages of a watch that does not say, and the shortest that it may ask for.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const WATCH_SHORTEST: Duration = Duration::from_millis(500);

/// The pipelines of this process.
#[derive(Clone)]
pub(in crate::api) struct Pipelines(Arc<Shared>);

struct Shared {
    fleet: Arc<Fleet>,
    /// The file, without passwords.
    definitions: v1::DefinitionSet,
    rates: Vec<Rate>,
    /// The process ends: streams end with it.
    cancel: CancellationToken,
}

impl Pipelines {
    pub(in crate::api) fn new(
        fleet: Arc<Fleet>,
        mut definitions: v1::DefinitionSet,
        cancel: CancellationToken,
    ) -> Pipelines {
        definitions.sources.iter_mut().for_each(|source| source.url = redacted_url(&source.url));
        definitions.destinations.iter_mut().for_each(|destination| destination.url = redacted_url(&destination.url));
        let rates = fleet.members().iter().map(|_| Rate::default()).collect();
        Pipelines(Arc::new(Shared { fleet, definitions, rates, cancel }))
    }

    fn find(&self, name: &str) -> Result<&Member, Status> {
        if name.is_empty() {
            let message = "name is empty: name a pipeline";
            return Err(refuse::field("name", message, "NAME_MISSING"));
        }
        self.0.fleet.find(name).ok_or_else(|| refuse::no_pipeline(name, "name"))
    }

    fn stored(&self, member: &Member) -> v1::StoredPipeline {
        let name = &member.job.definition.name;
        let desired = if member.is_paused() { v1::DesiredState::Pause } else { v1::DesiredState::Start };
        v1::StoredPipeline {
            pipeline: self.0.definitions.pipelines.iter().find(|pipeline| pipeline.name == *name).cloned(),
            revision: 1,
            desired_state: desired.into(),
            ..v1::StoredPipeline::default()
        }
    }

    /// One for each of `names`, or for every pipeline if there are none, by name.
    fn statuses(&self, names: &[String]) -> Vec<v1::PipelineStatus> {
        let mut statuses = Vec::new();
        for (member, rate) in self.0.fleet.members().iter().zip(&self.0.rates) {
            let name = &member.job.definition.name;
            if names.is_empty() || names.contains(name) {
                let figures = member.job.status.figures();
                let per_second = rate.observe(figures.rows_copied + figures.changes, Instant::now());
                statuses.push(convert::status(name, NODE, &figures, per_second));
            }
        }
        statuses.sort_by(|one, other| one.pipeline.cmp(&other.pipeline));
        statuses
    }

    fn status_of(&self, member: &Member) -> Option<v1::PipelineStatus> {
        self.statuses(std::slice::from_ref(&member.job.definition.name)).pop()
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<v1::WatchPipelinesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl pipelines_server::Pipelines for Pipelines {
    type WatchStream = Statuses;

    async fn get(&self, request: Request<v1::GetPipelineRequest>) -> Result<Response<v1::GetPipelineResponse>, Status> {
        let member = self.find(&request.get_ref().name)?;
        let definition = &member.job.definition;
        let definitions = &self.0.definitions;
        let destinations = definitions.destinations.iter();
        Ok(Response::new(v1::GetPipelineResponse {
            stored: Some(self.stored(member)),
            status: self.status_of(member),
            source: definitions.sources.iter().find(|source| source.name == definition.source).cloned(),
            destinations: destinations.filter(|one| definition.destinations.contains(&one.name)).cloned().collect(),
        }))
    }

    /// A process holds few pipelines: they come on one page, whatever its size was to be.
    async fn list(
        &self,
        request: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        let v1::ListPipelinesRequest { names, states, page_token, .. } = request.into_inner();
        if !page_token.is_empty() {
            let message = "page_token is none of this process's: leave it out";
            return Err(refuse::field("page_token", message, "PAGE_TOKEN"));
        }
        let statuses = self.statuses(&names).into_iter();
        let wanted = statuses.filter(|status| states.is_empty() || states.contains(&status.state));
        let listed = wanted.map(|status| v1::ListedPipeline {
            stored: self.0.fleet.find(&status.pipeline).map(|member| self.stored(member)),
            status: Some(status),
        });
        Ok(Response::new(v1::ListPipelinesResponse { pipelines: listed.collect(), next_page_token: String::new() }))
    }

    async fn pause(&self, request: Request<v1::PausePipelineRequest>) -> Result<Response<v1::StoredPipeline>, Status> {
        let member = self.find(&request.get_ref().name)?;
        member.pause();
        Ok(Response::new(self.stored(member)))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumePipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let member = self.find(&request.get_ref().name)?;
        member.resume();
        Ok(Response::new(self.stored(member)))
    }

    async fn restart(
        &self,
        request: Request<v1::RestartPipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let member = self.find(&request.get_ref().name)?;
        member.restart();
        Ok(Response::new(self.stored(member)))
    }

    async fn resync(
        &self,
        request: Request<v1::ResyncPipelineRequest>,
    ) -> Result<Response<v1::StoredPipeline>, Status> {
        let definition = &self.find(&request.get_ref().name)?.job.definition;
        let message = format!(
            "a resync is not made by this version: stop the process, drop slot {} at the source, delete the pipeline's \
             rows from rosetta.checkpoint and rosetta.table_copy at the destinations, empty their tables, and start it again",
            definition.slot
        );
        Err(error_status(Code::Unimplemented, message, "", "RESYNC_BY_HAND"))
    }

    async fn watch(&self, request: Request<v1::WatchPipelinesRequest>) -> Result<Response<Statuses>, Status> {
        let v1::WatchPipelinesRequest { names, interval_ms } = request.into_inner();
        let every = match interval_ms {
            0 => WATCH_EVERY,
            millis => Duration::from_millis(millis.into()).max(WATCH_SHORTEST),
        };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pipelines, cancel) = (self.clone(), self.0.cancel.clone());
        let statuses = IntervalStream::new(ticks)
            .take_while(move |_| !cancel.is_cancelled())
            .map(move |_| Ok(v1::WatchPipelinesResponse { statuses: pipelines.statuses(&names), deleted: Vec::new() }));
        Ok(Response::new(Box::pin(statuses)))
    }

    async fn validate(
        &self,
        _: Request<v1::ValidatePipelineRequest>,
    ) -> Result<Response<v1::ValidatePipelineResponse>, Status> {
        Err(super::only_in_a_cluster("checking a definition by a call (`rosetta check FILE` does it for a file)"))
    }

    async fn create(&self, _: Request<v1::CreatePipelineRequest>) -> Result<Response<v1::StoredPipeline>, Status> {
        Err(change_the_file())
    }

    async fn update(&self, _: Request<v1::UpdatePipelineRequest>) -> Result<Response<v1::StoredPipeline>, Status> {
        Err(change_the_file())
    }

    async fn delete(
        &self,
        _: Request<v1::DeletePipelineRequest>,
    ) -> Result<Response<v1::DeletePipelineResponse>, Status> {
        Err(change_the_file())
    }

    async fn apply(&self, _: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        Err(change_the_file())
    }
}
