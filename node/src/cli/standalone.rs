use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use rosetta_coordinator::InProcess;
use rosetta_proto::v1::DefinitionSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    fail,
    process::{LogFormat, listen_for_signals, start_logging},
    progress, status_file,
};
use crate::{
    api::{Addresses, Listeners, serve},
    config::{Definitions, Settings, load_with_message},
    dead_letters::{DeadLetterStore, Desk, RedisStore, SqliteStore, StoreError},
    pipeline::{PipelineError, job::Job},
    supervisor::{Ending, Fleet},
};

/// A pipeline that does not stop by itself within this time is ended with the process; that loses nothing.
const STOP_DEADLINE: Duration = Duration::from_millis(1900);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of sources, destinations and pipelines.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where this process keeps what is its own; made when it does not exist.
    #[arg(long, value_name = "DIR", env = "ROSETTA_DATA_DIR", default_value = "rosetta-data")]
    data_dir: PathBuf,
    /// Where dead letters wait, redis://HOST:PORT [default: a file in the data folder].
    #[arg(long, value_name = "URL", env = "ROSETTA_REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    #[command(flatten)]
    addresses: Addresses,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Seconds between two lines of progress; 0 for none. On a terminal progress is shown live instead.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    progress: u64,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    let (definitions, message) = match load_with_message(&arguments.config) {
        Ok(loaded) => loaded,
        Err(error) => return fail(error),
    };
    let jobs = match jobs(&definitions, &arguments) {
        Ok(jobs) => jobs,
        Err(error) => return fail(error),
    };
    let display = progress::Display::new(arguments.progress);
    start_logging(arguments.log_format, &display);
    let cancel = CancellationToken::new();
    if let Err(error) = listen_for_signals(cancel.clone()) {
        return fail(format!("cannot listen for signals: {error}"));
    }
    let listeners = match arguments.addresses.listen().await {
        Ok(listeners) => listeners,
        Err(error) => return fail(error),
    };
    let statuses: Vec<_> = jobs.iter().map(|job| Arc::clone(&job.status)).collect();
    let shown = tokio::spawn(display.run(statuses.clone()));
    let written = tokio::spawn(status_file::keep(arguments.data_dir.clone(), statuses.clone()));
    let fleet = Arc::new(Fleet::new(jobs));
    let answering = tokio::spawn(answer(Arc::clone(&fleet), message, listeners, cancel.clone()));
    let mut running = std::pin::pin!(fleet.run(cancel.clone()));
    let endings = tokio::select! {
        endings = &mut running => endings,
        () = cancel.cancelled() => timeout(STOP_DEADLINE, running).await.unwrap_or_default(),
    };
    answering.abort();
    shown.abort();
    written.abort();
    let _ = status_file::write(&arguments.data_dir, &statuses);
    finish(&endings)
}

/// Pipelines run on when nobody can be answered any more.
async fn answer(fleet: Arc<Fleet>, definitions: DefinitionSet, listeners: Listeners, cancel: CancellationToken) {
    if let Some(address) = listeners.grpc_address() {
        info!("answering gRPC on {address}");
    }
    if let Some(address) = listeners.http_address() {
        info!("answering HTTP on {address}");
    }
    if let Err(error) = serve(fleet, definitions, listeners, cancel).await {
        error!("no calls are answered any more: {error}; start the process again");
    }
}

fn jobs(definitions: &Definitions, arguments: &Arguments) -> Result<Vec<Job>, String> {
    let settings = Settings::from_env(&|name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    let folder = arguments.data_dir.display();
    std::fs::create_dir_all(&arguments.data_dir)
        .map_err(|error| format!("cannot make the data folder '{folder}': {error}"))?;
    let ownership = Arc::new(InProcess::default());
    let store = letter_store(definitions, arguments).map_err(|error| error.to_string())?;
    let desk = Arc::new(Desk::new(store));
    let job = |definition| {
        Job::new(definitions, definition, &settings, Arc::clone(&ownership) as Arc<_>)
            .map(|job| job.with_desk(Arc::clone(&desk)))
            .map_err(|error: PipelineError| format!("pipeline {}: {error}", definition.name))
    };
    definitions.pipelines.iter().map(job).collect()
}

/// A file, unless there is a Redis.
fn letter_store(definitions: &Definitions, arguments: &Arguments) -> Result<Arc<dyn DeadLetterStore>, StoreError> {
    Ok(match &arguments.redis_url {
        Some(url) => Arc::new(RedisStore::new(url, definitions.allow_volatile_dead_letters)?),
        None => Arc::new(SqliteStore::open(&arguments.data_dir)?),
    })
}

/// Success when asked to stop; failure when no pipeline is left to run.
fn finish(endings: &[Ending]) -> ExitCode {
    let gave_up = endings.iter().filter_map(|ending| match ending {
        Ending::GaveUp { pipeline, error } => Some((pipeline, error)),
        Ending::Stopped => None,
    });
    let gave_up: Vec<_> = gave_up.collect();
    if gave_up.is_empty() || gave_up.len() < endings.len() {
        return ExitCode::SUCCESS;
    }
    for (pipeline, error) in gave_up {
        eprintln!("rosetta: pipeline {pipeline}: {error}");
    }
    ExitCode::FAILURE
}
