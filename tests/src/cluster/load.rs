//! Several writers that add rows to the audit tables, steadily.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{WITHIN, world::World};
use crate::wait::eventually;

/// How much is written.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// For each source database.
    pub writers: u64,
    /// Between two transactions of one writer. Each adds to every table of its database.
    pub pace: Duration,
}

impl Default for Rate {
    /// A row in every table each 50 ms.
    fn default() -> Rate {
        Rate { writers: 2, pace: Duration::from_millis(100) }
    }
}

pub struct AuditLoad {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    writers: JoinSet<()>,
}

impl AuditLoad {
    #[must_use]
    pub fn start(world: &World, seed: u64, rate: Rate) -> AuditLoad {
        let mut load = AuditLoad { stop: Arc::default(), committed: Arc::default(), writers: JoinSet::new() };
        for (number, shop) in world.shops().enumerate() {
            for writer in 0..rate.writers {
                let id = number as u64 * rate.writers + writer + 1;
                let writer = Writer {
                    url: world.source.url(shop),
                    tables: world.tables_of(shop).map(str::to_owned).collect(),
                    id,
                    next: 0,
                    rng: StdRng::seed_from_u64(seed.wrapping_mul(1000) + id),
                    stop: Arc::clone(&load.stop),
                    committed: Arc::clone(&load.committed),
                };
                load.writers.spawn(writer.run(rate.pace));
            }
        }
        load
    }

    /// Transactions so far.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Waits until `count` more transactions are committed: a length of time that is tied to events.
    pub async fn goes_on(&self, count: u64) {
        let target = self.committed() + count;
        eventually(WITHIN, "the load goes on", async || {
            if self.committed() >= target { Ok(()) } else { Err(format!("{} of {target}", self.committed())) }
        })
        .await;
    }

    /// Lets every writer finish its transaction. Answers how many were committed.
    pub async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            writer.expect("a writer does not panic");
        }
        self.committed()
    }
}

struct Writer {
    url: String,
    tables: Vec<String>,
    id: u64,
    next: u64,
    rng: StdRng,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, pace: Duration) {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut client = None;
        while !self.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let statements = self.transaction();
            let connected = match client.take() {
                Some(connected) => connected,
                None => match self.connect().await {
                    Ok(connected) => connected,
                    Err(_) => continue,
                },
            };
            if connected.batch_execute(&statements).await.is_ok() {
                self.committed.fetch_add(1, Ordering::Relaxed);
            }
            client = Some(connected).filter(|c| !c.is_closed());
        }
    }

    async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn transaction(&mut self) -> String {
        self.next += 1;
        let (id, seq) = (self.id, self.next);
        let mut statements = String::from("begin;");
        for table in &self.tables {
            statements += &format!("insert into {table} values (clock_timestamp(), {id}, {seq}, 'event');");
            if self.rng.random_ratio(1, 10) {
                // Identical rows: only their number tells whether one was lost or doubled.
                let same = self.rng.random_range(2..5);
                statements +=
                    &format!("insert into {table} select null, {id}, null, 'same' from generate_series(1, {same});");
            }
        }
        // What is rolled back must not arrive.
        statements += if self.rng.random_ratio(1, 30) { "rollback" } else { "commit" };
        statements
    }
}
