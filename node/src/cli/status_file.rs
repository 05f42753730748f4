use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::pipeline::status::{State, Status};

const EVERY: Duration = Duration::from_secs(1);

/// A pipeline's line in `status.json`: what `rosetta status` shows, and figures for a closer look.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pipeline: String,
    state: State,
    node: String,
    epoch: u64,
    lag_bytes: u64,
    lag_ms: u64,
    error: Option<String>,
    tables: u64,
    tables_copied: u64,
    rows_copied: u64,
    changes: u64,
    batches: u64,
    missing_rows: u64,
    #[serde(default)]
    dead_letters: u64,
    restarts: u64,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    confirmed_lsn: String,
}

/// Writes the file each second, for ever.
pub(super) async fn keep(folder: PathBuf, statuses: Vec<Arc<Status>>) {
    loop {
        if let Err(error) = write(&folder, &statuses) {
            tracing::warn!("cannot write the status file: {error}");
        }
        sleep(EVERY).await;
    }
}

/// Writes `status.json`, whole or not at all.
pub(super) fn write(folder: &Path, statuses: &[Arc<Status>]) -> io::Result<()> {
    let lines: Vec<_> = statuses.iter().map(|status| line(status)).collect();
    let new = folder.join("status.json.new");
    std::fs::write(&new, serde_json::to_vec_pretty(&lines)?)?;
    std::fs::rename(new, folder.join("status.json"))
}

/// Reads what a running process wrote last.
pub(super) fn read(folder: &Path) -> Result<Vec<Line>, String> {
    let path = folder.join("status.json");
    let shown = path.display();
    let text = std::fs::read(&path).map_err(|error| {
        format!("cannot read '{shown}': {error}; is a standalone process running with this data folder?")
    })?;
    serde_json::from_slice(&text).map_err(|error| format!("'{shown}' is not a status file: {error}"))
}

impl Line {
    pub(super) fn row(&self) -> [String; 8] {
        [
            self.pipeline.clone(),
            self.state.name().to_owned(),
            self.node.clone(),
            self.epoch.to_string(),
            self.lag_bytes.to_string(),
            self.lag_ms.to_string(),
            self.missing_rows.to_string(),
            self.error.clone().unwrap_or_default(),
        ]
    }
}

fn line(status: &Status) -> Line {
    let figures = status.figures();
    Line {
        pipeline: status.pipeline.clone(),
        state: figures.shown_state(),
        node: "standalone".to_owned(),
        epoch: figures.epoch.0,
        lag_bytes: figures.lag_bytes(),
        lag_ms: figures.lag_ms,
        latency_p50_ms: figures.latency.quantile_ms(0.5),
        latency_p99_ms: figures.latency.quantile_ms(0.99),
        error: figures.shown_error().map(str::to_owned),
        tables: figures.tables,
        tables_copied: figures.tables_copied,
        rows_copied: figures.rows_copied,
        changes: figures.changes,
        batches: figures.batches,
        missing_rows: figures.missing_rows,
        dead_letters: figures.dead_letters,
        restarts: figures.restarts,
        confirmed_lsn: figures.confirmed_lsn.to_string(),
    }
}
