//! The commands: translate arguments, call, print. No decisions.

mod progress;
mod standalone;
mod status_file;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps destinations an exact, live copy of PostgreSQL sources.
#[derive(Debug, Parser)]
#[command(name = "rosetta", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the pipelines of a file in this process, with nothing beside it.
    Standalone(standalone::Arguments),
}

/// Runs the command that the arguments name.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Standalone(arguments) => standalone::run(arguments).await,
    }
}

/// Prints the one line that says what went wrong.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("rosetta: {error}");
    ExitCode::FAILURE
}
