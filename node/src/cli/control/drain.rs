use std::{ops::ControlFlow, time::Duration};

use clap::Args;
use rosetta_proto::v1::{
    self, ClusterState, DrainNodeRequest, NodeState, WatchClusterRequest, cluster_client::ClusterClient,
};
use tokio::time::timeout;

use super::{
    Connection,
    client::Client,
    error::{ControlError, one_line},
    nodes::render_one,
    words::request_id,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// As `nodes` shows it.
    #[arg(value_name = "NODE")]
    node: String,
    /// How long to wait until the node is empty; it is being emptied afterwards, too. 0 does not wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// How far a drain is, as one look at the cluster tells.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Done,
    /// Pipelines that are still there, and what is in their way.
    Left {
        pipelines: u32,
        blocked: String,
    },
    /// Someone said `undrain` meanwhile.
    TakenBack,
}

pub(super) async fn run(arguments: Arguments) -> Result<String, ControlError> {
    let Arguments { node, timeout: seconds, connection } = arguments;
    let client = connection.client()?;
    let request = DrainNodeRequest { request_id: request_id(), node };
    let begun = client.call(async |channel| ClusterClient::new(channel).drain(request.clone()).await).await?;
    if seconds == 0 || progress(Some(&begun)) == Progress::Done {
        return Ok(render_one(&begun, connection.output));
    }
    let emptied = timeout(Duration::from_secs(seconds), wait(&client, &request.node)).await;
    let node = emptied.unwrap_or_else(|_| Err(not_empty(&request.node, seconds)))?;
    Ok(render_one(&node, connection.output))
}

fn not_empty(node: &str, seconds: u64) -> ControlError {
    let message = format!("{node} is not empty after {seconds} s and is still being emptied");
    ControlError::Plain(format!(
        "{message}; `rosetta nodes` shows what is in the way, `rosetta undrain {node}` ends it"
    ))
}

/// Says on standard error what is left, each time that it changes.
async fn wait(client: &Client, id: &str) -> Result<v1::Node, ControlError> {
    let mut said = None;
    let open = async |channel| ClusterClient::new(channel).watch(WatchClusterRequest {}).await;
    let on_message = |cluster: ClusterState, _| {
        let node = cluster.nodes.into_iter().find(|node| node.id == id);
        let now = progress(node.as_ref());
        match &now {
            Progress::Done => {
                let gone = || v1::Node { id: id.to_owned(), state: NodeState::Gone.into(), ..v1::Node::default() };
                return ControlFlow::Break(Ok(node.unwrap_or_else(gone)));
            }
            Progress::TakenBack => {
                let message =
                    format!("{id} is no longer being emptied: someone ended it; run `rosetta drain {id}` again");
                return ControlFlow::Break(Err(ControlError::Plain(message)));
            }
            Progress::Left { pipelines, blocked } if said.as_ref() != Some(&now) => {
                let reason = if blocked.is_empty() { String::new() } else { format!(" ({})", one_line(blocked)) };
                eprintln!("{id}: {pipelines} pipelines left{reason}");
            }
            Progress::Left { .. } => {}
        }
        said = Some(now);
        ControlFlow::Continue(())
    };
    client.follow(open, on_message).await?
}

fn progress(node: Option<&v1::Node>) -> Progress {
    // A node of which nothing is wanted and nothing is there owns nothing.
    let Some(node) = node else { return Progress::Done };
    let left = || Progress::Left { pipelines: node.pipelines, blocked: node.blocked.clone() };
    match node.state() {
        NodeState::Drained => Progress::Done,
        NodeState::Gone if node.pipelines == 0 => Progress::Done,
        NodeState::Gone | NodeState::Draining => left(),
        NodeState::Active | NodeState::Cordoned | NodeState::Unspecified => Progress::TakenBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_empty_only_when_nothing_is_left() {
        let node = |state: NodeState, pipelines| v1::Node { state: state.into(), pipelines, ..v1::Node::default() };
        assert_eq!(progress(None), Progress::Done);
        assert_eq!(progress(Some(&node(NodeState::Drained, 0))), Progress::Done);
        assert_eq!(progress(Some(&node(NodeState::Gone, 0))), Progress::Done);
        let left = |pipelines| Progress::Left { pipelines, blocked: String::new() };
        assert_eq!(progress(Some(&node(NodeState::Gone, 2))), left(2));
        // Empty, but not yet recorded as such: something may still be given to it.
        assert_eq!(progress(Some(&node(NodeState::Draining, 0))), left(0));
        assert_eq!(progress(Some(&node(NodeState::Active, 0))), Progress::TakenBack);
    }
}
