//! What a process answers: gRPC `rosetta.v1` with health and reflection, and HTTP for probes.
//!
//! The API is for people and programs inside a trusted network; nothing in it is encrypted or asks for a password, which
//! is why a process listens on the loopback address unless it is told otherwise.

mod cluster;
mod convert;
mod dead_letters;
mod http;
mod listen;
mod rate;
mod refuse;
mod server;
mod standalone;

use std::{io, sync::Arc};

use rosetta_proto::v1::{
    DefinitionSet, cluster_server::ClusterServer, dead_letters_server::DeadLettersServer,
    pipelines_server::PipelinesServer,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::supervisor::Fleet;

pub use cluster::serve as serve_cluster;
use dead_letters::{DeadLetters, Reach};
pub use listen::{Addresses, Listeners};

/// Answers for the pipelines of a standalone process until cancelled.
///
/// # Errors
/// A listener that broke.
pub async fn serve(
    fleet: Arc<Fleet>,
    definitions: DefinitionSet,
    listeners: Listeners,
    cancel: CancellationToken,
) -> io::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<PipelinesServer<standalone::Pipelines>>().await;
    let pipelines = standalone::Pipelines::new(Arc::clone(&fleet), definitions, cancel.clone());
    let mut services = Routes::builder();
    services
        .add_service(health_service)
        .add_service(PipelinesServer::new(pipelines))
        .add_service(ClusterServer::new(standalone::Cluster::new(Arc::clone(&fleet))));
    if let Some(desk) = fleet.desk() {
        services.add_service(DeadLettersServer::new(DeadLetters::new(desk, Reach::alone(fleet.mailboxes()))));
    }
    server::run(listeners, services, standalone::pages(fleet), cancel).await
}
