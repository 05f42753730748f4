//! `move` and `rebalance`.

use clap::Args;
use rosetta_proto::v1::{
    MovePipelineRequest, PlannedMove, RebalanceRequest, RebalanceResponse, cluster_client::ClusterClient,
};
use serde::Serialize;

use super::{
    super::{Output, json, table},
    Connection,
    error::ControlError,
    words::{move_reason, or_dash, request_id, some},
};

#[derive(Debug, Args)]
pub(crate) struct Move {
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// The node that is to carry it.
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Keep it there: it runs on no other node. Without, a pin that it has is taken away.
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Rebalance {
    /// Show what would move, and move nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct MoveLine {
    pipeline: String,
    from: Option<String>,
    to: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Rebalanced {
    applied: bool,
    imbalance_before: f64,
    imbalance_after: f64,
    moves: Vec<MoveLine>,
}

pub(super) async fn run(arguments: Move) -> Result<String, ControlError> {
    let Move { pipeline, to: node, pin, connection } = arguments;
    let request = MovePipelineRequest { request_id: request_id(), pipeline, node, pin };
    let call = async |channel| ClusterClient::new(channel).r#move(request.clone()).await;
    let answer = connection.client()?.call(call).await?;
    Ok(render_move(&answer.r#move.unwrap_or_default(), connection.output))
}

pub(super) async fn rebalance(Rebalance { dry_run, connection }: Rebalance) -> Result<String, ControlError> {
    let request = RebalanceRequest { request_id: request_id(), dry_run };
    let call = async |channel| ClusterClient::new(channel).rebalance(request.clone()).await;
    let answer = connection.client()?.call(call).await?;
    Ok(render(&answer, !dry_run, connection.output))
}

fn render_move(planned: &PlannedMove, output: Output) -> String {
    let line = MoveLine::new(planned);
    match output {
        Output::Json => json(&line),
        Output::Table if line.from.as_deref() == Some(&line.to) => {
            format!("{}: stays on {}\n", line.pipeline, line.to)
        }
        Output::Table => format!("{}: moves from {} to {}\n", line.pipeline, or_dash(line.from), line.to),
    }
}

fn render(answer: &RebalanceResponse, applied: bool, output: Output) -> String {
    let moves = answer.moves.iter().map(MoveLine::new);
    let RebalanceResponse { imbalance_before, imbalance_after, .. } = *answer;
    match output {
        Output::Json => json(&Rebalanced { applied, imbalance_before, imbalance_after, moves: moves.collect() }),
        Output::Table if answer.moves.is_empty() => {
            format!("balanced: the fullest node has {imbalance_before:.2} times the mean\n")
        }
        Output::Table => {
            let rows = moves.map(|line| [line.pipeline, or_dash(line.from), line.to, line.reason]);
            let mut text = table(["pipeline", "from", "to", "reason"], rows, None);
            let fullest = "the fullest node's load, times the mean";
            text.push_str(&format!("{fullest}: {imbalance_before:.2} now, {imbalance_after:.2} after\n"));
            text
        }
    }
}

impl MoveLine {
    fn new(planned: &PlannedMove) -> MoveLine {
        MoveLine {
            pipeline: planned.pipeline.clone(),
            from: some(&planned.from),
            to: planned.to.clone(),
            reason: move_reason(planned.reason()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::MoveReason;

    use super::*;

    fn planned(from: &str) -> PlannedMove {
        PlannedMove {
            pipeline: "orders".to_owned(),
            from: from.to_owned(),
            to: "n2".to_owned(),
            reason: MoveReason::Balance.into(),
        }
    }

    #[test]
    fn a_move() {
        assert_eq!(render_move(&planned("n1"), Output::Table), "orders: moves from n1 to n2\n");
        assert_eq!(render_move(&planned(""), Output::Table), "orders: moves from - to n2\n");
        assert_eq!(render_move(&planned("n2"), Output::Table), "orders: stays on n2\n");
    }

    #[test]
    fn a_rebalance() {
        let answer = RebalanceResponse { moves: vec![planned("n1")], imbalance_before: 1.5, imbalance_after: 1.0 };
        let expected = " pipeline  from  to  reason\n orders    n1    n2  balance\n\
                        the fullest node's load, times the mean: 1.50 now, 1.00 after\n";
        assert_eq!(render(&answer, true, Output::Table), expected);
        let value: serde_json::Value = serde_json::from_str(&render(&answer, false, Output::Json)).unwrap();
        assert_eq!((&value["applied"], &value["moves"][0]["to"]), (&false.into(), &"n2".into()));
        let balanced = RebalanceResponse { moves: vec![], imbalance_before: 1.04, imbalance_after: 1.04 };
        assert_eq!(render(&balanced, true, Output::Table), "balanced: the fullest node has 1.04 times the mean\n");
    }
}
