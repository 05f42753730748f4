//! Changes of definitions, as they happen: a connection of its own that listens.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_postgres::AsyncMessage;

use super::{Catalog, connect};

const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Short: until it is back, only the fallback poll notices changes.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that held for this long did not fail at once.
const STEADY: Duration = Duration::from_secs(10);

/// Tells that definitions have changed. On the leader only: it takes one connection of the budget, and gives it back
/// when it is dropped.
pub struct Listener {
    catalog: Catalog,
    changes: watch::Receiver<u64>,
    /// Ends with the listener.
    _task: JoinSet<()>,
}

impl Catalog {
    /// Listens, and takes the leader's share of connections: `MAIN_POOL_MAX_CONN` with this one. Where that is 1 there is
    /// no connection to listen on, and nothing is ever told: the fallback poll remains.
    pub fn listen(&self) -> Listener {
        let (told, changes) = watch::channel(0);
        let mut task = JoinSet::new();
        let limit = self.shared.settings.main_pool_max;
        self.shared.pool.resize(limit.saturating_sub(1).max(1));
        if limit > 1 {
            task.spawn(listen(self.clone(), told));
        } else {
            task.spawn(std::future::pending::<()>());
        }
        Listener { catalog: self.clone(), changes, _task: task }
    }
}

impl Listener {
    /// Waits until definitions may have changed since the last call: after a notification, and after each connection, as
    /// nobody was told what happened before. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.catalog.shared.pool.resize(self.catalog.shared.settings.pipeline_pool_max.max(1));
    }
}

async fn listen(catalog: Catalog, told: watch::Sender<u64>) {
    let mut wait = FIRST_WAIT;
    loop {
        let started = Instant::now();
        let reason = listen_once(&catalog, &told).await;
        tracing::warn!(server = catalog.server(), reason, "not listening to the config database; connecting again");
        if started.elapsed() > STEADY {
            wait = FIRST_WAIT;
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Listens until the connection ends; the reason is for the log.
async fn listen_once(catalog: &Catalog, told: &watch::Sender<u64>) -> String {
    let url = &catalog.shared.settings.url;
    let tls = match connect::tls(url) {
        Ok(tls) => tls,
        Err(error) => return error.to_string(),
    };
    let (client, mut connection) = match connect::config(url).connect(tls).await {
        Ok(connected) => connected,
        Err(error) => return catalog.failed(&error).to_string(),
    };
    let mut listening = std::pin::pin!(client.batch_execute("listen rosetta_catalog"));
    let mut is_listening = false;
    loop {
        let message = std::future::poll_fn(|context| connection.poll_message(context));
        tokio::select! {
            result = &mut listening, if !is_listening => match result {
                Ok(()) => {
                    is_listening = true;
                    told.send_modify(|count| *count += 1);
                }
                Err(error) => return catalog.failed(&error).to_string(),
            },
            message = message => match message {
                Some(Ok(AsyncMessage::Notification(_))) => told.send_modify(|count| *count += 1),
                Some(Ok(_)) => {}
                Some(Err(error)) => return catalog.failed(&error).to_string(),
                None => return "the connection has ended".to_owned(),
            },
        }
    }
}
