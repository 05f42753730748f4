//! What pipelines do, as their owners say: one call for each node, all at once, and nobody is waited for long.

use std::{collections::BTreeMap, time::Duration};

use rosetta_coordinator::{records::Assignment, view::View};
use rosetta_proto::{
    NodeId, PipelineName,
    v1::{self, PeerStatusRequest, PeerStatusResponse, peers_client::PeersClient},
};
use tokio::{task::JoinSet, time::timeout};
use tonic::transport::Channel;

use crate::cluster::Channels;

use super::{
    Api,
    routes::{Asked, Routes, not_there, unanswered},
};

/// An owner that says nothing for so long leaves its pipelines unknown.
const OWNER_ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A node is asked for all that it owns rather than for more names than this.
const MOST_NAMES: usize = 20;

/// What a node answered, or why it did not.
type Told = Result<BTreeMap<String, v1::PipelineStatus>, String>;

impl Api {
    /// A status for each of `names`, by name.
    pub(super) async fn statuses<'a>(
        &self,
        view: &View,
        names: impl IntoIterator<Item = &'a PipelineName>,
    ) -> BTreeMap<PipelineName, v1::PipelineStatus> {
        let Routes { here, elsewhere, nobody } = Routes::of(view, names, &self.node.record.id);
        let mut statuses: Vec<_> = here.iter().filter_map(|name| self.here(view, name)).collect();
        statuses.extend(nobody);
        for (owner, told) in ask(&self.node.channels, &elsewhere).await {
            let names = elsewhere.get(&owner).map(|asked| asked.pipelines.as_slice()).unwrap_or_default();
            let assignments = names.iter().filter_map(|name| view.assignments.get(name));
            statuses.extend(assignments.map(|assignment| of_owner(&assignment.record, &told)));
        }
        statuses.into_iter().filter_map(|status| Some((status.pipeline.parse().ok()?, status))).collect()
    }

    /// The status of one pipeline that is this node's own.
    fn here(&self, view: &View, name: &PipelineName) -> Option<v1::PipelineStatus> {
        let assignment = view.assignments.get(name)?;
        Some(self.figures.status(&self.node, name).unwrap_or_else(|| not_there(&assignment.record)))
    }
}

async fn ask(channels: &Channels, owners: &BTreeMap<NodeId, Asked>) -> Vec<(NodeId, Told)> {
    let mut calls = JoinSet::new();
    let mut told = Vec::new();
    for (owner, asked) in owners {
        match channels.to(&asked.address) {
            Ok(channel) => {
                let (owner, asked) = (owner.clone(), asked.clone());
                calls.spawn(async move { (owner.clone(), ask_one(channel, &owner, &asked).await) });
            }
            Err(cause) => told.push((owner.clone(), Err(cause))),
        }
    }
    // Each has its own deadline.
    while let Some(answer) = calls.join_next().await {
        told.extend(answer.ok());
    }
    told
}

async fn ask_one(channel: Channel, owner: &NodeId, asked: &Asked) -> Told {
    let few = asked.pipelines.len() <= MOST_NAMES;
    let names = asked.pipelines.iter().filter(|_| few).map(ToString::to_string);
    let request = PeerStatusRequest { pipelines: names.collect() };
    let mut client = PeersClient::new(channel);
    let answer = match timeout(OWNER_ANSWERS_WITHIN, client.status(request)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return Err(format!("it answers {}", status.code())),
        Err(_) => return Err(format!("no answer within {OWNER_ANSWERS_WITHIN:?}")),
    };
    let PeerStatusResponse { node, incarnation, statuses } = answer;
    if node != owner.as_str() || incarnation != asked.incarnation.to_string() {
        return Err(format!("at {} answers another process, node {node} ({incarnation})", asked.address));
    }
    Ok(statuses.into_iter().map(|status| (status.pipeline.clone(), status)).collect())
}

fn of_owner(assignment: &Assignment, told: &Told) -> v1::PipelineStatus {
    match told {
        Ok(statuses) => statuses.get(assignment.pipeline.as_str()).cloned().unwrap_or_else(|| not_there(assignment)),
        Err(cause) => {
            let owner = &assignment.owner.node;
            let remedy = "it may well run on; look at that node";
            unanswered(assignment, &format!("its node {owner} does not say: {cause}; {remedy}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::placement::samples::Sample, *};

    #[test]
    fn what_an_owner_does_not_say_is_unknown_with_the_reason() {
        let view = Sample::default().node("b").owned("orders", "b").view();
        let assignment = &view.assignments[&"orders".parse().unwrap()].record;
        let silent = of_owner(assignment, &Err("no answer within 1s".to_owned()));
        assert_eq!((silent.state(), silent.node.as_str()), (v1::PipelineState::Unknown, "b"));
        assert!(silent.error.contains("node b does not say: no answer within 1s"), "{}", silent.error);
        let without = of_owner(assignment, &Ok(BTreeMap::new()));
        assert_eq!((without.state(), without.epoch), (v1::PipelineState::Unknown, 7000));
        let running = v1::PipelineStatus { pipeline: "orders".to_owned(), changes: 4, ..v1::PipelineStatus::default() };
        let told = BTreeMap::from([("orders".to_owned(), running.clone())]);
        assert_eq!(of_owner(assignment, &Ok(told)), running);
    }
}
