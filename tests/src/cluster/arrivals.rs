//! When rows came to the destination, and under which epoch: from the audit tables themselves.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::Client;

use super::world::{MIRROR, Pipeline, World};
use crate::postgres::try_rows;

/// Microseconds since the Unix epoch, by the clock that the servers have, too.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before the year 294000")
}

/// What one start of a pipeline wrote: from `first` to `last`, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    pub epoch: u64,
    pub first: i64,
    pub last: i64,
}

/// A connection to the destination that asks about arrivals.
pub struct Arrivals {
    client: Client,
    pipelines: Vec<Pipeline>,
}

impl Arrivals {
    pub async fn of(world: &World) -> Arrivals {
        Arrivals { client: world.destination.client(MIRROR).await, pipelines: world.pipelines.clone() }
    }

    /// Which of the pipelines `names` have not brought the row with `seq` = `mark`.
    ///
    /// # Errors
    /// The destination does not answer.
    pub async fn without_mark(&self, mark: i64, names: &[&str]) -> Result<Vec<String>, String> {
        let has = |table: &str| format!("exists (select from {table} where seq = {mark})");
        let brought = self.of_each(names, has).await?;
        Ok(brought.into_iter().filter(|(_, value)| value != "true").map(|(name, _)| name).collect())
    }

    /// The newest epoch that wrote for each of the pipelines `names`; 0 for none.
    ///
    /// # Errors
    /// The destination does not answer.
    pub async fn newest_epochs(&self, names: &[&str]) -> Result<Vec<(String, u64)>, String> {
        let newest = self.of_each(names, |table| format!("coalesce((select max(epoch) from {table}), 0)")).await?;
        Ok(newest.into_iter().map(|(name, epoch)| (name, epoch.parse().expect("an epoch"))).collect())
    }

    /// The spells of a pipeline, oldest first.
    pub async fn spells(&self, pipeline: &str) -> Vec<Spell> {
        let table = self.table(pipeline);
        let us = |value: &str| format!("(extract(epoch from {value}) * 1000000)::bigint");
        let (first, last) = (us("min(arrived)"), us("max(arrived)"));
        let query = format!("select epoch, {first}, {last} from {table} group by epoch order by epoch");
        let rows = try_rows(&self.client, &query).await.unwrap_or_else(|e| panic!("{e}\n  in: {query}"));
        let number =
            |row: &[Option<String>], n: usize| row[n].as_deref().and_then(|v| v.parse().ok()).expect("a number");
        let spell = |row: &Vec<Option<String>>| Spell {
            epoch: u64::try_from(number(row, 0)).expect("an epoch"),
            first: number(row, 1),
            last: number(row, 2),
        };
        rows.iter().map(spell).collect()
    }

    /// The greatest time in microseconds from the source's write to the arrival, of rows that arrived after `since`.
    pub async fn worst_lag(&self, pipeline: &str, since: i64) -> i64 {
        let table = self.table(pipeline);
        let query = format!(
            "select coalesce((extract(epoch from max(arrived - at)) * 1000000)::bigint, 0) from {table} \
             where arrived > to_timestamp({since} / 1000000.0)"
        );
        let rows = try_rows(&self.client, &query).await.unwrap_or_else(|e| panic!("{e}\n  in: {query}"));
        rows[0][0].as_deref().and_then(|v| v.parse().ok()).expect("a number")
    }

    fn table(&self, pipeline: &str) -> &str {
        let found = self.pipelines.iter().find(|candidate| candidate.name == pipeline);
        &found.unwrap_or_else(|| panic!("no pipeline {pipeline}")).table
    }

    /// The value of an expression about each pipeline's table, in one query.
    async fn of_each(&self, names: &[&str], value: impl Fn(&str) -> String) -> Result<Vec<(String, String)>, String> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let one = |name: &&str| format!("select '{name}', ({})::text", value(self.table(name)));
        let query: Vec<String> = names.iter().map(one).collect();
        let rows = try_rows(&self.client, &query.join(" union all ")).await?;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect())
    }
}
