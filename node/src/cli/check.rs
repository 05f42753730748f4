use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Output, fail, show};
use crate::config::Definitions;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of sources, destinations and pipelines.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    match Definitions::load(&arguments.file) {
        Ok(definitions) => {
            let report = Box::pin(crate::check::run(&definitions)).await;
            show(&report.render(arguments.output), report.is_ok())
        }
        Err(error) => fail(error),
    }
}
