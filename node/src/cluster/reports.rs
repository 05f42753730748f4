//! How all pipelines fare, asked of their owners for the leader.

use std::time::Duration;

use rosetta_coordinator::leader::{Finding, Report};
use rosetta_proto::v1::{self, PeerStatusRequest, peers_client::PeersClient};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::transport::Channel;

use super::{LocalPipeline, Node};
use crate::pipeline::status::State;

/// Loads are smoothed over minutes, and a pipeline is moved for its servers after half a minute.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Who does not answer in time is asked again next time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Asks all owners from time to time, for as long as this node leads. Never ends.
pub(super) async fn gather(node: &Node, findings: &mpsc::Sender<Finding>) {
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut reports: Vec<Report> = own(node);
        reports.extend(others(node).await);
        for report in reports {
            if findings.send(Finding::Fares(report)).await.is_err() {
                return;
            }
        }
    }
}

fn own(node: &Node) -> Vec<Report> {
    let report = |(pipeline, local): (_, LocalPipeline)| {
        let figures = local.status.figures();
        let is_starting = matches!(figures.state, State::Starting | State::Retrying);
        let is_cut_off = is_starting && figures.error.is_some();
        Report { pipeline, node: node.record.id.clone(), bytes: figures.bytes, is_cut_off }
    };
    node.local.all().into_iter().map(report).collect()
}

async fn others(node: &Node) -> Vec<Report> {
    let view = node.views.now();
    let mut calls = JoinSet::new();
    for peer in view.nodes.values().filter(|peer| peer.record.id != node.record.id) {
        if let Ok(channel) = node.channels.to(&peer.record.address) {
            calls.spawn(ask(channel));
        }
    }
    calls.join_all().await.into_iter().flatten().filter_map(report).collect()
}

async fn ask(channel: Channel) -> Vec<v1::PipelineStatus> {
    let mut client = PeersClient::new(channel);
    match timeout(ANSWERED_WITHIN, client.status(PeerStatusRequest::default())).await {
        Ok(Ok(answer)) => answer.into_inner().statuses,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn report(status: v1::PipelineStatus) -> Option<Report> {
    let is_starting = matches!(status.state(), v1::PipelineState::Starting | v1::PipelineState::Retrying);
    let is_cut_off = is_starting && !status.error.is_empty();
    let (pipeline, node) = (status.pipeline.parse().ok()?, status.node.parse().ok()?);
    Some(Report { pipeline, node, bytes: status.bytes, is_cut_off })
}
