use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::health_reporter};

use super::{ask, nobody};

async fn grpc(status: ServingStatus) -> (String, JoinHandle<()>) {
    let (reporter, service) = health_reporter();
    reporter.set_service_status("", status).await;
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap_or_else(|error| panic!("{error}"));
    let url = incoming.local_addr().map_or_else(|error| panic!("{error}"), |address| format!("http://{address}"));
    let server = Server::builder().add_service(service).serve_with_incoming(incoming);
    (url, tokio::spawn(async move { server.await.unwrap_or_else(|error| panic!("{error}")) }))
}

/// Answers `/health/ready` with this status line, and everything else, HTTP/2 included, with 400.
async fn http(ready: &'static str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("{error}"));
    let url = listener.local_addr().map_or_else(|error| panic!("{error}"), |address| format!("http://{address}"));
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let is_ready = request[..length].starts_with(b"GET /health/ready HTTP/1.1\r\n");
            let line = if is_ready { ready } else { "HTTP/1.1 400 Bad Request" };
            let _ = stream.write_all(format!("{line}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        }
    };
    (url, tokio::spawn(serve))
}

#[tokio::test]
async fn by_grpc() {
    let (url, _server) = grpc(ServingStatus::Serving).await;
    assert_eq!(ask(&url, &["health"]).await.text(), "ready\n");
    let (url, _server) = grpc(ServingStatus::NotServing).await;
    let expected = format!("{url} is not ready; see its log, or `rosetta status`");
    assert_eq!(ask(&url, &["health"]).await.error(), expected);
}

#[tokio::test]
async fn by_http() {
    let (url, _server) = http("HTTP/1.1 200 OK").await;
    assert_eq!(ask(&url, &["health"]).await.text(), "ready\n");
    let (url, _server) = http("HTTP/1.1 503 Service Unavailable").await;
    assert!(ask(&url, &["health"]).await.error().contains("is not ready"));
}

#[tokio::test]
async fn every_endpoint_must_be_ready() {
    let (url, _server) = grpc(ServingStatus::Serving).await;
    assert!(ask(&format!("{url},{}", nobody()), &["health"]).await.error().starts_with("no node answers at"));
}
