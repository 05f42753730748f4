//! What becomes of the changes for a destination that cannot be reached. No I/O; time comes in.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// From this share of the log's budget on, changes go to the store at once.
const NEAR_BUDGET: f64 = 0.8;
/// Between two looks at a store that takes no changes.
const STORE_AGAIN: Duration = Duration::from_secs(10);
/// A destination that was well for so long is forgiven what was before.
const WELL_FOR: Duration = Duration::from_secs(60);
/// The pause before a destination that has failed again and again is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When changes for a destination that is away go to the store, and how many may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillLimits {
    /// A shorter outage is sat out: the source's log keeps the changes.
    pub after: Duration,
    /// Bytes of log that the source may keep for the slot.
    pub max_slot_wal: u64,
    /// Bytes of letters of one destination, as the store counts them. Beyond, the source's log keeps the changes.
    pub max_bytes: u64,
}

impl Default for SpillLimits {
    fn default() -> SpillLimits {
        SpillLimits { after: Duration::from_secs(30), max_slot_wal: 5 << 30, max_bytes: 50 << 30 }
    }
}

/// A destination that is away, as it is when a pipeline starts or looks again.
#[derive(Debug, Clone, Copy)]
pub struct Absence {
    pub away_for: Duration,
    /// Some of its changes are in the store already.
    pub is_spilled: bool,
    /// The store answers.
    pub has_store: bool,
    /// Bytes of its letters.
    pub stored: u64,
    /// Bytes of log that the source keeps.
    pub retained: u64,
}

/// What is done with its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// They go to the store, and the slot moves on.
    Spill,
    /// They stay in the source's log. Think again after this time.
    Hold { again: Duration },
}

/// What to do with the changes for a destination that is away.
pub fn plan(absence: &Absence, limits: &SpillLimits) -> Plan {
    if !absence.has_store || absence.stored >= limits.max_bytes {
        return Plan::Hold { again: STORE_AGAIN };
    }
    let is_near_budget = absence.retained as f64 >= limits.max_slot_wal as f64 * NEAR_BUDGET;
    if absence.is_spilled || is_near_budget || absence.away_for >= limits.after {
        return Plan::Spill;
    }
    Plan::Hold { again: limits.after - absence.away_for }
}

/// The destinations of a pipeline that are away, or were lately.
#[derive(Debug, Default)]
pub struct Outages {
    records: Mutex<HashMap<String, Record>>,
}

#[derive(Debug, Clone)]
struct Record {
    since: Instant,
    failed_at: Instant,
    failures: u32,
    is_away: bool,
    error: String,
}

/// One that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    pub for_: Duration,
    /// Before it is asked again.
    pub pause: Duration,
    pub error: String,
}

impl Outages {
    /// It could not be reached, or failed while it was written to.
    pub fn failed(&self, destination: &str, error: String, now: Instant) {
        let mut records = self.records();
        let fresh = || Record { since: now, failed_at: now, failures: 0, is_away: false, error: String::new() };
        let record = records.entry(destination.to_owned()).or_insert_with(fresh);
        if !record.is_away {
            let was_well = now.saturating_duration_since(record.failed_at) >= WELL_FOR;
            (record.since, record.failures) = (now, if was_well { 0 } else { record.failures });
        }
        (record.is_away, record.failed_at, record.error) = (true, now, error);
        record.failures = record.failures.saturating_add(1);
    }

    /// It answers again.
    pub fn answered(&self, destination: &str) {
        if let Some(record) = self.records().get_mut(destination) {
            record.is_away = false;
        }
    }

    pub fn find(&self, destination: &str, now: Instant) -> Option<Away> {
        let records = self.records();
        let record = records.get(destination).filter(|record| record.is_away)?;
        let doublings = record.failures.saturating_sub(1).min(10);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        Some(Away { for_: now.saturating_duration_since(record.since), pause, error: record.error.clone() })
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    fn absence() -> Absence {
        Absence { away_for: SOON, is_spilled: false, has_store: true, stored: 0, retained: 0 }
    }

    #[test]
    fn a_short_outage_is_sat_out() {
        let limits = SpillLimits::default();
        assert_eq!(plan(&absence(), &limits), Plan::Hold { again: limits.after - SOON });
        assert_eq!(plan(&Absence { away_for: limits.after, ..absence() }, &limits), Plan::Spill);
        assert_eq!(plan(&Absence { is_spilled: true, ..absence() }, &limits), Plan::Spill);
        assert_eq!(plan(&Absence { retained: limits.max_slot_wal * 9 / 10, ..absence() }, &limits), Plan::Spill);
    }

    #[test]
    fn what_the_store_does_not_take_stays_in_the_log() {
        let limits = SpillLimits::default();
        let long = Absence { away_for: 2 * limits.after, is_spilled: true, ..absence() };
        assert_eq!(plan(&Absence { has_store: false, ..long }, &limits), Plan::Hold { again: STORE_AGAIN });
        assert_eq!(plan(&Absence { stored: limits.max_bytes, ..long }, &limits), Plan::Hold { again: STORE_AGAIN });
    }

    #[test]
    fn one_that_comes_and_goes_is_asked_less_and_less_often() {
        let (outages, start) = (Outages::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outages.find("a", start), None);
        let mut pauses = Vec::new();
        for flap in 0..4 {
            outages.failed("a", "gone".to_owned(), after(5 * flap));
            pauses.push(outages.find("a", after(5 * flap)).unwrap().pause);
            outages.answered("a");
            assert_eq!(outages.find("a", after(5 * flap)), None);
        }
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        outages.failed("a", "gone".to_owned(), after(500));
        assert_eq!(outages.find("a", after(503)).unwrap().for_, Duration::from_secs(3));
        assert_eq!(outages.find("a", after(503)).unwrap().pause, FIRST_PAUSE);
    }
}
