//! Is the destination what the source is, as multisets, and did nobody write after its successor?

use std::{collections::HashMap, fmt};

use super::world::{MIRROR, Pipeline, World};
use crate::postgres::{Postgres, rows};

/// What the audit tables say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Transactions of the load.
    pub transactions: u64,
    /// Rows at the source.
    pub rows: u64,
    /// At the source and not at the destination.
    pub lost: u64,
    /// At the destination and not, or not as often, at the source.
    pub duplicate: u64,
    /// Written under an older epoch after a newer one had written.
    pub stale: u64,
}

impl Verdict {
    pub(super) async fn of(world: &World, transactions: u64) -> Verdict {
        let mut verdict = Verdict { transactions, ..Verdict::default() };
        for pipeline in &world.pipelines {
            verdict.judge(world, pipeline).await;
        }
        verdict
    }

    async fn judge(&mut self, world: &World, pipeline: &Pipeline) {
        let source = multiset(&world.source, &pipeline.shop, &pipeline.table).await;
        let destination = multiset(&world.destination, MIRROR, &pipeline.table).await;
        let missing = |from: &HashMap<String, u64>, there: &HashMap<String, u64>| -> u64 {
            from.iter().map(|(row, count)| count.saturating_sub(there.get(row).copied().unwrap_or(0))).sum()
        };
        self.rows += source.values().sum::<u64>();
        self.lost += missing(&source, &destination);
        self.duplicate += missing(&destination, &source);
        self.stale += stale(&world.destination, &pipeline.table).await;
    }

    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows > 0 && self.lost == 0 && self.duplicate == 0 && self.stale == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { transactions, rows, lost, duplicate, stale } = self;
        write!(f, "{lost} lost, {duplicate} duplicate, {stale} stale of {rows} rows in {transactions} transactions")
    }
}

/// Each different row, and how often it is there.
async fn multiset(server: &Postgres, db: &str, table: &str) -> HashMap<String, u64> {
    let client = server.client(db).await;
    let query = format!("select (at, writer, seq, note)::text, count(*) from {table} group by 1");
    let counted = rows(&client, &query).await.into_iter().map(|mut row| {
        let count = row.pop().flatten().and_then(|count| count.parse().ok()).expect("a number");
        (row.pop().flatten().unwrap_or_default(), count)
    });
    counted.collect()
}

async fn stale(destination: &Postgres, table: &str) -> u64 {
    let newest = format!("select epoch, max(epoch) over (order by arrived) as newest from {table}");
    let count = destination.value(MIRROR, &format!("select count(*) from ({newest}) r where epoch < newest")).await;
    count.parse().expect("a number")
}
