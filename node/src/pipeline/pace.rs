use std::time::Duration;

/// How long bytes are left to gather.
const PAUSE: Duration = Duration::from_millis(2);
/// A burst from which on the sender is seen as pressing: it fills what our end has room for.
const PRESSING_BYTES: usize = 6000;
/// Rows beyond this size are packets worth sending one by one; below the other, company pays.
const LARGE_ROW_BYTES: usize = 1024;
const SMALL_ROW_BYTES: usize = 384;

/// When to read, while latency does not count.
///
/// The WAL sender makes a packet of each row, and each costs it dearly, unless the packet cannot leave because our
/// end is full: then rows gather in its kernel and leave together. So our end has little room, and the reads are a
/// valve: while they bring much, the sender presses, and is read at once; when one brings little, it is left alone for
/// a while, so that it fills our end again (measured: docs/BENCHMARKS.md).
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What was read since the socket was last found empty.
    burst_bytes: usize,
    /// About the largest of the last bursts: where our end holds less than is thought here, that is what fills it.
    usual_bytes: usize,
    /// About how large a row is.
    row_bytes: usize,
    has_large_rows: bool,
}

impl Pace {
    /// A read brought so much.
    pub(super) fn read(&mut self, bytes: usize) {
        self.burst_bytes += bytes;
    }

    /// Something was read since the socket was last found empty.
    pub(super) fn has_burst(&self) -> bool {
        self.burst_bytes > 0
    }

    /// The socket was found empty, after a burst of so many messages. Returns how long to leave it alone if that does
    /// no harm.
    pub(super) fn drained(&mut self, messages: usize) -> Option<Duration> {
        let bytes = std::mem::take(&mut self.burst_bytes);
        self.usual_bytes = bytes.max(self.usual_bytes - self.usual_bytes / 64);
        self.row_bytes = (self.row_bytes * 7 + bytes / messages.max(1)) / 8;
        self.has_large_rows = self.row_bytes > if self.has_large_rows { SMALL_ROW_BYTES } else { LARGE_ROW_BYTES };
        let is_pressing = bytes >= PRESSING_BYTES.min(self.usual_bytes / 2);
        (!is_pressing && !self.has_large_rows).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads, for `millis`, a sender that makes `rate` bytes a millisecond in rows of `row` bytes, through an end that
    /// holds `room`; what does not fit waits at the sender. Returns the share of the sender's bytes that were read.
    fn read_share(rate: usize, row: usize, room: usize, millis: usize) -> f64 {
        let mut pace = Pace::default();
        let (mut waiting, mut read, mut paused) = (0, 0, 0);
        for _ in 0..millis {
            waiting += rate;
            if paused > 0 {
                paused -= 1;
                continue;
            }
            // A sender that waits for room fills it again as it is read, so that a burst ends when nothing waits.
            let burst = std::mem::take(&mut waiting);
            read += burst;
            for piece in std::iter::repeat_n(room, burst / room).chain([burst % room]) {
                pace.read(piece);
            }
            paused = pace.drained(burst / row).map_or(0, |pause| pause.as_millis() as usize);
        }
        read as f64 / (rate * millis) as f64
    }

    #[test]
    fn a_sender_that_presses_is_never_kept_waiting() {
        for room in [2_000, 4_000, 14_000, 64_000] {
            for rate in [3_000, 20_000, 100_000] {
                assert!(read_share(rate, 100, room, 1000) > 0.99, "{rate} bytes/ms through {room} bytes");
            }
        }
    }

    #[test]
    fn an_end_with_less_room_than_thought_is_no_brake() {
        let mut pace = Pace::default();
        let pauses = (0..1000).filter(|_| {
            pace.read(4000); // full, and below what counts as pressing elsewhere
            pace.drained(40).is_some()
        });
        assert_eq!(pauses.count(), 0);
    }

    #[test]
    fn a_trickle_after_a_burst_waits_for_company() {
        let mut pace = Pace::default();
        pace.read(14_000);
        assert_eq!(pace.drained(140), None);
        pace.read(200);
        assert_eq!(pace.drained(2), Some(PAUSE));
        assert!(!pace.has_burst());
    }

    #[test]
    fn large_rows_get_no_pause() {
        let mut pace = Pace::default();
        for _ in 0..32 {
            pace.read(14_000);
            pace.drained(0);
        }
        assert!(pace.has_large_rows);
        pace.read(500);
        assert_eq!(pace.drained(0), None);
        for _ in 0..64 {
            pace.read(14_000);
            pace.drained(140);
        }
        assert!(!pace.has_large_rows, "narrow rows are back");
    }
}
