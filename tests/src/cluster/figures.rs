//! Times that were measured, and what they come to.

use std::{fmt, time::Duration};

/// Measured times of one kind.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    us: Vec<i64>,
}

impl Figures {
    /// Takes down a time in microseconds.
    pub fn add(&mut self, us: i64) {
        self.us.push(us);
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.us.len()
    }

    /// The time that `percent` of a hundred did not exceed; zero when nothing was measured.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.us.clone();
        sorted.sort_unstable();
        // The nearest rank: of 20 times, p99 is the greatest.
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        let us = sorted.get(rank - 1).copied().unwrap_or_default();
        Duration::from_micros(u64::try_from(us).unwrap_or_default())
    }

    /// Panics when more than half of the times exceed `p50`, or more than one of a hundred `p99`.
    pub fn assert_within(&self, what: &str, p50: Duration, p99: Duration) {
        let (half, most) = (self.percentile(50), self.percentile(99));
        assert!(half <= p50 && most <= p99, "{what}: {self}; allowed are p50 {p50:?} and p99 {p99:?}");
    }
}

impl Figures {
    /// Takes down all times of another set.
    pub fn add_all(&mut self, other: &Figures) {
        self.us.extend(&other.us);
    }
}

impl Extend<i64> for Figures {
    fn extend<I: IntoIterator<Item = i64>>(&mut self, times: I) {
        self.us.extend(times);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent).as_millis());
        write!(f, "p50 {p50} ms, p99 {p99} ms, max {max} ms, of {}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut figures = Figures::default();
        assert_eq!(figures.percentile(50), Duration::ZERO);
        figures.extend((1..=20).rev());
        let at = |percent| figures.percentile(percent).as_micros();
        assert_eq!((at(50), at(95), at(99), at(100)), (10, 19, 20, 20));
    }
}
