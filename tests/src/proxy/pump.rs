//! The bytes between a client and the server.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    Direction, Shared, Verdict,
    listener::{Client, Listener},
};

const CHUNK: usize = 64 * 1024;

/// How a pump ended.
enum End {
    /// Its sender has finished: the receiver was told.
    Finished,
    /// The connection must be closed in both directions.
    Close,
}

/// A connection that is counted as long as this lives.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Counted<'a> {
        shared.live.fetch_add(1, Ordering::SeqCst);
        Counted(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) async fn accept(listener: Listener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok(client) = listener.accept().await {
        connections.spawn(connection(client, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: Client, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
    let _ = server.set_nodelay(true);
    let _counted = Counted::new(&shared);
    let (mut cut_all, mut frozen) = (shared.cut_all.subscribe(), shared.frozen.subscribe());
    let (from_server, to_server) = server.into_split();
    let up = pump(client.from, to_server, Direction::ToServer, &shared);
    let down = pump(from_server, client.to, Direction::ToClient, &shared);
    let mut pumps = std::pin::pin!(both(up, down));
    tokio::select! {
        _ = cut_all.changed() => {}
        // The pumps are kept, and with them the open sockets.
        _ = frozen.changed() => { let _ = cut_all.changed().await; }
        () = pumps.as_mut() => {}
    }
}

/// Runs both pumps until both have finished, or one wants the connection closed.
async fn both(up: impl Future<Output = End>, down: impl Future<Output = End>) {
    tokio::pin!(up, down);
    let (mut up_open, mut down_open) = (true, true);
    while up_open || down_open {
        let end = tokio::select! {
            end = &mut up, if up_open => { up_open = false; end }
            end = &mut down, if down_open => { down_open = false; end }
        };
        match end {
            End::Finished => {}
            End::Close => return,
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    shared: &Shared,
) -> End {
    let mut stalled = shared.stalled.subscribe();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                return End::Finished;
            }
            Ok(length) => length,
            Err(_) => return End::Close,
        };
        if stalled.wait_for(|stalled| !stalled).await.is_err() {
            return End::Close;
        }
        let chunk = &buffer[..length];
        let passed = match shared.meet(direction, chunk) {
            Verdict::Forward => to.write_all(chunk).await,
            Verdict::CutAfter(bytes) => {
                let _ = to.write_all(&chunk[..bytes]).await;
                return End::Close;
            }
            Verdict::HalfClose => half_close(&mut from, &mut to, &mut buffer).await,
        };
        if passed.is_err() {
            return End::Close;
        }
    }
}

/// The receiver sees the end of the stream; what the sender still sends disappears.
async fn half_close(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut [u8],
) -> io::Result<()> {
    to.shutdown().await?;
    while from.read(buffer).await? > 0 {}
    Err(io::ErrorKind::ConnectionReset.into())
}
