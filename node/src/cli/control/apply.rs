use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use clap::Args;
use rosetta_proto::v1::{ApplyRequest, ApplyResponse, Change, ChangeKind, pipelines_client::PipelinesClient};
use serde::Serialize;

use super::{
    super::{Output, json},
    Connection,
    client::Client,
    error::ControlError,
    words::{request_id, word},
};
use crate::config;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file of sources, destinations and pipelines.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete what is defined but not in the file.
    #[arg(long)]
    prune: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct Difference {
    applied: bool,
    created: usize,
    changed: usize,
    deleted: usize,
    changes: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    kind: String,
    object: String,
    name: String,
    fields: Vec<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<String, ControlError> {
    let (_, set) = config::load_with_message(&arguments.file).map_err(|error| error.to_string())?;
    let (client, output) = (arguments.connection.client()?, arguments.connection.output);
    let request = ApplyRequest {
        request_id: String::new(),
        definitions: Some(set),
        dry_run: true,
        prune: arguments.prune,
        expected_fingerprint: String::new(),
    };
    let planned = call(&client, &request).await?;
    if arguments.dry_run || planned.changes.is_empty() {
        return Ok(render(&planned, false, output));
    }
    let is_asked = !arguments.yes && io::stdin().is_terminal();
    if is_asked && !is_wanted(&render(&planned, false, Output::Table))? {
        return Err(ControlError::Plain("nothing was changed: you did not answer yes".to_owned()));
    }
    let expected_fingerprint = planned.fingerprint;
    let request = ApplyRequest { request_id: request_id(), dry_run: false, expected_fingerprint, ..request };
    let done = call(&client, &request).await?;
    Ok(render(&done, true, output))
}

async fn call(client: &Client, request: &ApplyRequest) -> Result<ApplyResponse, ControlError> {
    client.call(async |channel| PipelinesClient::new(channel).apply(request.clone()).await).await
}

/// Shows the difference and asks, on standard error: standard output is for the result.
fn is_wanted(difference: &str) -> Result<bool, ControlError> {
    let cannot_ask = |error: io::Error| format!("cannot ask: {error}; give --yes");
    let mut out = io::stderr().lock();
    write!(out, "{difference}Apply? [y/N] ").and_then(|()| out.flush()).map_err(cannot_ask)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(cannot_ask)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn render(response: &ApplyResponse, applied: bool, output: Output) -> String {
    let count = |kind| response.changes.iter().filter(|change| change.kind() == kind).count();
    let (created, changed) = (count(ChangeKind::Created), count(ChangeKind::Changed));
    let deleted = count(ChangeKind::Deleted);
    match output {
        Output::Json => {
            let changes = response.changes.iter().map(line).collect();
            json(&Difference { applied, created, changed, deleted, changes })
        }
        Output::Table => {
            let mut text: String = response.changes.iter().map(text).collect();
            text.push_str(&format!("{created} created, {changed} changed, {deleted} deleted\n"));
            text
        }
    }
}

fn text(change: &Change) -> String {
    let sign = match change.kind() {
        ChangeKind::Created => '+',
        ChangeKind::Changed => '~',
        ChangeKind::Deleted => '-',
        ChangeKind::Unspecified => '?',
    };
    let fields = if change.fields.is_empty() { String::new() } else { format!(": {}", change.fields.join(", ")) };
    format!("{sign} {} {}{fields}\n", line(change).object, change.name)
}

fn line(change: &Change) -> Line {
    Line {
        kind: word(change.kind().as_str_name(), "CHANGE_KIND_"),
        object: word(change.object().as_str_name(), "OBJECT_KIND_"),
        name: change.name.clone(),
        fields: change.fields.clone(),
    }
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::ObjectKind;

    use super::*;

    fn response() -> ApplyResponse {
        let change = |kind: ChangeKind, object: ObjectKind, name: &str, fields: &[&str]| Change {
            kind: kind.into(),
            object: object.into(),
            name: name.to_owned(),
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
        };
        let changes = vec![
            change(ChangeKind::Created, ObjectKind::Source, "shop", &[]),
            change(ChangeKind::Changed, ObjectKind::Pipeline, "orders", &["tables", "routes[public.a].filter"]),
            change(ChangeKind::Deleted, ObjectKind::Pipeline, "old", &[]),
            change(ChangeKind::Deleted, ObjectKind::Destination, "gone", &[]),
        ];
        ApplyResponse { changes, fingerprint: "f".to_owned() }
    }

    #[test]
    fn a_difference_for_people() {
        let expected = "+ source shop\n~ pipeline orders: tables, routes[public.a].filter\n- pipeline old\n\
                        - destination gone\n1 created, 1 changed, 2 deleted\n";
        assert_eq!(render(&response(), false, Output::Table), expected);
        assert_eq!(render(&ApplyResponse::default(), true, Output::Table), "0 created, 0 changed, 0 deleted\n");
    }

    #[test]
    fn a_difference_for_programs() {
        let value: serde_json::Value = serde_json::from_str(&render(&response(), true, Output::Json)).unwrap();
        assert_eq!((&value["applied"], &value["deleted"]), (&true.into(), &2.into()));
        let expected = serde_json::json!({ "kind": "changed", "object": "pipeline", "name": "orders",
            "fields": ["tables", "routes[public.a].filter"] });
        assert_eq!(value["changes"][1], expected);
    }
}
