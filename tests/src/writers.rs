//! Connections that write transactions at a steady pace, whatever is in them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_postgres::{Client, NoTls};

/// The writers of a load. They reconnect when the server is away.
#[derive(Default)]
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// One more, which starts what `transaction` says every `pace`, or as soon as it can.
    pub(crate) fn add(&mut self, url: String, pace: Duration, transaction: impl FnMut() -> String + Send + 'static) {
        self.tasks.spawn(write(url, pace, transaction, Arc::clone(&self.stop), Arc::clone(&self.committed)));
    }

    /// Transactions committed so far.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Lets every writer finish its transaction. Answers how many were committed.
    pub(crate) async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.tasks.join_next().await {
            writer.expect("a writer does not panic");
        }
        self.committed()
    }
}

async fn write(
    url: String,
    pace: Duration,
    mut transaction: impl FnMut() -> String,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let statements = transaction();
        let connected = match client.take() {
            Some(connected) => connected,
            None => match connect(&url).await {
                Ok(connected) => connected,
                Err(_) => continue,
            },
        };
        match connected.batch_execute(&statements).await {
            Ok(()) => _ = committed.fetch_add(1, Ordering::Relaxed),
            // A duplicate key or a deadlock: this transaction is void, as in any application.
            Err(_) => _ = connected.batch_execute("rollback").await,
        }
        client = Some(connected).filter(|client| !client.is_closed());
    }
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
