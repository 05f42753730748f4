use clap::{Args, Subcommand};
use rosetta_proto::v1::{
    self, CancelBackfillRequest, ListBackfillsRequest, PauseBackfillRequest, ResumeBackfillRequest,
    StartBackfillRequest, backfills_client::BackfillsClient,
};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Connection,
    client::Client,
    error::{ControlError, one_line},
    words::{request_id, some, word},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begins to copy tables again.
    Start(Start),
    /// Shows backfills, the newest first.
    List(List),
    /// Ends a backfill; what it has copied stays.
    Cancel(One),
    /// Lets a backfill stand still.
    Pause(One),
    /// Lets a paused backfill go on where it stood.
    Resume(One),
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Tables of the source, as schema.table; all of the pipeline's without any.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Only into this destination; may be given several times.
    #[arg(long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this pipeline's.
    #[arg(value_name = "PIPELINE", default_value = "", hide_default_value = true)]
    pipeline: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// As `backfill list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct Backfill {
    id: String,
    pipeline: String,
    tables: Vec<String>,
    destinations: Vec<String>,
    state: String,
    rows_copied: u64,
    rows_expected: Option<u64>,
    tables_copied: u64,
    error: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
}

const HEADER: [&str; 7] = ["id", "pipeline", "tables", "state", "rows", "started", "error"];

pub(super) async fn run(command: Command) -> Result<String, ControlError> {
    match command {
        Command::Start(arguments) => start(arguments).await,
        Command::List(List { pipeline, connection }) => {
            let backfills = list(&connection.client()?, pipeline).await?;
            Ok(render(&backfills, connection.output))
        }
        Command::Cancel(One { id, connection }) => {
            let request = CancelBackfillRequest { request_id: request_id(), id };
            let call = async |channel| BackfillsClient::new(channel).cancel(request.clone()).await;
            Ok(render_one(&connection.client()?.call(call).await?, connection.output))
        }
        Command::Pause(One { id, connection }) => {
            let request = PauseBackfillRequest { request_id: request_id(), id };
            let call = async |channel| BackfillsClient::new(channel).pause(request.clone()).await;
            Ok(render_one(&connection.client()?.call(call).await?, connection.output))
        }
        Command::Resume(One { id, connection }) => {
            let request = ResumeBackfillRequest { request_id: request_id(), id };
            let call = async |channel| BackfillsClient::new(channel).resume(request.clone()).await;
            Ok(render_one(&connection.client()?.call(call).await?, connection.output))
        }
    }
}

async fn start(arguments: Start) -> Result<String, ControlError> {
    let Start { pipeline, tables, destinations, connection } = arguments;
    let request = StartBackfillRequest { request_id: request_id(), pipeline, tables, destinations };
    let call = async |channel| BackfillsClient::new(channel).start(request.clone()).await;
    Ok(render_one(&connection.client()?.call(call).await?, connection.output))
}

pub(super) async fn list(client: &Client, pipeline: String) -> Result<Vec<v1::Backfill>, ControlError> {
    let mut request = ListBackfillsRequest { pipeline, ..ListBackfillsRequest::default() };
    let mut backfills = Vec::new();
    loop {
        let page = client.call(async |channel| BackfillsClient::new(channel).list(request.clone()).await).await?;
        backfills.extend(page.backfills);
        if page.next_page_token.is_empty() {
            return Ok(backfills);
        }
        request.page_token = page.next_page_token;
    }
}

fn render(backfills: &[v1::Backfill], output: Output) -> String {
    match output {
        Output::Json => json(&backfills.iter().map(Backfill::new).collect::<Vec<_>>()),
        Output::Table if backfills.is_empty() => "no backfills\n".to_owned(),
        Output::Table => table(HEADER, backfills.iter().map(|backfill| Backfill::new(backfill).row()), None),
    }
}

fn render_one(backfill: &v1::Backfill, output: Output) -> String {
    let shown = Backfill::new(backfill);
    match output {
        Output::Json => json(&shown),
        Output::Table => format!("backfill {} of {}: {}\n", shown.id, shown.pipeline, shown.state),
    }
}

impl Backfill {
    fn new(backfill: &v1::Backfill) -> Backfill {
        Backfill {
            id: backfill.id.clone(),
            pipeline: backfill.pipeline.clone(),
            tables: backfill.tables.clone(),
            destinations: backfill.destinations.clone(),
            state: word(backfill.state().as_str_name(), "BACKFILL_STATE_"),
            rows_copied: backfill.rows_copied,
            rows_expected: Some(backfill.rows_expected).filter(|rows| *rows > 0),
            tables_copied: backfill.tables_copied,
            error: some(&one_line(&backfill.error)),
            started_at: backfill.started_at.map(|at| at.to_string()),
            ended_at: backfill.ended_at.map(|at| at.to_string()),
        }
    }

    fn row(self) -> [String; 7] {
        let rows = match self.rows_expected {
            Some(expected) => format!("{} of ~{expected}", self.rows_copied),
            None => self.rows_copied.to_string(),
        };
        let tables = if self.tables.is_empty() { "all".to_owned() } else { self.tables.join(", ") };
        let started = self.started_at.unwrap_or_default();
        [self.id, self.pipeline, tables, self.state, rows, started, self.error.unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::BackfillState;

    use super::*;

    fn backfill() -> v1::Backfill {
        v1::Backfill {
            id: "7".to_owned(),
            pipeline: "orders".to_owned(),
            state: BackfillState::Running.into(),
            rows_copied: 10,
            rows_expected: 40,
            ..v1::Backfill::default()
        }
    }

    #[test]
    fn rendering() {
        let text = render(&[backfill()], Output::Table);
        let expected =
            " id  pipeline  tables  state    rows       started  error\n 7   orders    all     running  10 of ~40\n";
        assert_eq!(text, expected);
        let value: serde_json::Value = serde_json::from_str(&render(&[backfill()], Output::Json)).unwrap();
        assert_eq!((&value[0]["state"], &value[0]["ended_at"]), (&"running".into(), &().into()));
        assert_eq!(render_one(&backfill(), Output::Table), "backfill 7 of orders: running\n");
    }
}
