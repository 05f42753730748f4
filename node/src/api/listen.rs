use std::{io, net::SocketAddr};

use clap::Args;
use tokio::net::TcpListener;
use tracing::warn;

const DEFAULT_GRPC: &str = "127.0.0.1:50051";
const DEFAULT_HTTP: &str = "127.0.0.1:8001";

/// Where a process listens.
#[derive(Debug, Clone, Args)]
pub struct Addresses {
    /// Where gRPC is answered, HOST:PORT; `off` for nowhere [default: 127.0.0.1:50051, if that is free].
    #[arg(long, value_name = "ADDR", env = "ROSETTA_GRPC_ADDR")]
    grpc_addr: Option<String>,
    /// Where HTTP probes are answered, HOST:PORT; `off` for nowhere [default: 127.0.0.1:8001, if that is free].
    #[arg(long, value_name = "ADDR", env = "ROSETTA_HTTP_ADDR")]
    http_addr: Option<String>,
}

/// The listening sockets of a process.
#[derive(Debug, Default)]
pub struct Listeners {
    pub(super) grpc: Option<TcpListener>,
    pub(super) http: Option<TcpListener>,
}

impl Addresses {
    /// Listens. A default address that is taken is left to whoever has it, for several processes may run on a machine;
    /// one that somebody gave is not.
    ///
    /// # Errors
    /// What was given cannot be listened on.
    pub async fn listen(&self) -> Result<Listeners, String> {
        Ok(Listeners {
            grpc: listen(self.grpc_addr.as_deref(), DEFAULT_GRPC, "--grpc-addr").await?,
            http: listen(self.http_addr.as_deref(), DEFAULT_HTTP, "--http-addr").await?,
        })
    }
}

async fn listen(given: Option<&str>, default: &str, flag: &str) -> Result<Option<TcpListener>, String> {
    if given == Some("off") {
        return Ok(None);
    }
    match (bind(given.unwrap_or(default)).await, given) {
        (Ok(listener), _) => Ok(Some(listener)),
        (Err(error), Some(address)) => {
            Err(format!("cannot listen on {address}: {error}; give another address with {flag}"))
        }
        (Err(error), None) => {
            warn!("not listening on {default}: {error}; give another address with {flag}, or `{flag} off`");
            Ok(None)
        }
    }
}

async fn bind(address: &str) -> io::Result<TcpListener> {
    // `:50051` is how many write "on every address".
    let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    TcpListener::bind(address).await
}

impl Listeners {
    /// For one who has opened the sockets.
    pub fn new(grpc: TcpListener, http: TcpListener) -> Listeners {
        Listeners { grpc: Some(grpc), http: Some(http) }
    }

    /// Where gRPC is answered, if anywhere.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where HTTP is answered, if anywhere.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_an_error_only_when_somebody_asked_for_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listen(Some(&address), DEFAULT_GRPC, "--grpc-addr").await.unwrap_err();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        assert!(listen(None, &address, "--grpc-addr").await.unwrap().is_none());
        assert!(listen(Some("off"), &address, "--grpc-addr").await.unwrap().is_none());
    }
}
