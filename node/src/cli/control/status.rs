//! `status`: every pipeline, those in trouble first.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    convert::Infallible,
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
};

use rosetta_proto::v1::{
    ListPipelinesRequest, PipelineState, PipelineStatus, WatchPipelinesRequest, WatchPipelinesResponse,
    pipelines_client::PipelinesClient,
};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Answer, Connection,
    client::Client,
    error::{ControlError, one_line},
    words::{or_dash, pipeline_state, some},
};

const HEADER: [&str; 7] = ["pipeline", "state", "node", "epoch", "lag bytes", "lag ms", "error"];
/// Moves to the upper left and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// A pipeline in JSON. A figure that is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct StatusLine {
    pub(super) pipeline: String,
    pub(super) state: String,
    pub(super) node: Option<String>,
    pub(super) epoch: u64,
    pub(super) lag_bytes: Option<u64>,
    pub(super) lag_ms: Option<u64>,
    pub(super) error: Option<String>,
    pub(super) tables: u64,
    pub(super) tables_copied: u64,
    pub(super) rows_copied: u64,
    pub(super) changes: u64,
    pub(super) changes_per_second: f64,
    pub(super) batches: u64,
    pub(super) missing_rows: u64,
    pub(super) dead_letters: Option<u64>,
    pub(super) restarts: u64,
    pub(super) latency_p50_ms: Option<f64>,
    pub(super) latency_p99_ms: Option<f64>,
    pub(super) retained_wal_bytes: Option<u64>,
    pub(super) confirmed_lsn: Option<String>,
}

impl StatusLine {
    pub(super) fn new(status: &PipelineStatus) -> StatusLine {
        let to_ms = |micros| micros as f64 / 1000.0;
        StatusLine {
            pipeline: status.pipeline.clone(),
            state: pipeline_state(status.state()),
            node: some(&status.node),
            epoch: status.epoch,
            lag_bytes: status.lag_bytes,
            lag_ms: status.lag_ms,
            error: some(&one_line(&status.error)),
            tables: status.tables,
            tables_copied: status.tables_copied,
            rows_copied: status.rows_copied,
            changes: status.changes,
            changes_per_second: status.changes_per_second,
            batches: status.batches,
            missing_rows: status.missing_rows,
            dead_letters: status.dead_letters,
            restarts: status.restarts,
            latency_p50_ms: status.latency_p50_us.map(to_ms),
            latency_p99_ms: status.latency_p99_us.map(to_ms),
            retained_wal_bytes: status.retained_wal_bytes,
            confirmed_lsn: some(&status.confirmed_lsn),
        }
    }

    fn row(&self) -> [String; 7] {
        [
            self.pipeline.clone(),
            self.state.clone(),
            or_dash(self.node.as_ref()),
            self.epoch.to_string(),
            or_dash(self.lag_bytes),
            or_dash(self.lag_ms),
            self.error.clone().unwrap_or_default(),
        ]
    }
}

/// Shows the pipelines, once or as they change.
pub(crate) async fn run(connection: &Connection, is_watch: bool) -> Answer {
    let shown = async {
        let client = connection.client()?;
        if is_watch {
            watch(&client, connection.output).await.map(|never| match never {})
        } else {
            Ok(render(&list(&client).await?, connection.output))
        }
    };
    shown.await.into()
}

async fn list(client: &Client) -> Result<Vec<PipelineStatus>, ControlError> {
    let mut request = ListPipelinesRequest::default();
    let mut statuses = Vec::new();
    loop {
        let page = client.call(async |channel| PipelinesClient::new(channel).list(request.clone()).await).await?;
        statuses.extend(page.pipelines.into_iter().filter_map(|listed| listed.status));
        if page.next_page_token.is_empty() {
            return Ok(statuses);
        }
        request.page_token = page.next_page_token;
    }
}

async fn watch(client: &Client, output: Output) -> Result<Infallible, ControlError> {
    let request = WatchPipelinesRequest::default();
    let mut known = BTreeMap::new();
    let open = async |channel| PipelinesClient::new(channel).watch(request.clone()).await;
    let stopped = client.follow(open, |update, is_first| {
        // The first answer holds all: what was deleted while nobody looked is not in it.
        if is_first {
            known.clear();
        }
        merge(&mut known, update);
        let statuses: Vec<_> = known.values().cloned().collect();
        show(&statuses, output).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    });
    let error = stopped.await?;
    Err(ControlError::Plain(format!("cannot write the answer: {error}")))
}

