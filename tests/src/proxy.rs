//! A TCP proxy in front of a server, that fails on demand.
//!
//!     accept -> connect upstream -> two pumps per connection, one per direction -> each chunk passes the armed fault
//!
//! A fault is armed, then delivered when traffic meets it; `delivered` counts only what really happened.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

const CHUNK: usize = 64 * 1024;

/// CommandComplete with the tag COMMIT: how a server says that a transaction is committed, however it was asked.
const COMMIT_ANSWER: &[u8] = b"C\x00\x00\x00\x0bCOMMIT\x00";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What goes wrong, once, on the connection that meets it (`CutAll`: on all).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All connections are closed now.
    CutAll,
    /// The connection that carries the n-th byte in this direction from now on is closed after that byte.
    CutAfter(Direction, u64),
    /// The receiver is told that no more bytes come in this direction, and none do; the other direction goes on.
    HalfClose(Direction),
    /// The server commits; its answer is lost, and the connection with it.
    LoseCommitAnswer,
}

pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Ends all connections when the proxy is dropped.
    _tasks: JoinSet<()>,
}

struct Shared {
    upstream: SocketAddr,
    armed: Mutex<Option<Fault>>,
    stalled: watch::Sender<bool>,
    cut_all: watch::Sender<u64>,
    frozen: watch::Sender<u64>,
    live: AtomicUsize,
    delivered: AtomicU64,
}

impl Proxy {
    /// A proxy on a free port in front of 127.0.0.1:`port`.
    pub async fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the proxy listens");
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from(([127, 0, 0, 1], port)),
            armed: Mutex::new(None),
            stalled: watch::Sender::new(false),
            cut_all: watch::Sender::new(0),
            frozen: watch::Sender::new(0),
            live: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Proxy { shared, address, _tasks: tasks }
    }

    #[must_use]
    pub fn url(&self, db: &str) -> String {
        format!("postgres://postgres@{}/{db}", self.address)
    }

    /// Where clients of any protocol connect, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Arms a fault; replaces one that has not been delivered yet.
    pub fn arm(&self, fault: Fault) {
        if fault == Fault::CutAll {
            if self.connections() > 0 {
                self.shared.count();
            }
            self.shared.cut_all.send_modify(|generation| *generation += 1);
        } else {
            *self.shared.armed() = Some(fault);
        }
    }

    /// Forgets an armed fault that has not been delivered.
    pub fn disarm(&self) {
        *self.shared.armed() = None;
    }

    /// Stops forwarding on every connection, without closing any; new ones are accepted and stall too.
    pub fn stall(&self) {
        if self.connections() > 0 {
            self.shared.count();
        }
        self.shared.stalled.send_replace(true);
    }

    pub fn unstall(&self) {
        self.shared.stalled.send_replace(false);
    }

    /// No byte passes any more on the connections of this moment, nor are they closed; new ones are not affected.
    pub fn freeze(&self) {
        if self.connections() > 0 {
            self.shared.count();
        }
        self.shared.frozen.send_modify(|generation| *generation += 1);
    }

    /// How many faults have really happened.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.live.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn armed(&self) -> MutexGuard<'_, Option<Fault>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        self.delivered.fetch_add(1, Ordering::SeqCst);
    }

    /// What becomes of a chunk, and of its connection.
    fn meet(&self, direction: Direction, chunk: &[u8]) -> Verdict {
        let mut armed = self.armed();
        let verdict = match *armed {
            Some(Fault::CutAfter(at, left)) if at == direction => {
                let length = chunk.len() as u64;
                if left > length {
                    *armed = Some(Fault::CutAfter(at, left - length));
                    return Verdict::Forward;
                }
                Verdict::CutAfter(usize::try_from(left).unwrap_or(chunk.len()))
            }
            Some(Fault::HalfClose(at)) if at == direction => Verdict::HalfClose,
            Some(Fault::LoseCommitAnswer) if direction == Direction::ToClient => {
                match chunk.windows(COMMIT_ANSWER.len()).position(|w| w == COMMIT_ANSWER) {
                    Some(start) => Verdict::CutAfter(start),
                    None => return Verdict::Forward,
                }
            }
            Some(Fault::CutAfter(..) | Fault::HalfClose(_) | Fault::LoseCommitAnswer | Fault::CutAll) | None => {
                return Verdict::Forward;
            }
        };
        *armed = None;
        self.count();
        verdict
    }
}

enum Verdict {
    Forward,
    CutAfter(usize),
    HalfClose,
}

/// How a pump ended.
enum End {
    /// Its sender has finished: the receiver was told.
    Finished,
    /// The connection must be closed in both directions.
    Close,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    shared.live.fetch_add(1, Ordering::SeqCst);
    let (mut cut_all, mut frozen) = (shared.cut_all.subscribe(), shared.frozen.subscribe());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pump(from_client, to_server, Direction::ToServer, &shared);
    let down = pump(from_server, to_client, Direction::ToClient, &shared);
    let mut pumps = std::pin::pin!(both(up, down));
    tokio::select! {
        _ = cut_all.changed() => {}
        // The pumps are kept, and with them the open sockets.
        _ = frozen.changed() => { let _ = cut_all.changed().await; }
        () = pumps.as_mut() => {}
    }
    shared.live.fetch_sub(1, Ordering::SeqCst);
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

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction, shared: &Shared) -> End {
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
async fn half_close(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, buffer: &mut [u8]) -> io::Result<()> {
    to.shutdown().await?;
    while from.read(buffer).await? > 0 {}
    Err(io::ErrorKind::ConnectionReset.into())
}
