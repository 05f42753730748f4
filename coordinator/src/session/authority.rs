//! Until when this node surely has its lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use crate::records::LEASE;

/// Never, on [`BootTime`]'s scale.
const NEVER: i64 = i64::MIN;

/// An instant on the clock that goes on while the host is suspended, as the server's does; nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BootTime(i64);

impl BootTime {
    /// `None` when the system has no such clock: then nothing is ever sure.
    pub(super) fn now() -> Option<BootTime> {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
        Some(BootTime(now.tv_sec().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec())))
    }
}

/// Whether this node surely has its lease: for 2/3 of the lease's length after the last acknowledged renewal was
/// *sent*. The server counts from when it got the renewal, which is later, so it cannot have ended the lease
/// before. Cheap and lock-free; clones show the same.
#[derive(Clone, Debug)]
pub struct Authority {
    /// On the clock of [`BootTime`].
    ends: Arc<AtomicI64>,
}

impl Authority {
    pub(super) fn none() -> Authority {
        Authority { ends: Arc::new(AtomicI64::new(NEVER)) }
    }

    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.margin().is_zero()
    }

    /// For how long it is still valid; zero when it is not.
    #[must_use]
    pub fn margin(&self) -> Duration {
        BootTime::now().map_or(Duration::ZERO, |now| self.margin_at(now))
    }

    fn margin_at(&self, now: BootTime) -> Duration {
        let left = self.ends.load(Ordering::Acquire).saturating_sub(now.0);
        Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    }

    /// A renewal that was sent at `sent` is acknowledged.
    pub(super) fn extend(&self, sent: Option<BootTime>) {
        let Some(sent) = sent else { return };
        let length = i64::try_from((LEASE * 2 / 3).as_nanos()).unwrap_or(0);
        self.ends.store(sent.0.saturating_add(length), Ordering::Release);
    }

    /// The lease is gone, or somebody else's.
    pub(super) fn end(&self) {
        self.ends.store(NEVER, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn it_lasts_for_two_thirds_of_the_lease_since_the_renewal_was_sent() {
        let authority = Authority::none();
        authority.extend(Some(BootTime(100 * SECOND)));
        assert_eq!(authority.margin_at(BootTime(101 * SECOND)), Duration::from_secs(3));
        assert_eq!(authority.margin_at(BootTime(104 * SECOND)), Duration::ZERO);
        assert_eq!(authority.margin_at(BootTime(200 * SECOND)), Duration::ZERO);
    }

    #[test]
    fn there_is_none_before_a_renewal_nor_after_the_end_nor_without_a_clock() {
        let authority = Authority::none();
        assert!(!authority.is_valid());
        authority.extend(None);
        assert!(!authority.is_valid());
        authority.extend(BootTime::now());
        assert!(authority.is_valid() && authority.clone().is_valid());
        authority.end();
        assert!(!authority.is_valid());
    }
}
