use std::time::Duration;

use foldhash::HashMap;
use tokio::time::Instant;

/// Between two lines about one table.
const QUIET: Duration = Duration::from_secs(60);

/// Rows that the source changed and the destination lacks: each table is told of at once the first time, and then as
/// often as keeps a log readable. No clock.
#[derive(Debug, Default)]
pub(super) struct MissingRows {
    tables: HashMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// Rows since then.
    untold: u64,
}

impl MissingRows {
    /// Notes `count` more rows of `table`; returns how many are to be told of now.
    pub(super) fn note(&mut self, table: &str, count: u64, now: Instant) -> Option<u64> {
        let Some(told) = self.tables.get_mut(table) else {
            self.tables.insert(table.to_owned(), Told { at: now, untold: 0 });
            return Some(count);
        };
        told.untold += count;
        if now.duration_since(told.at) < QUIET {
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_told_of_at_once_and_then_once_a_minute() {
        let (mut missing, start) = (MissingRows::default(), Instant::now());
        let mut note = |table, count, seconds| missing.note(table, count, start + Duration::from_secs(seconds));
        assert_eq!(note("a", 2, 0), Some(2));
        assert_eq!(note("a", 3, 1), None);
        assert_eq!(note("b", 1, 1), Some(1));
        assert_eq!(note("a", 4, 59), None);
        assert_eq!(note("a", 5, 60), Some(12));
        assert_eq!(note("a", 6, 61), None);
    }
}
