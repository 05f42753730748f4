use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{Output, fail, show};
use crate::{
    config::Definitions,
    verify::{self, Options},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of sources, destinations and pipelines.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One pipeline instead of all.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// How long destinations may take to reach the source's position; 0 compares them as they are.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Show the values of rows that differ, too.
    #[arg(long)]
    show_values: bool,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    let definitions = match Definitions::load(&arguments.config) {
        Ok(definitions) => definitions,
        Err(error) => return fail(error),
    };
    let Arguments { pipeline, timeout, show_values, output, .. } = arguments;
    match Box::pin(verify::run(&definitions, &Options { pipeline, timeout, show_values })).await {
        Ok(report) => show(&report.render(output), report.is_ok()),
        Err(error) => fail(error),
    }
}

/// `60` or `60s`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse();
    number.map(Duration::from_secs).map_err(|_| format!("'{text}' is not a number of seconds"))
}
