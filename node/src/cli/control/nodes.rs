//! `nodes`, `undrain`, `cordon`, `uncordon`.

use clap::Args;
use rosetta_proto::v1::{
    self, ClusterState, CordonNodeRequest, GetClusterRequest, UncordonNodeRequest, UndrainNodeRequest,
    cluster_client::ClusterClient,
};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Connection,
    error::{ControlError, one_line},
    words::{node_state, or_dash, request_id, some},
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Node {
    /// As `nodes` shows it.
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
pub(super) struct NodeLine {
    node: String,
    pub(super) state: String,
    leader: bool,
    pipelines: u32,
    load: f64,
    capacity: f64,
    address: Option<String>,
    version: Option<String>,
    incarnation: Option<String>,
    started_at: Option<String>,
    blocked: Option<String>,
}

const HEADER: [&str; 9] =
    ["node", "state", "leader", "pipelines", "load", "address", "version", "started", "blocked by"];

pub(super) async fn run(Arguments { connection }: Arguments) -> Result<String, ControlError> {
    let call = async |channel| ClusterClient::new(channel).get(GetClusterRequest {}).await;
    let cluster = connection.client()?.call(call).await?;
    Ok(render(&cluster, connection.output))
}

pub(super) async fn undrain(Node { node, connection }: Node) -> Result<String, ControlError> {
    let request = UndrainNodeRequest { request_id: request_id(), node };
    let call = async |channel| ClusterClient::new(channel).undrain(request.clone()).await;
    Ok(render_one(&connection.client()?.call(call).await?, connection.output))
}

pub(super) async fn cordon(Node { node, connection }: Node) -> Result<String, ControlError> {
    let request = CordonNodeRequest { request_id: request_id(), node };
    let call = async |channel| ClusterClient::new(channel).cordon(request.clone()).await;
    Ok(render_one(&connection.client()?.call(call).await?, connection.output))
}

pub(super) async fn uncordon(Node { node, connection }: Node) -> Result<String, ControlError> {
    let request = UncordonNodeRequest { request_id: request_id(), node };
    let call = async |channel| ClusterClient::new(channel).uncordon(request.clone()).await;
    Ok(render_one(&connection.client()?.call(call).await?, connection.output))
}

fn render(cluster: &ClusterState, output: Output) -> String {
    let lines = cluster.nodes.iter().map(NodeLine::new);
    match output {
        Output::Json => json(&lines.collect::<Vec<_>>()),
        Output::Table => table(HEADER, lines.map(NodeLine::row), None),
    }
}

pub(super) fn render_one(node: &v1::Node, output: Output) -> String {
    let line = NodeLine::new(node);
    match output {
        Output::Json => json(&line),
        Output::Table => format!("{}: {}\n", line.node, line.state),
    }
}

impl NodeLine {
    pub(super) fn new(node: &v1::Node) -> NodeLine {
        NodeLine {
            node: node.id.clone(),
            state: node_state(node.state()),
            leader: node.is_leader,
            pipelines: node.pipelines,
            load: node.load,
            capacity: node.capacity,
            address: some(&node.address),
            version: some(&node.version),
            incarnation: some(&node.incarnation),
            started_at: node.started_at.map(|at| at.to_string()),
            blocked: some(&one_line(&node.blocked)),
        }
    }

    fn row(self) -> [String; 9] {
        [
            self.node,
            self.state,
            if self.leader { "yes".to_owned() } else { String::new() },
            self.pipelines.to_string(),
            format!("{:.1}", self.load),
            or_dash(self.address),
            or_dash(self.version),
            or_dash(self.started_at),
            self.blocked.unwrap_or_default(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::NodeState;

    use super::*;

    #[test]
    fn rendering() {
        let node = v1::Node {
            id: "n1".to_owned(),
            state: NodeState::Draining.into(),
            is_leader: true,
            pipelines: 3,
            load: 2.96,
            address: "h:50051".to_owned(),
            blocked: "no other node".to_owned(),
            ..v1::Node::default()
        };
        let cluster = ClusterState { nodes: vec![node], ..ClusterState::default() };
        let expected = " node  state     leader  pipelines  load  address  version  started  blocked by\n \
                        n1    draining  yes     3          3.0   h:50051  -        -        no other node\n";
        assert_eq!(render(&cluster, Output::Table), expected);
        let value: serde_json::Value = serde_json::from_str(&render(&cluster, Output::Json)).unwrap();
        assert_eq!((&value[0]["node"], &value[0]["leader"]), (&"n1".into(), &true.into()));
        assert_eq!(value[0]["version"], serde_json::Value::Null);
    }
}
