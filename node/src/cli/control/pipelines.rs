//! `pause`, `resume`, `restart`, `resync`, `delete`.

use clap::Args;
use rosetta_proto::v1::{
    self, DeletePipelineRequest, PausePipelineRequest, RestartPipelineRequest, ResumePipelineRequest,
    ResyncPipelineRequest, StoredPipeline, pipelines_client::PipelinesClient,
};
use serde::Serialize;

use super::{
    super::{Output, json},
    Answer, Connection,
    client::Client,
    error::ControlError,
    words::{request_id, word},
};

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Pipelines.
    #[arg(value_name = "NAME", required = true)]
    pub(super) names: Vec<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The pipeline.
    #[arg(value_name = "NAME")]
    name: String,
    /// Leave the slot at the source, where it keeps the log until someone drops it.
    #[arg(long)]
    keep_slot: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Pause,
    Resume,
    Restart,
    Resync,
}

impl Action {
    fn done(self) -> &'static str {
        match self {
            Action::Pause => "paused",
            Action::Resume => "resumed",
            Action::Restart => "restarting",
            Action::Resync => "resyncing",
        }
    }
}

#[derive(Serialize)]
struct Done {
    pipeline: String,
    desired_state: String,
    revision: u64,
}

/// One pipeline that fails does not keep the others from it.
pub(super) async fn run(action: Action, Names { names, connection }: Names) -> Answer {
    let client = match connection.client() {
        Ok(client) => client,
        Err(error) => return Err(error).into(),
    };
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match call(&client, action, &name).await {
            Ok(stored) => done.push(to_done(name, &stored)),
            Err(error) => errors.push(error),
        }
    }
    let text = match connection.output {
        Output::Json => json(&done),
        Output::Table => done.iter().map(|done| format!("{}: {}\n", done.pipeline, action.done())).collect(),
    };
    Answer { text, errors }
}

pub(super) async fn delete(arguments: Delete) -> Result<String, ControlError> {
    let Delete { name, keep_slot, connection } = arguments;
    let request = DeletePipelineRequest { request_id: request_id(), name, keep_slot };
    let client = connection.client()?;
    client.call(async |channel| PipelinesClient::new(channel).delete(request.clone()).await).await?;
    Ok(match connection.output {
        Output::Json => json(&serde_json::json!({ "pipeline": request.name, "deleted": true })),
        Output::Table => format!("{}: deleted\n", request.name),
    })
}

async fn call(client: &Client, action: Action, name: &str) -> Result<StoredPipeline, ControlError> {
    // One id for all nodes that are tried.
    let (id, name) = (request_id(), name.to_owned());
    let request = async |channel| {
        let (mut client, request_id, name) = (PipelinesClient::new(channel), id.clone(), name.clone());
        match action {
            Action::Pause => client.pause(PausePipelineRequest { request_id, name }).await,
            Action::Resume => client.resume(ResumePipelineRequest { request_id, name }).await,
            Action::Restart => client.restart(RestartPipelineRequest { request_id, name }).await,
            Action::Resync => client.resync(ResyncPipelineRequest { request_id, name }).await,
        }
    };
    client.call(request).await
}

fn to_done(pipeline: String, stored: &StoredPipeline) -> Done {
    Done { pipeline, desired_state: desired_state(stored.desired_state()), revision: stored.revision }
}

pub(super) fn desired_state(state: v1::DesiredState) -> String {
    word(state.as_str_name(), "DESIRED_STATE_")
}
