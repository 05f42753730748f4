use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Output, fail, show, status_file, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data folder of the standalone process.
    #[arg(long, value_name = "DIR", env = "ROSETTA_DATA_DIR", default_value = "rosetta-data")]
    data_dir: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

const HEADER: [&str; 8] = ["pipeline", "state", "node", "epoch", "lag bytes", "lag ms", "missing rows", "error"];

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let lines = match status_file::read(&arguments.data_dir) {
        Ok(lines) => lines,
        Err(error) => return fail(error),
    };
    match arguments.output {
        Output::Json => show(&super::json(&lines), true),
        Output::Table => show(&table(HEADER, lines.iter().map(status_file::Line::row), None), true),
    }
}
