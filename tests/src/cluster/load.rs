//! Several writers that add rows to the audit tables, steadily.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{WITHIN, world::World};
use crate::{wait::eventually, writers::Writers};

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

pub struct AuditLoad(Writers);

impl AuditLoad {
    #[must_use]
    pub fn start(world: &World, seed: u64, rate: Rate) -> AuditLoad {
        let mut load = Writers::default();
        for (number, shop) in world.shops().enumerate() {
            for writer in 0..rate.writers {
                let id = number as u64 * rate.writers + writer + 1;
                let tables = world.tables_of(shop).map(str::to_owned).collect();
                let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000) + id);
                let mut writer = Writer { tables, id, next: 0, rng };
                load.add(world.source.url(shop), rate.pace, move || writer.transaction());
            }
        }
        AuditLoad(load)
    }

    /// Transactions so far.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.0.committed()
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
    pub async fn stop(self) -> u64 {
        self.0.stop().await
    }
}

struct Writer {
    tables: Vec<String>,
    id: u64,
    next: u64,
    rng: StdRng,
}

impl Writer {
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
