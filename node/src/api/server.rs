//! The servers of a process; what they answer is given.

use std::{io, time::Duration};

use axum::Router;
use rosetta_proto::v1::FILE_DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::RoutesBuilder,
    transport::{Server, server::TcpIncoming},
};

use super::Listeners;

/// A caller that went without a word is noticed after twice this, and its streams end.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Answers until cancelled.
///
/// # Errors
/// A listener that broke.
pub(super) async fn run(
    listeners: Listeners,
    services: RoutesBuilder,
    pages: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    let grpc = async {
        match listeners.grpc {
            Some(listener) => serve_grpc(services, listener, cancel.clone()).await,
            None => Ok(()),
        }
    };
    let http = async {
        match listeners.http {
            Some(listener) => {
                axum::serve(listener, pages).with_graceful_shutdown(cancel.clone().cancelled_owned()).await
            }
            None => Ok(()),
        }
    };
    tokio::try_join!(grpc, http).map(drop)
}

/// `services` and reflection over them.
async fn serve_grpc(mut services: RoutesBuilder, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    services.add_service(reflection().build_v1().map_err(io::Error::other)?);
    services.add_service(reflection().build_v1alpha().map_err(io::Error::other)?);
    Server::builder()
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_EVERY))
        .add_routes(services.routes())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), cancel.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
