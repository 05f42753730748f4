//! Whether this node takes part, and what the cluster lacks.

use std::{convert::Infallible, time::Duration};

use rosetta_coordinator::{
    store::Revision,
    view::{Contact, View},
};
use rosetta_proto::v1::{cluster_server::ClusterServer, peers_server::PeersServer, pipelines_server::PipelinesServer};
use tokio::time::{MissedTickBehavior, interval};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{peers::Peers, pipelines::Pipelines, service::Cluster};
use crate::cluster::Node;

/// What a node lacks has several sources; looking is cheap.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// At most so many names in one line.
const MOST_NAMES: usize = 5;

/// What this node lacks, and what the cluster does as far as this node knows, one line each.
pub(super) fn problems(node: &Node) -> Vec<String> {
    let mut problems = node.lacks();
    // Without etcd, what is known of the rest is old.
    if !matches!(&*node.views.contact().borrow(), Contact::Away { .. }) {
        problems.extend(of_view(&node.views.now()));
    }
    problems
}

fn of_view(view: &View) -> Vec<String> {
    let mut problems = Vec::new();
    if view.revision == Revision::default() {
        return problems;
    }
    if view.leader().is_none() {
        problems.push("no node leads: nothing is placed and no definition takes effect until one does".to_owned());
    }
    let has_owner = |name| {
        view.assignments.get(name).is_some_and(|assignment| view.nodes.contains_key(&assignment.record.owner.node))
    };
    let orphans: Vec<&str> = view.pipelines.keys().filter(|name| !has_owner(*name)).map(|name| name.as_str()).collect();
    if !orphans.is_empty() {
        let more = if orphans.len() > MOST_NAMES { ", ..." } else { "" };
        let names = orphans.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        problems.push(format!("{} pipelines have no node that lives: {names}{more}", orphans.len()));
    }
    problems
}

/// Tells gRPC health for ever: serving while the node lacks nothing.
pub(super) async fn report(node: &Node, health: &HealthReporter) -> Infallible {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let is_ready = node.lacks().is_empty();
        if told != Some(is_ready) {
            set(health, if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
            told = Some(is_ready);
        }
    }
}

/// For the process as a whole (no name) and for each service.
async fn set(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    match status {
        ServingStatus::Serving => {
            health.set_serving::<PipelinesServer<Pipelines>>().await;
            health.set_serving::<ClusterServer<Cluster>>().await;
            health.set_serving::<PeersServer<Peers>>().await;
        }
        ServingStatus::NotServing | ServingStatus::Unknown => {
            health.set_not_serving::<PipelinesServer<Pipelines>>().await;
            health.set_not_serving::<ClusterServer<Cluster>>().await;
            health.set_not_serving::<PeersServer<Peers>>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::placement::samples::Sample, *};

    #[test]
    fn a_cluster_without_leader_and_owners_says_so() {
        let lacking =
            of_view(&Sample::default().node("a").owned("one", "a").owned("two", "gone").pipeline("new").view());
        assert_eq!(lacking.len(), 2, "{lacking:?}");
        assert!(lacking[0].starts_with("no node leads"), "{lacking:?}");
        assert_eq!(lacking[1], "2 pipelines have no node that lives: new, two");
        let whole = Sample::default().node("a").leader("a").owned("one", "a").view();
        assert_eq!(of_view(&whole), Vec::<String>::new());
        assert_eq!(of_view(&View::default()), Vec::<String>::new(), "nothing is known");
    }
}
