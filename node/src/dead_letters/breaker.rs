//! When a table has to stop, because its destination refuses most of what it gets. No I/O, no clock.

use foldhash::HashMap;

/// Fewer refusals than this stop no table: a handful of bad rows is what dead letters are for.
const FEWEST_REJECTED: u64 = 100;
/// So many outcomes count in full; older ones count less and less.
const MEMORY: u64 = 2000;

/// What became of the last changes of a table.
#[derive(Debug, Clone, Copy, Default)]
struct Outcomes {
    applied: u64,
    rejected: u64,
}

/// The tables of which changes were refused lately.
#[derive(Debug, Default)]
pub struct Breaker {
    tables: HashMap<u32, Outcomes>,
}

impl Breaker {
    /// No table was refused anything: there is nothing to count.
    pub fn is_quiet(&self) -> bool {
        self.tables.is_empty()
    }

    /// So many changes of this table were taken.
    pub fn applied(&mut self, oid: u32, changes: u64) {
        if let Some(outcomes) = self.tables.get_mut(&oid) {
            outcomes.applied += changes;
            outcomes.forget();
            if outcomes.rejected == 0 {
                self.tables.remove(&oid);
            }
        }
    }

    /// A change was refused; true when the table has to stop.
    pub fn rejected(&mut self, oid: u32) -> bool {
        let outcomes = self.tables.entry(oid).or_default();
        outcomes.rejected += 1;
        let has_to_stop = outcomes.rejected >= FEWEST_REJECTED && outcomes.rejected > outcomes.applied;
        outcomes.forget();
        has_to_stop
    }

    /// The table begins anew.
    pub fn reset(&mut self, oid: u32) {
        self.tables.remove(&oid);
    }
}

impl Outcomes {
    fn forget(&mut self) {
        while self.applied + self.rejected > MEMORY {
            self.applied /= 2;
            self.rejected /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_bad_rows_among_many_stop_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..10_000 {
            assert!(!breaker.rejected(1));
            breaker.applied(1, 10);
        }
    }

    #[test]
    fn mostly_bad_rows_stop_the_table() {
        let mut breaker = Breaker::default();
        breaker.applied(1, 100_000);
        let until = (1..).find(|_| breaker.rejected(1)).unwrap();
        assert_eq!(until, FEWEST_REJECTED);
        breaker.reset(1);
        assert!(!breaker.rejected(1));
    }

    #[test]
    fn what_was_good_long_ago_counts_little() {
        let mut breaker = Breaker::default();
        assert!(!breaker.rejected(1));
        breaker.applied(1, 1000);
        let until = (1..).find(|_| breaker.rejected(1)).unwrap();
        assert!(until < 2000, "{until}");
    }
}
