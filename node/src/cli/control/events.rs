use std::collections::BTreeMap;

use clap::Args;
use rosetta_proto::v1::{Event, ListEventsRequest, cluster_client::ClusterClient};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Connection,
    client::Client,
    error::{ControlError, one_line},
    words::some,
};

/// As many as one answer can hold.
const LARGEST_PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this pipeline's.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only this node's.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct EventLine {
    id: u64,
    at: Option<String>,
    kind: String,
    pipeline: Option<String>,
    node: Option<String>,
    requested_by: Option<String>,
    detail: BTreeMap<String, String>,
}

const HEADER: [&str; 6] = ["at", "kind", "pipeline", "node", "by", "detail"];

pub(super) async fn run(arguments: Arguments) -> Result<String, ControlError> {
    let output = arguments.connection.output;
    let client = arguments.connection.client()?;
    let request = ListEventsRequest {
        pipeline: arguments.pipeline.unwrap_or_default(),
        node: arguments.node.unwrap_or_default(),
        kind: arguments.kind.unwrap_or_default(),
        ..ListEventsRequest::default()
    };
    Ok(render(list(&client, request, arguments.limit).await?, output))
}

async fn list(client: &Client, mut request: ListEventsRequest, limit: usize) -> Result<Vec<Event>, ControlError> {
    let mut events = Vec::new();
    while events.len() < limit {
        let missing = u32::try_from(limit - events.len()).unwrap_or(LARGEST_PAGE);
        request.page_size = missing.min(LARGEST_PAGE);
        let page = client.call(async |channel| ClusterClient::new(channel).list_events(request.clone()).await).await?;
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(events)
}

fn render(events: Vec<Event>, output: Output) -> String {
    let lines = events.into_iter().map(EventLine::new);
    match output {
        Output::Json => json(&lines.collect::<Vec<_>>()),
        Output::Table => table(HEADER, lines.map(EventLine::row), None),
    }
}

impl EventLine {
    fn new(event: Event) -> EventLine {
        EventLine {
            id: event.id,
            at: event.at.map(|at| at.to_string()),
            kind: event.kind,
            pipeline: some(&event.pipeline),
            node: some(&event.node),
            requested_by: some(&event.requested_by),
            detail: event.detail.into_iter().collect(),
        }
    }

    fn row(self) -> [String; 6] {
        let detail: Vec<_> = self.detail.iter().map(|(name, value)| format!("{name}={}", one_line(value))).collect();
        [
            self.at.unwrap_or_default(),
            self.kind,
            self.pipeline.unwrap_or_default(),
            self.node.unwrap_or_default(),
            self.requested_by.unwrap_or_default(),
            detail.join(" "),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_in_a_fixed_order() {
        let detail = [("to", "n2"), ("from", "n1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kind = "pipeline_moved".to_owned();
        let event = Event { id: 4, kind, pipeline: "orders".to_owned(), detail: detail.into(), ..Event::default() };
        let text = render(vec![event.clone()], Output::Table);
        let expected =
            " at  kind            pipeline  node  by  detail\n     pipeline_moved  orders              from=n1 to=n2\n";
        assert_eq!(text, expected);
        let value: serde_json::Value = serde_json::from_str(&render(vec![event], Output::Json)).unwrap();
        assert_eq!((&value[0]["id"], &value[0]["detail"]["to"]), (&4.into(), &"n2".into()));
        assert_eq!(value[0]["node"], serde_json::Value::Null);
    }
}
