//! What a process answers: gRPC `rosetta.v1` with health and reflection, and HTTP for probes.
//!
//! The API is for people and programs inside a trusted network; nothing in it is encrypted or asks for a password, which
//! is why a process listens on the loopback address unless it is told otherwise.

mod convert;
mod http;
mod listen;
mod rate;
mod standalone;

use std::{io, sync::Arc};

use rosetta_proto::v1::{
    DefinitionSet, FILE_DESCRIPTOR_SET, cluster_server::ClusterServer, pipelines_server::PipelinesServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

use crate::supervisor::Fleet;

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
    let pipelines = standalone::Pipelines::new(Arc::clone(&fleet), definitions, cancel.clone());
    let grpc = async {
        match listeners.grpc {
            Some(listener) => serve_grpc(pipelines, Arc::clone(&fleet), listener, cancel.clone()).await,
            None => Ok(()),
        }
    };
    let http = async {
        match listeners.http {
            Some(listener) => http::serve(Arc::clone(&fleet), listener, cancel.clone()).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(grpc, http).map(drop)
}

async fn serve_grpc(
    pipelines: standalone::Pipelines,
    fleet: Arc<Fleet>,
    listener: TcpListener,
    cancel: CancellationToken,
) -> io::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<PipelinesServer<standalone::Pipelines>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Server::builder()
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(io::Error::other)?)
        .add_service(PipelinesServer::new(pipelines))
        .add_service(ClusterServer::new(standalone::Cluster::new(fleet)))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), cancel.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
