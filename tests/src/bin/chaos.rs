//! `cargo run -p rosetta-tests --bin chaos -- --minutes 20 --seed 7`: random faults on three nodes and 20 pipelines under
//! load. Prints the faults, how long failovers took, and whether anything was lost, doubled or late.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use rosetta_tests::cluster::chaos;

#[derive(Debug, Parser)]
struct Arguments {
    /// How long faults are injected.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// Which faults come in which order; when they come depends on the machine.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Arguments { minutes, seed } = Arguments::parse();
    let seed = seed.unwrap_or_else(rand::random);
    println!("chaos for {minutes} minutes, seed {seed}");
    let report = chaos::run(seed, Duration::from_secs(60 * minutes)).await;
    println!("{report}");
    if report.verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
