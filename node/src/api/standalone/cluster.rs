use std::{pin::Pin, sync::Arc, time::SystemTime};

use rosetta_proto::v1::{self, cluster_server};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{NODE, only_in_a_cluster};
use crate::supervisor::Fleet;

/// A cluster of one.
pub(in crate::api) struct Cluster {
    fleet: Arc<Fleet>,
    started_at: SystemTime,
}

impl Cluster {
    pub(in crate::api) fn new(fleet: Arc<Fleet>) -> Cluster {
        Cluster { fleet, started_at: SystemTime::now() }
    }

    fn state(&self) -> v1::ClusterState {
        let members = self.fleet.members();
        let node = v1::Node {
            id: NODE.to_owned(),
            state: v1::NodeState::Active.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: 1.0,
            started_at: Some(self.started_at.into()),
            is_leader: true,
            pipelines: u32::try_from(members.len()).unwrap_or(u32::MAX),
            ..v1::Node::default()
        };
        let assignments = members.iter().map(|member| v1::PipelineAssignment {
            pipeline: member.job.definition.name.clone(),
            node: NODE.to_owned(),
            epoch: member.job.status.figures().epoch.0,
            ..v1::PipelineAssignment::default()
        });
        v1::ClusterState {
            name: NODE.to_owned(),
            nodes: vec![node],
            leader: NODE.to_owned(),
            assignments: assignments.collect(),
            revision: 0,
        }
    }
}

type ClusterStates = Pin<Box<dyn Stream<Item = Result<v1::ClusterState, Status>> + Send>>;

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    type WatchStream = ClusterStates;

    async fn get(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::ClusterState>, Status> {
        Ok(Response::new(self.state()))
    }

    async fn watch(&self, _: Request<v1::WatchClusterRequest>) -> Result<Response<ClusterStates>, Status> {
        Err(only_in_a_cluster("watching a cluster"))
    }

    async fn drain(&self, _: Request<v1::DrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Err(only_in_a_cluster("draining a node"))
    }

    async fn undrain(&self, _: Request<v1::UndrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Err(only_in_a_cluster("undraining a node"))
    }

    async fn cordon(&self, _: Request<v1::CordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Err(only_in_a_cluster("cordoning a node"))
    }

    async fn uncordon(&self, _: Request<v1::UncordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        Err(only_in_a_cluster("uncordoning a node"))
    }

    async fn r#move(&self, _: Request<v1::MovePipelineRequest>) -> Result<Response<v1::MovePipelineResponse>, Status> {
        Err(only_in_a_cluster("moving a pipeline"))
    }

    async fn rebalance(&self, _: Request<v1::RebalanceRequest>) -> Result<Response<v1::RebalanceResponse>, Status> {
        Err(only_in_a_cluster("rebalancing"))
    }

    async fn resign_leader(
        &self,
        _: Request<v1::ResignLeaderRequest>,
    ) -> Result<Response<v1::ResignLeaderResponse>, Status> {
        Err(only_in_a_cluster("resigning"))
    }

    async fn list_events(&self, _: Request<v1::ListEventsRequest>) -> Result<Response<v1::ListEventsResponse>, Status> {
        Err(only_in_a_cluster("a history of events"))
    }
}
