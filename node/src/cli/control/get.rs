use clap::Args;
use rosetta_proto::v1::{
    Destination, GetPipelineRequest, GetPipelineResponse, Pipeline, Source, pipelines_client::PipelinesClient,
};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Connection,
    error::ControlError,
    pipelines::desired_state,
    status::StatusLine,
    words::{or_dash, some},
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    connection: Connection,
}

/// In JSON: the definition in the words of the file, with passwords redacted.
#[derive(Debug, Serialize)]
struct Shown {
    pipeline: Pipeline,
    source: Option<Source>,
    destinations: Vec<Destination>,
    revision: u64,
    desired_state: String,
    pin: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    status: Option<StatusLine>,
}

pub(super) async fn run(Arguments { name, connection }: Arguments) -> Result<String, ControlError> {
    let request = GetPipelineRequest { name };
    let client = connection.client()?;
    let answer = client.call(async |channel| PipelinesClient::new(channel).get(request.clone()).await).await?;
    Ok(render(answer, connection.output))
}

fn render(answer: GetPipelineResponse, output: Output) -> String {
    let shown = shown(answer);
    match output {
        Output::Json => json(&shown),
        Output::Table => table(["", ""], rows(&shown).map(|(name, value)| [name.to_owned(), value]), None),
    }
}

fn shown(answer: GetPipelineResponse) -> Shown {
    let stored = answer.stored.unwrap_or_default();
    Shown {
        desired_state: desired_state(stored.desired_state()),
        pin: some(&stored.pin),
        pipeline: stored.pipeline.unwrap_or_default(),
        source: answer.source,
        destinations: answer.destinations,
        revision: stored.revision,
        created_at: stored.created_at.map(|at| at.to_string()),
        updated_at: stored.updated_at.map(|at| at.to_string()),
        status: answer.status.as_ref().map(StatusLine::new),
    }
}

fn rows(shown: &Shown) -> impl Iterator<Item = (&'static str, String)> {
    let (pipeline, status) = (&shown.pipeline, shown.status.as_ref());
    let routes: Vec<_> = pipeline.routes.iter().map(|route| route.name.as_str()).collect();
    let rows = [
        ("pipeline", pipeline.name.clone()),
        ("state", or_dash(status.map(|status| &status.state))),
        ("error", or_dash(status.and_then(|status| status.error.as_ref()))),
        ("node", or_dash(status.and_then(|status| status.node.as_ref()))),
        ("epoch", or_dash(status.map(|status| status.epoch))),
        ("lag bytes", or_dash(status.and_then(|status| status.lag_bytes))),
        ("lag ms", or_dash(status.and_then(|status| status.lag_ms))),
        ("tables copied", or_dash(status.map(|s| format!("{} of {}", s.tables_copied, s.tables)))),
        ("changes", or_dash(status.map(|status| status.changes))),
        ("confirmed LSN", or_dash(status.and_then(|status| status.confirmed_lsn.as_ref()))),
        ("desired state", shown.desired_state.clone()),
        ("pin", or_dash(shown.pin.as_ref())),
        ("revision", shown.revision.to_string()),
        ("updated", or_dash(shown.updated_at.as_ref())),
        ("source", shown.source.as_ref().map_or_else(|| pipeline.source.clone(), |s| format!("{} {}", s.name, s.url))),
        ("destinations", pipeline.destinations.join(", ")),
        ("tables", pipeline.tables.join(", ")),
        ("routes", routes.join(", ")),
    ];
    rows.into_iter().filter(|(_, value)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::{DesiredState, PipelineState, PipelineStatus, StoredPipeline};

    use super::*;

    fn answer() -> GetPipelineResponse {
        let pipeline = Pipeline { name: "orders".into(), source: "shop".into(), ..Pipeline::default() };
        let mut stored = StoredPipeline { pipeline: Some(pipeline), revision: 3, ..StoredPipeline::default() };
        stored.set_desired_state(DesiredState::Pause);
        let mut status = PipelineStatus { pipeline: "orders".into(), epoch: 7000, ..PipelineStatus::default() };
        status.set_state(PipelineState::Paused);
        let source = Source { name: "shop".into(), url: "postgres://u:***@h/d".into() };
        GetPipelineResponse { stored: Some(stored), status: Some(status), source: Some(source), destinations: vec![] }
    }

    #[test]
    fn json_has_the_definition_and_the_status() {
        let value: serde_json::Value = serde_json::from_str(&render(answer(), Output::Json)).unwrap();
        assert_eq!(value["pipeline"]["name"], "orders");
        assert_eq!(value["source"]["url"], "postgres://u:***@h/d");
        assert_eq!((&value["desired_state"], &value["revision"]), (&"pause".into(), &3.into()));
        assert_eq!((&value["status"]["state"], &value["status"]["lag_ms"]), (&"paused".into(), &().into()));
    }

    #[test]
    fn table_leaves_out_what_is_not_set() {
        let text = render(answer(), Output::Table);
        assert!(text.contains(" state          paused\n") && text.contains(" lag ms         -\n"), "{text}");
        assert!(!text.contains("routes"), "{text}");
    }
}
