//! Figures as messages.

use std::time::SystemTime;

use rosetta_proto::{Lsn, v1};

use crate::pipeline::status::{Figures, State};

pub(super) fn state(state: State) -> v1::PipelineState {
    match state {
        State::Starting => v1::PipelineState::Starting,
        State::Copying => v1::PipelineState::Copying,
        State::Running => v1::PipelineState::Running,
        State::Degraded => v1::PipelineState::Degraded,
        State::Retrying => v1::PipelineState::Retrying,
        State::Paused => v1::PipelineState::Paused,
        State::Stopped => v1::PipelineState::Stopped,
        State::Failed => v1::PipelineState::Failed,
        State::NeedsResync => v1::PipelineState::NeedsResync,
    }
}

/// Before a pipeline has a position there is no lag to speak of.
pub(super) fn status(pipeline: &str, node: &str, figures: &Figures, changes_per_second: f64) -> v1::PipelineStatus {
    let micros = |quantile| figures.latency.quantile_ms(quantile).map(|millis| (millis * 1000.0) as u64);
    let lsn = |lsn: Lsn| if lsn == Lsn::ZERO { String::new() } else { lsn.to_string() };
    let has_position = figures.committed_lsn != Lsn::ZERO;
    v1::PipelineStatus {
        pipeline: pipeline.to_owned(),
        state: state(figures.shown_state()).into(),
        node: node.to_owned(),
        epoch: figures.epoch.0,
        lag_bytes: has_position.then(|| figures.lag_bytes()),
        lag_ms: has_position.then_some(figures.lag_ms),
        error: figures.shown_error().unwrap_or_default().to_owned(),
        rows_copied: figures.rows_copied,
        changes: figures.changes,
        changes_per_second,
        latency_p50_us: micros(0.5),
        latency_p99_us: micros(0.99),
        confirmed_lsn: lsn(figures.confirmed_lsn),
        committed_lsn: lsn(figures.committed_lsn),
        source_lsn: lsn(figures.source_lsn),
        restarts: figures.restarts,
        retained_wal_bytes: None,
        tables: figures.tables,
        tables_copied: figures.tables_copied,
        missing_rows: figures.missing_rows,
        dead_letters: Some(figures.dead_letters),
        batches: figures.batches,
        observed_at: Some(SystemTime::now().into()),
        bytes: figures.bytes,
    }
}
