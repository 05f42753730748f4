use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait before the next try: doubling from 0.5 s to 60 s, with jitter so that many pipelines
/// that lost one server do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `dice` is a random number.
    pub(super) fn next(&mut self, dice: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * f64::from(dice) / f64::from(u32::MAX))
    }

    /// There was progress since the last failure.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_to_a_minute_and_never_vanish(dice in prop::collection::vec(any::<u32>(), 1..40)) {
            let mut backoff = Backoff::default();
            for (failures, dice) in dice.into_iter().enumerate() {
                let wait = backoff.next(dice);
                let full = (0.5 * 2f64.powi(failures.min(20) as i32)).min(60.0);
                prop_assert!(wait.as_secs_f64() >= full * 0.499 && wait.as_secs_f64() <= full * 1.001);
            }
        }
    }
}
