//! Connections to the config database: few, named, and given up soon.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::root_cause;
use super::{CatalogError, CatalogSettings};
use crate::postgres::{PgUrl, SslMode, tls_config};

const APPLICATION_NAME: &str = "rosetta-catalog";
/// A server that does not let us in within this time is away, and a caller is told so.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// A connection in silence is asked after this time, so that a dead server is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;

pub(super) fn pool(settings: &CatalogSettings) -> Result<Pool, CatalogError> {
    // Verified: a connection that an outage left half open is found when it is taken, not by the caller.
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Verified };
    let manager = Manager::from_config(config(&settings.url), tls(&settings.url)?, manager_config);
    let limit = Some(CONNECTED_WITHIN);
    Pool::builder(manager)
        .max_size(settings.pipeline_pool_max.max(1))
        .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| CatalogError::unavailable(&settings.url.server(), error.to_string()))
}

pub(super) fn config(url: &PgUrl) -> Config {
    let mut config = Config::new();
    config.host(&url.host).port(url.port).user(&url.user).dbname(&url.database).application_name(APPLICATION_NAME);
    if let Some(password) = &url.password {
        config.password(password);
    }
    config.ssl_mode(match url.ssl_mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Allow | SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    config.connect_timeout(CONNECTED_WITHIN).tcp_user_timeout(KEEPALIVE_IDLE);
    config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
    config.keepalives_retries(KEEPALIVE_RETRIES);
    config
}

pub(super) fn tls(url: &PgUrl) -> Result<MakeRustlsConnect, CatalogError> {
    let refused =
        |reason| CatalogError::invalid("ROSETTA_DB_SSLROOTCERT", format!("TLS to the config database: {reason}"));
    tls_config(url).map(MakeRustlsConnect::new).map_err(refused)
}

pub(super) fn pool_error(server: &str, error: PoolError) -> CatalogError {
    match error {
        PoolError::Backend(error) if error.as_db_error().is_some() => CatalogError::database(server, &error),
        PoolError::Timeout(_) => {
            CatalogError::unavailable(server, format!("no connection within {CONNECTED_WITHIN:?}"))
        }
        PoolError::Backend(_) | PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            CatalogError::unavailable(server, root_cause(&error))
        }
    }
}
