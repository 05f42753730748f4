//! The API of a cluster's node: translate, look or change, answer (docs/API.md).
//!
//! ```text
//! pipelines   the catalog's commands, and statuses asked of the owners     catalog away: shows what etcd knows
//! service     nodes, moves, history: records by compare-and-swap           etcd away: UNAVAILABLE
//! peers       what nodes say to each other
//! pages       HTTP for probes
//! ```
//!
//! Nothing is decided here but what a caller may ask for: a change is a record, and the leader and the owners follow.

mod contact;
mod definitions;
mod errors;
mod figures;
mod history;
mod intents;
mod listing;
mod metrics;
mod moves;
mod pages;
mod peers;
mod pipelines;
mod placement;
mod readiness;
mod rebalance;
mod requests;
mod routes;
mod service;
mod state;
mod statuses;
mod stored;
mod stream;
mod validate;
mod watch;

use std::{io, sync::Arc};

use rosetta_proto::v1::{
    cluster_server::ClusterServer, dead_letters_server::DeadLettersServer, peers_server::PeersServer,
    pipelines_server::PipelinesServer,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use self::figures::Figures;
use super::{
    Listeners,
    dead_letters::{DeadLetters, Reach},
    server,
};
use crate::cluster::Node;

/// What the services work with.
struct Api {
    node: Arc<Node>,
    figures: Figures,
    /// The node stops: streams end with it.
    cancel: CancellationToken,
}

/// Answers for a node until cancelled. Cancel it after the session has ended: peers take a node that no longer listens
/// for dead.
///
/// # Errors
/// A listener that broke.
pub async fn serve(node: Arc<Node>, listeners: Listeners, cancel: CancellationToken) -> io::Result<()> {
    let api = Arc::new(Api { figures: Figures::default(), cancel: cancel.clone(), node });
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut services = Routes::builder();
    services
        .add_service(health_service)
        .add_service(PipelinesServer::new(pipelines::Pipelines(Arc::clone(&api))))
        .add_service(ClusterServer::new(service::Cluster::new(Arc::clone(&api))))
        .add_service(PeersServer::new(peers::Peers(Arc::clone(&api))));
    if let Some(desk) = &api.node.desk {
        let reach = Reach::Cluster(Arc::clone(&api.node));
        services.add_service(DeadLettersServer::new(DeadLetters::new(Arc::clone(desk), reach)));
    }
    tokio::select! {
        served = server::run(listeners, services, pages::pages(Arc::clone(&api)), cancel) => served,
        never = readiness::report(&api.node, &health) => match never {},
        never = api.figures.sample(&api.node.local) => match never {},
    }
}
