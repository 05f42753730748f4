//! The catalog: what is wanted, and what happened, in the config database (docs/CATALOG.md).
//!
//! ```text
//! API -> Command -> plan (pure) -> one transaction {request id, rows, event} -> trigger notifies
//! leader: Listener::changed -> Catalog::load -> Snapshot -> Snapshot::record -> etcd
//! node:   etcd -> record::open (keys) -> Definitions -> Job
//! ```
//!
//! Nothing here is on the data path: while the database is away, pipelines run on and fail over.

mod change;
mod connect;
mod definition;
mod deletions;
mod difference;
mod error;
mod events;
mod listener;
mod migrations;
mod plan;
#[cfg(test)]
mod plan_tests;
pub mod record;
mod recorder;
mod requests;
mod rotate;
mod settings;
mod snapshot;
mod validate;

pub use change::{Answer, Caller, Command};
pub use definition::{DefinitionSet, DestinationDefinition, PipelineDefinition, RouteDefinition, SourceDefinition};
pub use deletions::Deletion;
pub use difference::{Change, ChangeKind, Difference};
pub use error::{CatalogError, Kind};
pub use events::{Event, EventFilter, RecordedEvent};
pub use listener::Listener;
pub use recorder::Recorder;
pub use rotate::{KeyUse, SecretReport};
pub use settings::CatalogSettings;
pub use snapshot::{Refused, Snapshot, StoredPipeline};
pub use validate::validate;

use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use tokio::sync::OnceCell;
use tokio::time::{Duration, timeout};

use crate::secret::Keyring;

/// How long a call may take in all. Longer is an outage: control calls answer, rather than hang.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// The config database. Cheap to clone; connects when it is first used.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    settings: CatalogSettings,
    keys: Arc<Keyring>,
    pool: Pool,
    is_migrated: OnceCell<()>,
}

/// Connections to the config database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// At most so many are opened.
    pub limit: usize,
    pub open: usize,
    /// Open, and used by nobody.
    pub idle: usize,
    /// Calls that wait for one.
    pub waiters: usize,
}

impl Catalog {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// Settings that can never work, such as an unreadable root certificate.
    pub fn new(settings: CatalogSettings, keys: Arc<Keyring>) -> Result<Catalog, CatalogError> {
        let pool = connect::pool(&settings)?;
        Ok(Catalog { shared: Arc::new(Shared { settings, keys, pool, is_migrated: OnceCell::new() }) })
    }

    /// Everything that is defined, at one moment.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn load(&self) -> Result<Snapshot, CatalogError> {
        self.within(Box::pin(async {
            let mut client = self.client().await?;
            let builder = client.build_transaction().read_only(true);
            let isolation = tokio_postgres::IsolationLevel::RepeatableRead;
            let transaction = builder.isolation_level(isolation).start().await.map_err(|e| self.failed(&e))?;
            snapshot::load(&transaction).await.map_err(|e| self.failed(&e))
        }))
        .await
    }

    /// Makes the tables, or brings them to this version's form; otherwise the first call does it.
    ///
    /// # Errors
    /// The database is not available, or the role may not.
    pub async fn migrate(&self) -> Result<(), CatalogError> {
        self.within(Box::pin(async { self.client().await.map(drop) })).await
    }

    /// The database as messages call it.
    pub fn server(&self) -> String {
        self.shared.settings.url.server()
    }

    /// How the connections are used now.
    pub fn pool_use(&self) -> PoolUse {
        let status = self.shared.pool.status();
        PoolUse { limit: status.max_size, open: status.size, idle: status.available, waiters: status.waiting }
    }

    async fn client(&self) -> Result<Object, CatalogError> {
        let away = |error| connect::pool_error(&self.server(), error);
        let mut client = self.shared.pool.get().await.map_err(away)?;
        let migrate = async || migrations::run(&mut client).await.map_err(|e| self.failed(&e));
        self.shared.is_migrated.get_or_try_init(migrate).await?;
        Ok(client)
    }

    fn failed(&self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::database(&self.server(), error)
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, CatalogError>>) -> Result<T, CatalogError> {
        let late = |_| CatalogError::unavailable(&self.server(), format!("no answer within {ANSWERED_WITHIN:?}"));
        timeout(ANSWERED_WITHIN, call).await.unwrap_or_else(|error| Err(late(error)))
    }
}
