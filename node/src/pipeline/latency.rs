/// Each doubling of the latency is cut into this many buckets, so that a percentile is known to 1/16.
const STEPS: usize = 16;
/// Microseconds from 1 to 2^36, which is 19 hours.
const DOUBLINGS: usize = 36;

/// A histogram of latencies with logarithmic buckets; a few kilobytes, however long it runs.
#[derive(Debug, Clone)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
    sum_micros: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { counts: vec![0; STEPS * DOUBLINGS], total: 0, sum_micros: 0 }
    }
}

impl Latency {
    /// Notes that `weight` changes took `micros`.
    pub fn record(&mut self, micros: u64, weight: u64) {
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += weight;
            self.total += weight;
            self.sum_micros = self.sum_micros.saturating_add(micros.saturating_mul(weight));
        }
    }

    /// How many changes were recorded.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Seconds, of all changes together.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// How many changes surely took no longer than `micros`: what is in one bucket with it, 1/16 of it at most, is not
    /// counted.
    pub fn at_most(&self, micros: u64) -> u64 {
        let within = (0..self.counts.len()).take_while(|&index| upper_bound(index) <= micros as f64);
        within.map(|index| self.counts[index]).sum()
    }

    /// The latency in milliseconds that the fraction `quantile` of all changes did not exceed; None when
    /// nothing was recorded.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Some(upper_bound(index) / 1000.0);
            }
        }
        None
    }
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let doubling = micros.ilog2() as usize;
    let within = ((micros as f64 / (1u64 << doubling) as f64 - 1.0) * STEPS as f64) as usize;
    (doubling * STEPS + within.min(STEPS - 1)).min(STEPS * DOUBLINGS - 1)
}

fn upper_bound(index: usize) -> f64 {
    (1u64 << (index / STEPS)) as f64 * (1.0 + (index % STEPS + 1) as f64 / STEPS as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_within_a_sixteenth(mut samples in prop::collection::vec(1u64..1 << 30, 1..300), q in 0.0f64..1.0) {
            let mut latency = Latency::default();
            samples.iter().for_each(|&sample| latency.record(sample, 1));
            samples.sort_unstable();
            let rank = ((samples.len() as f64 * q).ceil().max(1.0) as usize).min(samples.len());
            let exact = samples[rank - 1] as f64 / 1000.0;
            let found = latency.quantile_ms(q).unwrap();
            prop_assert!(found >= exact * 0.999 && found <= exact * (1.0 + 2.0 / 16.0) + 0.002, "{found} for {exact}");
        }
    }

    #[test]
    fn what_took_at_most_so_long_is_counted() {
        let mut latency = Latency::default();
        latency.record(900, 2);
        latency.record(40_000, 3);
        let counted = [500, 1000, 30_000, 50_000].map(|micros| latency.at_most(micros));
        assert_eq!(counted, [0, 2, 2, 5]);
        assert_eq!((latency.total(), latency.sum_seconds()), (5, 0.1218));
    }

    #[test]
    fn nothing_recorded_has_no_quantile() {
        assert_eq!(Latency::default().quantile_ms(0.5), None);
    }
}
