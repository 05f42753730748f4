use rosetta_proto::v1::{
    ClusterState, CordonNodeRequest, DrainNodeRequest, GetClusterRequest, ListEventsRequest, ListEventsResponse,
    MovePipelineRequest, MovePipelineResponse, Node, NodeState, RebalanceRequest, RebalanceResponse,
    ResignLeaderRequest, ResignLeaderResponse, UncordonNodeRequest, UndrainNodeRequest, WatchClusterRequest,
    cluster_server::Cluster,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::Fake;

/// More than any script sends.
const WATCH_LENGTH: usize = 8;

#[async_trait]
impl Cluster for Fake {
    type WatchStream = ReceiverStream<Result<ClusterState, Status>>;

    async fn watch(&self, _: Request<WatchClusterRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut script = self.ask("Watch", "", "")?;
        let (sender, receiver) = mpsc::channel(WATCH_LENGTH);
        let states = if script.watches.is_empty() { Vec::new() } else { script.watches.remove(0) };
        for state in states {
            let _ = sender.try_send(Ok(state));
        }
        if script.watches.is_empty() {
            tokio::spawn(async move { sender.closed().await });
        } else {
            let _ = sender.try_send(Err(Status::unavailable("this node stops")));
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn drain(&self, request: Request<DrainNodeRequest>) -> Result<Response<Node>, Status> {
        let DrainNodeRequest { request_id, node } = request.into_inner();
        drop(self.ask("Drain", &node, &request_id)?);
        Ok(Response::new(Node { id: node, state: NodeState::Draining.into(), pipelines: 2, ..Node::default() }))
    }

    async fn r#move(&self, request: Request<MovePipelineRequest>) -> Result<Response<MovePipelineResponse>, Status> {
        let MovePipelineRequest { request_id, pipeline, node, pin } = request.into_inner();
        drop(self.ask("Move", &format!("{pipeline} {node} pin={pin}"), &request_id)?);
        Err(Status::failed_precondition(format!("node {node} is draining; run `rosetta undrain {node}` first")))
    }

    async fn get(&self, _: Request<GetClusterRequest>) -> Result<Response<ClusterState>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn undrain(&self, _: Request<UndrainNodeRequest>) -> Result<Response<Node>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cordon(&self, _: Request<CordonNodeRequest>) -> Result<Response<Node>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn uncordon(&self, _: Request<UncordonNodeRequest>) -> Result<Response<Node>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn rebalance(&self, _: Request<RebalanceRequest>) -> Result<Response<RebalanceResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn resign_leader(&self, _: Request<ResignLeaderRequest>) -> Result<Response<ResignLeaderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_events(&self, _: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