fn merge(known: &mut BTreeMap<String, PipelineStatus>, update: WatchPipelinesResponse) {
    for name in &update.deleted {
        known.remove(name);
    }
    known.extend(update.statuses.into_iter().map(|status| (status.pipeline.clone(), status)));
}

/// A terminal shows the newest table in one place; a file gets one after the other, JSON one line each.
fn show(statuses: &[PipelineStatus], output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&lines(statuses))?)?,
        Output::Table if out.is_terminal() => write!(out, "{CLEAR}{}", render(statuses, output))?,
        Output::Table => writeln!(out, "{}", render(statuses, output))?,
    }
    out.flush()
}

fn render(statuses: &[PipelineStatus], output: Output) -> String {
    let lines = lines(statuses);
    match output {
        Output::Json => json(&lines),
        Output::Table if lines.is_empty() => "no pipelines: define some with `rosetta apply -f FILE`\n".to_owned(),
        Output::Table => table(HEADER, lines.iter().map(StatusLine::row), None),
    }
}

fn lines(statuses: &[PipelineStatus]) -> Vec<StatusLine> {
    let mut sorted: Vec<_> = statuses.iter().collect();
    sorted.sort_by_key(|status| {
        let lag = Reverse(status.lag_ms.unwrap_or_default());
        (Reverse(trouble(status.state())), lag, status.pipeline.as_str())
    });
    sorted.into_iter().map(StatusLine::new).collect()
}

/// How much a state wants a person's eye.
fn trouble(state: PipelineState) -> u8 {
    match state {
        PipelineState::NeedsResync | PipelineState::Failed => 5,
        PipelineState::Unknown | PipelineState::Unspecified => 4,
        PipelineState::Retrying | PipelineState::Degraded => 3,
        PipelineState::Stopped | PipelineState::Paused => 2,
        PipelineState::Starting | PipelineState::Copying => 1,
        PipelineState::Running => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pipeline: &str, state: PipelineState, lag_ms: Option<u64>) -> PipelineStatus {
        let node = if lag_ms.is_some() { "n1" } else { "" };
        PipelineStatus {
            pipeline: pipeline.to_owned(),
            state: state.into(),
            node: node.to_owned(),
            epoch: 7000,
            lag_bytes: lag_ms.map(|ms| ms * 10),
            lag_ms,
            ..PipelineStatus::default()
        }
    }

    #[test]
    fn json_keeps_its_fields() {
        let mut failed = status("orders", PipelineState::Failed, Some(12));
        failed.error = "slot is gone;\nresync".to_owned();
        let statuses = [status("lost", PipelineState::Unknown, None), failed];
        let value: serde_json::Value = serde_json::from_str(&render(&statuses, Output::Json)).unwrap();
        let fields = ["pipeline", "state", "node", "epoch", "lag_bytes", "lag_ms", "error"];
        let of = |index: usize| fields.map(|field| value[index][field].clone());
        let expected = serde_json::json!(["orders", "failed", "n1", 7000, 120, 12, "slot is gone; resync"]);
        assert_eq!(serde_json::json!(of(0)), expected);
        assert_eq!(serde_json::json!(of(1)), serde_json::json!(["lost", "unknown", null, 7000, null, null, null]));
    }

    #[test]
    fn trouble_comes_first_then_lag_then_the_name() {
        let statuses = [
            status("b", PipelineState::Running, Some(1)),
            status("a", PipelineState::Running, Some(1)),
            status("slow", PipelineState::Running, Some(900)),
            status("r", PipelineState::Retrying, Some(0)),
            status("f", PipelineState::Failed, Some(0)),
        ];
        let order: Vec<_> = lines(&statuses).into_iter().map(|line| line.pipeline).collect();
        assert_eq!(order, ["f", "r", "slow", "a", "b"]);
        let text = render(&statuses[..1], Output::Table);
        let expected = " pipeline  state    node  epoch  lag bytes  lag ms  error\n b         running  n1    7000   10         1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_update_replaces_and_deletes() {
        let mut known = BTreeMap::new();
        let first = vec![status("a", PipelineState::Starting, None), status("b", PipelineState::Running, Some(0))];
        merge(&mut known, WatchPipelinesResponse { statuses: first, deleted: vec![] });
        let second = vec![status("a", PipelineState::Running, Some(0))];
        merge(&mut known, WatchPipelinesResponse { statuses: second, deleted: vec!["b".to_owned()] });
        assert_eq!(known.len(), 1);
        assert_eq!(known["a"].state(), PipelineState::Running);
    }
}
