//! The service `Cluster`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rosetta_coordinator::view::Contact;
use rosetta_proto::{
    PipelineName,
    v1::{self, cluster_server},
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Request, Response, Status};

use super::{
    Api, errors,
    errors::Place,
    history::who,
    intents::{Intention, node_id},
    moves, rebalance,
    requests::{Answered, Asked, Change},
    state,
    stream::{Produced, Sender},
};
use crate::{
    api::refuse,
    catalog::{Caller, Command, Event},
};

/// For the leader to publish a pin; beyond, the move begins without.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(500);

pub(super) struct Cluster {
    api: Arc<Api>,
    /// The rebalance under way; a new one takes its place.
    rebalance: Mutex<JoinSet<()>>,
}

impl Cluster {
    pub(super) fn new(api: Arc<Api>) -> Cluster {
        Cluster { api, rebalance: Mutex::default() }
    }

    async fn intend<T: prost::Message>(
        &self,
        request: &Request<T>,
        (request_id, node): (&str, &str),
        intention: Intention,
    ) -> Result<Response<v1::Node>, Status> {
        let id = node_id(node)?;
        let asked = Asked::new(&self.api, intention.event(), request_id, request.get_ref())?;
        let decided = asked.once(|view| intention.decide(view, &self.api.node.keys, &id));
        let Answered { answer, is_new } = self.api.answered(decided).await?;
        if is_new {
            self.api.record(Event::now(intention.event()).of_node(node), request);
        }
        Ok(Response::new(answer))
    }

    async fn begin_move(&self, request: &Request<v1::MovePipelineRequest>) -> Result<v1::MovePipelineResponse, Status> {
        let v1::MovePipelineRequest { request_id, pipeline, node, pin } = request.get_ref();
        let to = node_id(node)?;
        let name: PipelineName = pipeline.parse().map_err(|_| refuse::no_pipeline(pipeline, "pipeline"))?;
        let asked = Asked::new(&self.api, "move_requested", request_id, request.get_ref())?;
        if let Some(answer) = asked.earlier().await? {
            return Ok(answer);
        }
        let keys = &self.api.node.keys;
        // What cannot be moved is not pinned either.
        let view = self.api.current().await?;
        moves::begin(&view, keys, &name, &to)?;
        let has_pin = view.pipelines.get(&name).is_some_and(|recorded| recorded.record.pin.is_some());
        if *pin || has_pin {
            let caller = Caller { request_id: (!request_id.is_empty()).then(|| request_id.clone()), who: who(request) };
            let wanted = pin.then(|| to.clone());
            let command = Command::Pin { name: pipeline.clone(), node: wanted.clone() };
            self.api.change(&caller, &command, Place::Name("pipeline")).await?;
            let mut views = self.api.node.views.subscribe();
            let published =
                views.wait_for(|view| view.pipelines.get(&name).is_none_or(|recorded| recorded.record.pin == wanted));
            let _ = timeout(PUBLISHED_WITHIN, published).await;
        }
        let Answered { answer, is_new } = asked.once(|view| moves::begin(view, keys, &name, &to)).await?;
        if is_new {
            let event = Event::now("move_requested").of_pipeline(pipeline).of_node(node).with("pin", pin);
            self.api.record(event, request);
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    type WatchStream = Produced<v1::ClusterState>;

    async fn get(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::ClusterState>, Status> {
        let view = self.api.answered(self.api.current()).await?;
        Ok(Response::new(state::cluster(&view, self.api.node.keys.cluster())))
    }

    async fn watch(&self, _: Request<v1::WatchClusterRequest>) -> Result<Response<Produced<v1::ClusterState>>, Status> {
        self.api.answered(self.api.current()).await?;
        let api = Arc::clone(&self.api);
        Ok(Response::new(Produced::by(|sender| follow(api, sender))))
    }

    async fn drain(&self, request: Request<v1::DrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::DrainNodeRequest { request_id, node } = request.get_ref();
        self.intend(&request, (request_id, node), Intention::Drain).await
    }

    async fn undrain(&self, request: Request<v1::UndrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::UndrainNodeRequest { request_id, node } = request.get_ref();
        self.intend(&request, (request_id, node), Intention::Undrain).await
    }

    async fn cordon(&self, request: Request<v1::CordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::CordonNodeRequest { request_id, node } = request.get_ref();
        self.intend(&request, (request_id, node), Intention::Cordon).await
    }

    async fn uncordon(&self, request: Request<v1::UncordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::UncordonNodeRequest { request_id, node } = request.get_ref();
        self.intend(&request, (request_id, node), Intention::Uncordon).await
    }

    async fn r#move(
        &self,
        request: Request<v1::MovePipelineRequest>,
    ) -> Result<Response<v1::MovePipelineResponse>, Status> {
        self.api.answered(Box::pin(self.begin_move(&request))).await.map(Response::new)
    }

    async fn rebalance(
        &self,
        request: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::RebalanceResponse>, Status> {
        let v1::RebalanceRequest { request_id, dry_run } = request.get_ref();
        let asked = Asked::new(&self.api, "rebalance_requested", request_id, request.get_ref())?;
        let decided = asked.once(|view| Ok(Change::nothing(rebalance::show(view))));
        let Answered { answer, is_new } = self.api.answered(decided).await?;
        if is_new && !dry_run && !answer.moves.is_empty() {
            let event = Event::now("rebalance_requested").with("moves", answer.moves.len());
            self.api.record(event, &request);
            let mut task = JoinSet::new();
            task.spawn(rebalance::carry_out(Arc::clone(&self.api)));
            *self.rebalance.lock().unwrap_or_else(PoisonError::into_inner) = task;
        }
        Ok(Response::new(answer))
    }

    async fn resign_leader(
        &self,
        request: Request<v1::ResignLeaderRequest>,
    ) -> Result<Response<v1::ResignLeaderResponse>, Status> {
        let asked = Asked::new(&self.api, "resign_requested", &request.get_ref().request_id, request.get_ref())?;
        let Answered { answer, is_new } = self.api.answered(asked.once(moves::resign)).await?;
        if is_new {
            self.api.record(Event::now("resign_requested").of_node(&answer.resigned), &request);
        }
        Ok(Response::new(answer))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        self.api.events(request.into_inner()).await.map(Response::new)
    }
}

/// Sends the cluster as it is, and anew whenever it differs; ends when it cannot be known any more.
async fn follow(api: Arc<Api>, sender: Sender<v1::ClusterState>) {
    let (mut views, mut contact) = (api.node.views.subscribe(), api.node.views.contact());
    let mut sent = None;
    let is_away = |contact: &Contact| matches!(contact, Contact::Away { .. });
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let state = state::cluster(&view, api.node.keys.cluster());
        // Of others' writes only the revision tells.
        let shown = v1::ClusterState { revision: 0, ..state.clone() };
        if sent.as_ref() != Some(&shown) {
            if sender.send(Ok(state)).await.is_err() {
                return;
            }
            sent = Some(shown);
        }
        let end = tokio::select! {
            changed = views.changed() => if changed.is_ok() { continue } else { errors::stopping() },
            away = contact.wait_for(is_away) => match away.as_deref() {
                Ok(Contact::Away { error, .. }) => errors::store(error),
                Ok(Contact::Current { .. } | Contact::Never) | Err(_) => errors::stopping(),
            },
            () = api.cancel.cancelled() => errors::stopping(),
        };
        let _ = sender.send(Err(end)).await;
        return;
    }
}
