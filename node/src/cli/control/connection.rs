use clap::Args;

use super::{super::Output, client::Client, error::ControlError};

/// Where a node on this machine listens.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
const VARIABLE: &str = "ROSETTA_ENDPOINT";

/// Whom a command asks, and how it writes the answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// A node's gRPC address; several, separated by commas: the next is asked when one cannot answer. [env:
    /// ROSETTA_ENDPOINT] [default: http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

impl Connection {
    /// # Errors
    /// What was given is no endpoint.
    pub(super) fn client(&self) -> Result<Client, ControlError> {
        let endpoint = self.endpoint.clone().or_else(endpoint_from_environment);
        Client::new(endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT))
    }
}

pub(crate) fn endpoint_from_environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|value| !value.is_empty())
}
