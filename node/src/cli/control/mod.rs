//! The commands that ask a node: translate arguments, call, print. A node decides.

mod apply;
mod backfill;
mod client;
mod connection;
mod dlq;
mod drain;
mod error;
mod events;
mod get;
mod health;
mod moves;
mod nodes;
mod pipelines;
mod status;
#[cfg(test)]
mod tests;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use connection::{Connection, endpoint_from_environment};
pub(super) use status::run as status;

use error::ControlError;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes what a cluster runs equal to a file; shows first what would change.
    Apply(apply::Arguments),
    /// Shows a pipeline: its definition and what it is doing.
    Get(get::Arguments),
    /// Lets pipelines stand still; their slots keep the source's log.
    Pause(pipelines::Names),
    /// Lets paused pipelines go on.
    Resume(pipelines::Names),
    /// Stops pipelines and starts them again; failed ones try anew.
    Restart(pipelines::Names),
    /// Makes the copies of pipelines anew, from the beginning.
    Resync(pipelines::Names),
    /// Stops a pipeline and forgets it; what was copied stays.
    Delete(pipelines::Delete),
    /// Copies tables again while their pipeline runs on.
    #[command(subcommand)]
    Backfill(backfill::Command),
    /// Shows and settles changes that a destination did not take.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Shows the nodes of a cluster.
    Nodes(nodes::Arguments),
    /// Empties a node, and waits until it is empty.
    Drain(drain::Arguments),
    /// Lets a drained node carry pipelines again.
    Undrain(nodes::Node),
    /// Gives a node nothing new.
    Cordon(nodes::Node),
    /// Ends a cordon.
    Uncordon(nodes::Node),
    /// Moves a pipeline to a node.
    Move(moves::Move),
    /// Spreads pipelines evenly over the nodes.
    Rebalance(moves::Rebalance),
    /// Shows what happened in a cluster, the newest first.
    Events(events::Arguments),
    /// Succeeds if a node is ready.
    Health(health::Arguments),
}

/// What a command has to print, and what failed beside.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    errors: Vec<ControlError>,
}

impl From<Result<String, ControlError>> for Answer {
    fn from(result: Result<String, ControlError>) -> Answer {
        match result {
            Ok(text) => Answer { text, errors: Vec::new() },
            Err(error) => Answer { text: String::new(), errors: vec![error] },
        }
    }
}

/// Runs a command and prints what it answers.
pub(super) async fn run(command: Command) -> ExitCode {
    print(answer(command).await)
}

async fn answer(command: Command) -> Answer {
    use pipelines::Action;
    match command {
        Command::Apply(arguments) => Box::pin(apply::run(arguments)).await.into(),
        Command::Get(arguments) => get::run(arguments).await.into(),
        Command::Pause(names) => pipelines::run(Action::Pause, names).await,
        Command::Resume(names) => pipelines::run(Action::Resume, names).await,
        Command::Restart(names) => pipelines::run(Action::Restart, names).await,
        Command::Resync(names) => pipelines::run(Action::Resync, names).await,
        Command::Delete(arguments) => pipelines::delete(arguments).await.into(),
        Command::Backfill(command) => backfill::run(command).await.into(),
        Command::Dlq(command) => Box::pin(dlq::run(command)).await.into(),
        Command::Nodes(arguments) => nodes::run(arguments).await.into(),
        Command::Drain(arguments) => Box::pin(drain::run(arguments)).await.into(),
        Command::Undrain(node) => nodes::undrain(node).await.into(),
        Command::Cordon(node) => nodes::cordon(node).await.into(),
        Command::Uncordon(node) => nodes::uncordon(node).await.into(),
        Command::Move(arguments) => moves::run(arguments).await.into(),
        Command::Rebalance(arguments) => moves::rebalance(arguments).await.into(),
        Command::Events(arguments) => events::run(arguments).await.into(),
        Command::Health(arguments) => health::run(arguments).await.into(),
    }
}

/// Prints the text, and each failure on a line of its own.
pub(super) fn print(Answer { text, errors }: Answer) -> ExitCode {
    let shown = if text.is_empty() { ExitCode::SUCCESS } else { super::show(&text, true) };
    errors.into_iter().fold(shown, |_, error| super::fail(error))
}
