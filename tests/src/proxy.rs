//! A TCP proxy in front of a server, that fails on demand.
//!
//!     accept -> connect upstream -> two pumps per connection, one per direction -> each chunk passes the armed fault
//!
//! A fault is armed, then delivered when traffic meets it; `delivered` counts only what really happened.

mod listener;
mod pump;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
};

use self::listener::{Front, Listener};

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
    front: Front,
    /// Accepts, and holds all connections; empty while connections are refused.
    tasks: AsyncMutex<JoinSet<()>>,
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
        let (front, listener) = Listener::on_a_free_port().await;
        Proxy::at(front, listener, port)
    }

    /// A proxy that is reached by the Unix socket `path`.
    #[must_use]
    pub fn start_unix(path: &Path, port: u16) -> Proxy {
        let front = Front::Unix(path.to_owned());
        let listener = Listener::unix(path);
        Proxy::at(front, listener, port)
    }

    fn at(front: Front, listener: Listener, port: u16) -> Proxy {
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
        tasks.spawn(pump::accept(listener, Arc::clone(&shared)));
        Proxy { shared, front, tasks: AsyncMutex::new(tasks) }
    }

    #[must_use]
    pub fn url(&self, db: &str) -> String {
        format!("postgres://postgres@{}/{db}", self.address())
    }

    /// Where clients of any protocol connect: `host:port`, or the path of a Unix socket.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.front {
            Front::Tcp(address) => address.to_string(),
            Front::Unix(path) => path.display().to_string(),
        }
    }

    /// Closes all connections and refuses new ones, as the kernel does for a process that is gone.
    pub async fn refuse(&self) {
        if self.connections() > 0 {
            self.shared.count();
        }
        self.tasks.lock().await.shutdown().await;
    }

    /// Takes connections again, after `refuse`.
    pub async fn accept(&self) {
        let mut tasks = self.tasks.lock().await;
        if tasks.is_empty() {
            let listener = Listener::again(&self.front).await;
            tasks.spawn(pump::accept(listener, Arc::clone(&self.shared)));
        }
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

/// What becomes of a chunk.
enum Verdict {
    Forward,
    CutAfter(usize),
    HalfClose,
}
