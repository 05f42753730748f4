use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use rosetta_coordinator::{session::SessionEnded, store::EtcdOptions};
use rosetta_proto::NodeId;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    fail,
    process::{LogFormat, listen_for_signals, start_logging},
    progress,
};
use crate::{
    api::{Addresses, Listeners, serve_cluster},
    catalog::{Catalog, CatalogSettings},
    cluster::{self, Node, NodeOptions},
    config::Settings,
    dead_letters::RedisStore,
    secret::Keyring,
};

/// A node of a cluster. The config database is given by ROSETTA_DB_HOST, _PORT, _NAME, _USER and _PASSWORD, the key of
/// its secrets by ROSETTA_SECRET_KEY or ROSETTA_SECRET_KEY_FILE.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The cluster; several may share one etcd.
    #[arg(long, value_name = "NAME", env = "ROSETTA_CLUSTER", default_value = "default")]
    cluster: String,
    /// This node's name, another one for each node and the same at each start [default: the host's name].
    #[arg(long, value_name = "NAME", env = "ROSETTA_NODE_ID")]
    node_id: Option<String>,
    /// etcd's members, http://HOST:PORT, separated by commas.
    #[arg(long, value_name = "URLS", env = "ROSETTA_ETCD_ENDPOINTS", value_delimiter = ',', required = true)]
    etcd_endpoints: Vec<String>,
    /// Where dead letters wait, redis://HOST:PORT. Without, a row that a destination refuses ends its pipeline.
    #[arg(long, value_name = "URL", env = "ROSETTA_REDIS_URL")]
    redis_url: Option<String>,
    /// Use a Redis that may lose what it has acknowledged, too.
    #[arg(long, env = "ROSETTA_ALLOW_VOLATILE_DEAD_LETTERS")]
    allow_volatile_dead_letters: bool,
    #[command(flatten)]
    addresses: Addresses,
    /// Where peers and clients reach this node's gRPC, HOST:PORT [default: --grpc-addr, or the host's name if that is
    /// every address].
    #[arg(long, value_name = "ADDR", env = "ROSETTA_ADVERTISE_ADDR")]
    advertise_addr: Option<String>,
    /// Where this process keeps what is its own; made when it does not exist.
    #[arg(long, value_name = "DIR", env = "ROSETTA_DATA_DIR", default_value = "rosetta-data")]
    data_dir: PathBuf,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    start_logging(arguments.log_format, &progress::Display::new(0));
    let cancel = CancellationToken::new();
    if let Err(error) = listen_for_signals(cancel.clone()) {
        return fail(format!("cannot listen for signals: {error}"));
    }
    let listeners = match arguments.addresses.listen().await {
        Ok(listeners) => listeners,
        Err(error) => return fail(error),
    };
    let options = match options(&arguments, &listeners) {
        Ok(options) => options,
        Err(error) => return fail(error),
    };
    let mut running = match cluster::start(options) {
        Ok(running) => running,
        Err(error) => return fail(format!("cannot start: {error}")),
    };
    let answering = tokio::spawn(answer(Arc::clone(&running.node), listeners));
    let ended = tokio::select! {
        () = cancel.cancelled() => None,
        ended = running.ended() => Some(ended),
    };
    match ended {
        None | Some(SessionEnded::Stopped) => {
            running.stop().await;
            // Last: peers take a node that no longer listens for dead.
            answering.abort();
            ExitCode::SUCCESS
        }
        Some(ended @ SessionEnded::Superseded { .. }) => fail(ended),
    }
}

/// Pipelines run on when nobody can be answered any more.
async fn answer(node: Arc<Node>, listeners: Listeners) {
    if let Some(address) = listeners.grpc_address() {
        info!("answering gRPC on {address}");
    }
    if let Some(address) = listeners.http_address() {
        info!("answering HTTP on {address}");
    }
    if let Err(error) = serve_cluster(node, listeners, CancellationToken::new()).await {
        error!("no calls are answered any more: {error}; start the process again");
    }
}

fn options(arguments: &Arguments, listeners: &Listeners) -> Result<NodeOptions, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let settings = Settings::from_env(&environment).map_err(|error| error.to_string())?;
    let keys = Arc::new(Keyring::from_env(environment).map_err(|error| error.to_string())?);
    let catalog = CatalogSettings::from_env(&environment, &settings).map_err(|error| error.to_string())?;
    let catalog = Catalog::new(catalog, Arc::clone(&keys)).map_err(|error| error.to_string())?;
    let id = match &arguments.node_id {
        Some(id) => id.clone(),
        None => host_name().ok_or("this host has no name that can be read; give the node one with --node-id")?,
    };
    let id: NodeId = id.parse().map_err(|error| format!("--node-id: {error}"))?;
    let folder = arguments.data_dir.display();
    std::fs::create_dir_all(&arguments.data_dir)
        .map_err(|error| format!("cannot make the data folder '{folder}': {error}"))?;
    let etcd = EtcdOptions::new(arguments.etcd_endpoints.iter().map(|endpoint| endpoint_url(endpoint)));
    let address = advertised(arguments, listeners)?;
    let open = |url: &String| RedisStore::new(url, arguments.allow_volatile_dead_letters);
    let dead_letters = arguments.redis_url.as_ref().map(open).transpose().map_err(|error| error.to_string())?;
    let cluster = arguments.cluster.clone();
    Ok(NodeOptions { cluster, id, address, etcd, catalog, settings, keys, dead_letters })
}

/// `HOST:PORT` is how many write an endpoint.
fn endpoint_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim();
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

fn advertised(arguments: &Arguments, listeners: &Listeners) -> Result<String, String> {
    if let Some(address) = &arguments.advertise_addr {
        return Ok(address.clone());
    }
    let nowhere = "peers must reach this node's gRPC, and it listens nowhere; give --grpc-addr or --advertise-addr";
    let listens = listeners.grpc_address().ok_or(nowhere)?;
    if !listens.ip().is_unspecified() {
        return Ok(listens.to_string());
    }
    let host = host_name().ok_or("this host has no name that can be read; give --advertise-addr")?;
    Ok(format!("{host}:{}", listens.port()))
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
