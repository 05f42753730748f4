//! `health`: for Docker, systemd and people. Asks by gRPC, and by HTTP where gRPC is not spoken.

use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    super::{Output, json},
    Connection,
    client::DEADLINE,
    error::ControlError,
};

/// The first line of an HTTP answer is shorter.
const STATUS_LINE_BYTES: u64 = 256;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

/// Each of the endpoints must be ready: a process is asked about itself, not about another.
pub(super) async fn run(Arguments { connection }: Arguments) -> Result<String, ControlError> {
    let client = connection.client()?;
    for (url, endpoint) in client.nodes() {
        let ready = timeout(DEADLINE, is_ready(url, endpoint)).await;
        if !ready.unwrap_or_else(|_| Err(ControlError::Silent(url.clone())))? {
            return Err(ControlError::Plain(format!("{url} is not ready; see its log, or `rosetta status`")));
        }
    }
    Ok(match connection.output {
        Output::Json => json(&serde_json::json!({ "ready": true })),
        Output::Table => "ready\n".to_owned(),
    })
}

async fn is_ready(url: &str, endpoint: &Endpoint) -> Result<bool, ControlError> {
    let channel = endpoint.connect().await.map_err(|_| ControlError::NoNode(url.to_owned()))?;
    match HealthClient::new(channel).check(HealthCheckRequest::default()).await {
        Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
        Err(status) => match ControlError::from_status(url, &status) {
            // No gRPC there, or gRPC without this service: HTTP may be spoken.
            ControlError::Broken(_)
            | ControlError::Told { code: Code::Unimplemented | Code::Unknown | Code::Internal, .. } => {
                is_ready_by_http(url, endpoint).await
            }
            other => Err(other),
        },
    }
}

async fn is_ready_by_http(url: &str, endpoint: &Endpoint) -> Result<bool, ControlError> {
    let broken = |_| ControlError::Broken(url.to_owned());
    let authority = endpoint.uri().authority().map_or("", |authority| authority.as_str());
    let mut stream = TcpStream::connect(authority).await.map_err(broken)?;
    let request = format!("GET /health/ready HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    stream.take(STATUS_LINE_BYTES).read_to_end(&mut answer).await.map_err(broken)?;
    is_success(&answer).ok_or_else(|| ControlError::Broken(url.to_owned()))
}

/// `None` if it is no HTTP answer.
fn is_success(answer: &[u8]) -> Option<bool> {
    let answer = answer.strip_prefix(b"HTTP/1.")?;
    Some(answer.get(1..5)? == b" 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_ready() {
        assert_eq!(is_success(b"HTTP/1.1 200 OK\r\n"), Some(true));
        assert_eq!(is_success(b"HTTP/1.1 503 Service Unavailable\r\n"), Some(false));
        assert_eq!(is_success(b"SSH-2.0"), None);
        assert_eq!(is_success(b""), None);
    }
}
