use std::sync::Mutex;

use rosetta_proto::{Epoch, Lsn};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::latency::Latency;

/// What a pipeline is doing (design: states).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Copying,
    Running,
    /// Follows the changes, while some wait as dead letters.
    Degraded,
    Retrying,
    Paused,
    Stopped,
    Failed,
    NeedsResync,
}

impl State {
    pub const ALL: [State; 9] = [
        State::Starting,
        State::Copying,
        State::Running,
        State::Degraded,
        State::Retrying,
        State::Paused,
        State::Stopped,
        State::Failed,
        State::NeedsResync,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Copying => "copying",
            State::Running => "running",
            State::Degraded => "degraded",
            State::Retrying => "retrying",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::NeedsResync => "needs_resync",
        }
    }
}

/// What a pipeline's slot keeps at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotUse {
    /// Bytes of log that the source keeps for the slot.
    pub retained: u64,
    /// Bytes that may still be written before the source may give the slot up; `None` where there is no limit.
    pub safe: Option<u64>,
    pub seen: Instant,
}

/// How often a pipeline ended with an error, by what was done about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    pub transient: u64,
    pub permanent: u64,
    pub fenced: u64,
    pub needs_resync: u64,
}

/// A pipeline as it is seen from outside; written by its tasks, read by whoever shows it.
#[derive(Debug)]
pub struct Status {
    pub pipeline: String,
    inner: Mutex<Figures>,
}

/// The figures of a pipeline since the process began.
#[derive(Debug, Clone)]
pub struct Figures {
    pub state: State,
    pub epoch: Epoch,
    pub error: Option<String>,
    pub restarts: u64,
    pub failures: Failures,
    /// As it was seen last.
    pub slot: Option<SlotUse>,
    /// How often the stream was reached.
    pub streams: u64,
    pub tables: u64,
    pub tables_copied: u64,
    pub rows_copied: u64,
    /// As far as the statistics of the source tell; 0 until known.
    pub rows_to_copy: u64,
    pub changes: u64,
    pub bytes: u64,
    pub batches: u64,
    /// Microseconds that the destinations took for them, commits included.
    pub write_micros: u64,
    pub missing_rows: u64,
    /// Changes that wait outside of a destination.
    pub dead_letters: u64,
    /// Which destinations are away, and what becomes of their changes.
    pub away: Option<String>,
    /// The newest position of the source that was heard of.
    pub source_lsn: Lsn,
    pub committed_lsn: Lsn,
    pub confirmed_lsn: Lsn,
    /// From the source's commit to the destination's.
    pub latency: Latency,
    /// Milliseconds from the source's commit to the destination's, of the last batch; 0 when caught up.
    pub lag_ms: u64,
}

impl Status {
    pub fn new(pipeline: &str) -> Status {
        let figures = Figures {
            state: State::Starting,
            epoch: Epoch::NONE,
            error: None,
            restarts: 0,
            failures: Failures::default(),
            slot: None,
            streams: 0,
            tables: 0,
            tables_copied: 0,
            rows_copied: 0,
            rows_to_copy: 0,
            changes: 0,
            bytes: 0,
            batches: 0,
            write_micros: 0,
            missing_rows: 0,
            dead_letters: 0,
            away: None,
            source_lsn: Lsn::ZERO,
            committed_lsn: Lsn::ZERO,
            confirmed_lsn: Lsn::ZERO,
            latency: Latency::default(),
            lag_ms: 0,
        };
        Status { pipeline: pipeline.to_owned(), inner: Mutex::new(figures) }
    }

    /// Changes the figures.
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        // A panic while the lock was held leaves figures, never data, half-changed.
        change(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// The figures now.
    pub fn figures(&self) -> Figures {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Figures {
    /// What is wrong, in one line.
    pub fn shown_error(&self) -> Option<&str> {
        self.error.as_deref().or(self.away.as_deref())
    }

    /// What the pipeline is doing, as seen from outside.
    pub fn shown_state(&self) -> State {
        let is_degraded = self.dead_letters > 0 || self.away.is_some();
        if self.state == State::Running && is_degraded { State::Degraded } else { self.state }
    }

    /// Bytes of the source's log between what is known of it and what the destinations show.
    pub fn lag_bytes(&self) -> u64 {
        self.source_lsn.bytes_since(self.committed_lsn)
    }
}
