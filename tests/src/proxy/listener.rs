//! Where clients connect to a proxy: a TCP port or a Unix socket.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use crate::{SOON, eventually, postgres::free_port};

#[derive(Clone)]
pub(super) enum Front {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Both ways of an accepted connection.
pub(super) struct Client {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Listener {
    pub(super) async fn on_a_free_port() -> (Front, Listener) {
        // Below the ports of outgoing connections, one of which could take it while the proxy refuses.
        eventually(SOON, "the proxy listens", async || {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let listener = TcpListener::bind(address).await.map_err(|error| error.to_string())?;
            Ok((Front::Tcp(address), Listener::Tcp(listener)))
        })
        .await
    }

    pub(super) fn unix(path: &Path) -> Listener {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path);
        Listener::Unix(listener.unwrap_or_else(|error| panic!("listen on {}: {error}", path.display())))
    }

    pub(super) async fn again(front: &Front) -> Listener {
        match front {
            Front::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                Listener::Tcp(listener.unwrap_or_else(|error| panic!("listen on {address} again: {error}")))
            }
            Front::Unix(path) => Listener::unix(path),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Client> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                let (from, to) = stream.into_split();
                Ok(Client { from: Box::new(from), to: Box::new(to) })
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let (from, to) = stream.into_split();
                Ok(Client { from: Box::new(from), to: Box::new(to) })
            }
        }
    }
}
