//! The commands: translate arguments, call, print. No decisions.

mod check;
mod control;
mod node;
pub mod output;
mod process;
mod progress;
mod secrets;
mod standalone;
mod status;
mod status_file;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub use output::{Output, json, table};

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
    /// Runs as a node of a cluster, with etcd and the config database.
    Node(node::Arguments),
    /// Looks whether a file's servers are ready, and lists every problem with its remedy.
    Check(check::Arguments),
    /// Compares source and destination tables at one position and says where they differ.
    Verify(verify::Arguments),
    /// Shows what the pipelines are doing, those in trouble first.
    Status(status::Arguments),
    #[command(flatten)]
    Control(control::Command),
    /// Passwords in the config database: which keys encrypt them, and changing the key.
    Secrets(secrets::Arguments),
}

/// Runs the command that the arguments name.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Standalone(arguments) => standalone::run(arguments).await,
        Command::Node(arguments) => node::run(arguments).await,
        Command::Check(arguments) => check::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments).await,
        Command::Status(arguments) => status::run(&arguments).await,
        Command::Control(command) => control::run(command).await,
        Command::Secrets(arguments) => secrets::run(arguments).await,
    }
}

/// Prints the one line that says what went wrong.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("rosetta: {error}");
    ExitCode::FAILURE
}

/// Prints a report; failure when it says so.
fn show(report: &str, is_ok: bool) -> ExitCode {
    match put(report) {
        Ok(()) if is_ok => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => fail(format!("cannot write the answer: {error}; look at where standard output goes")),
    }
}

/// Writes to standard output. A reader that has gone, such as `head`, has read enough.
fn put(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
