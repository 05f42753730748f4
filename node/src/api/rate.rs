use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Shorter than this, a rate would be noise.
const SPAN: Duration = Duration::from_millis(900);

/// How fast a count grows, by looking at it now and then.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Option<Look>>);

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    count: u64,
    per_second: f64,
}

impl Rate {
    /// The growth each second, from an earlier look until now; 0 at the first.
    pub(super) fn observe(&self, count: u64, now: Instant) -> f64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(look) = *last else {
            *last = Some(Look { at: now, count, per_second: 0.0 });
            return 0.0;
        };
        let elapsed = now.saturating_duration_since(look.at);
        if elapsed < SPAN {
            return look.per_second;
        }
        let per_second = count.saturating_sub(look.count) as f64 / elapsed.as_secs_f64();
        *last = Some(Look { at: now, count, per_second });
        per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second_or_so() {
        let (rate, start) = (Rate::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(rate.observe(100, start), 0.0);
        assert_eq!(rate.observe(900, after(500)), 0.0, "too soon to tell");
        assert_eq!(rate.observe(2100, after(1000)), 2000.0);
        assert_eq!(rate.observe(2100, after(1100)), 2000.0);
        assert_eq!(rate.observe(2100, after(3000)), 0.0);
    }
}
