//! A node's session: its lease, its record under it, and the clock that says how long both surely last.
//!
//!     register (lease, record by compare-and-swap) -> renew each second -> lost? register again, with a new lease
//!                                                                       -> superseded? end

mod authority;
mod member;

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub use self::authority::Authority;
use self::member::Member;
use crate::{
    records::{Incarnation, Keys, NodeRecord},
    store::{LeaseId, Store},
};

/// How long an orderly stop may take: one request to end the lease, with its own deadline, and a margin.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Not registered yet.
    Connecting,
    /// Registered under this lease.
    Active { lease: LeaseId },
    /// The lease has ended, or may have. The session tries to renew it, or to register under a new one.
    Lost,
    /// Another process has registered under this node's id since. For good: this one must end.
    Superseded { by: Incarnation },
    /// It was stopped. For good.
    Stopped,
}

/// There will be no session any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnded {
    #[error("another process runs as this node (incarnation {by}); give each node an id of its own, or stop one")]
    Superseded { by: Incarnation },
    #[error("the node's session was stopped")]
    Stopped,
}

/// A running session. Dropping it stops it too, without waiting (one that was started by [`Session::start_here`] just
/// vanishes then, as a process that is killed).
#[derive(Debug)]
pub struct Session {
    watch: SessionWatch,
    stop: CancellationToken,
    // Aborted on drop; empty when the session runs on a thread of its own.
    _task: JoinSet<()>,
}

/// What others see of a session. Clones show the same.
#[derive(Clone, Debug)]
pub struct SessionWatch {
    state: watch::Receiver<SessionState>,
    authority: Authority,
}

impl Session {
    /// Starts to register `record`, on a thread and connections of its own: work that keeps the other threads busy
    /// must not delay a renewal.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(store: &dyn Store, keys: &Keys, record: NodeRecord) -> io::Result<Session> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (member, watch) = Member::new(store.apart(), keys, record);
        let stop = CancellationToken::new();
        let run = member.run(stop.clone());
        std::thread::Builder::new().name("session".to_owned()).spawn(move || runtime.block_on(run))?;
        Ok(Session { watch, stop, _task: JoinSet::new() })
    }

    /// The same on the caller's runtime, for simulation. The authority is by the real clock also there.
    #[must_use]
    pub fn start_here(store: Arc<dyn Store>, keys: &Keys, record: NodeRecord) -> Session {
        let (member, watch) = Member::new(store, keys, record);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(member.run(stop.clone()));
        Session { watch, stop, _task: task }
    }

    #[must_use]
    pub fn watch(&self) -> SessionWatch {
        self.watch.clone()
    }

    /// Ends the lease, and with it the node's record and candidacy. When etcd does not answer, they end by themselves.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.watch.state.changed().await.is_ok() {} };
        if timeout(STOPPED_WITHIN, ended).await.is_err() {
            tracing::warn!("the session did not stop in time; its lease ends by itself");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SessionWatch {
    /// Where the session stands now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        let state = *self.state.borrow();
        match state {
            SessionState::Superseded { .. } | SessionState::Stopped => state,
            // A session that panicked says nothing more.
            SessionState::Connecting | SessionState::Active { .. } | SessionState::Lost => {
                if self.state.has_changed().is_err() { SessionState::Stopped } else { state }
            }
        }
    }

    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Waits until the session is active; answers its lease. Cancel-safe.
    ///
    /// # Errors
    /// It will never be.
    pub async fn active(&mut self) -> Result<LeaseId, SessionEnded> {
        loop {
            self.state.mark_unchanged();
            match self.state() {
                SessionState::Active { lease } => return Ok(lease),
                SessionState::Superseded { by } => return Err(SessionEnded::Superseded { by }),
                SessionState::Stopped => return Err(SessionEnded::Stopped),
                SessionState::Connecting | SessionState::Lost => {}
            }
            self.state.changed().await.map_err(|_| SessionEnded::Stopped)?;
        }
    }

    /// Waits until the session is no longer active under `lease`. Cancel-safe.
    pub async fn left(&mut self, lease: LeaseId) {
        // An error says that the session is over.
        let _ = self.state.wait_for(|state| *state != SessionState::Active { lease }).await;
    }

    /// Waits until there will be no session any more; says why. Cancel-safe.
    pub async fn ended(&mut self) -> SessionEnded {
        let is_over = |state: &SessionState| matches!(state, SessionState::Superseded { .. } | SessionState::Stopped);
        match self.state.wait_for(is_over).await.map(|state| *state) {
            Ok(SessionState::Superseded { by }) => SessionEnded::Superseded { by },
            Ok(_) | Err(_) => SessionEnded::Stopped,
        }
    }
}
