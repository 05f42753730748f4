//! A pipeline's load as a weight.

use std::time::Duration;

/// How fast the smoothed rate follows: long enough that a burst moves nothing.
const TIME_CONSTANT: Duration = Duration::from_mins(5);

/// The rate, in bytes per second, that weighs as much as the mere existence of a pipeline (its connections, keepalives
/// and buffers).
const USUAL_RATE: f64 = 1_048_576.0;

/// The rate of one pipeline, smoothed over minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    rate: f64,
    is_known: bool,
}

impl Load {
    /// The load after `bytes` more within `elapsed`. The first measure is taken as it is.
    #[must_use]
    pub fn after(self, bytes: u64, elapsed: Duration) -> Load {
        if elapsed.is_zero() {
            return self;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than a double's digits")]
        let rate = bytes as f64 / elapsed.as_secs_f64();
        if !self.is_known {
            return Load { rate, is_known: true };
        }
        let kept = (-elapsed.as_secs_f64() / TIME_CONSTANT.as_secs_f64()).exp();
        Load { rate: rate + (self.rate - rate) * kept, is_known: true }
    }

    /// Bytes per second.
    pub fn rate(self) -> f64 {
        self.rate
    }
}

/// The weight of a pipeline: 1.0 when idle, one more for each MiB/s.
pub fn weight(load: Load) -> f64 {
    1.0 + load.rate / USUAL_RATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_seconds_weighs_little_and_a_lasting_load_all_of_it() {
        let idle = Load::default().after(0, Duration::from_secs(10));
        let burst = idle.after(100 << 20, Duration::from_secs(1));
        assert!(weight(burst) < 1.4, "{}", weight(burst));
        let lasting = (0..1800).fold(idle, |load, _| load.after(8 << 20, Duration::from_secs(1)));
        assert!((weight(lasting) - 9.0).abs() < 0.1, "{}", weight(lasting));
        assert!((weight(Load::default()) - 1.0).abs() < f64::EPSILON, "unknown is as idle");
    }
}
