//! Pipelines that are no longer defined, and of which something is still at their servers.

use tokio_postgres::{Error, GenericClient};

use super::{Catalog, CatalogError, definition::DefinitionSet, record::open_set, validate};
use crate::{config::Definitions, secret::Keyring};

/// A deleted pipeline whose slot and position are to be taken away. Passwords are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    pub pipeline: String,
    definition: String,
}

impl Deletion {
    /// The pipeline as it was defined, with the passwords of its servers.
    ///
    /// # Errors
    /// A secret does not open with the keys of this process, or the definition is of a form that is not known.
    pub fn open(&self, keys: &Keyring) -> Result<Definitions, CatalogError> {
        let unknown = |error| CatalogError::invalid("", format!("pipeline {}: {error}", self.pipeline));
        let set: DefinitionSet = serde_json::from_str(&self.definition).map_err(unknown)?;
        validate(&open_set(&set, keys)?)
    }
}

impl Catalog {
    /// The pipelines of which something is still at their servers.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn deletions(&self) -> Result<Vec<Deletion>, CatalogError> {
        self.within(Box::pin(async {
            let client = self.client().await?;
            let rows = client.query("select pipeline, definition::text from rosetta.deletions order by at", &[]).await;
            let deletion =
                |row: &tokio_postgres::Row| Ok(Deletion { pipeline: row.try_get(0)?, definition: row.try_get(1)? });
            rows.and_then(|rows| rows.iter().map(deletion).collect()).map_err(|error| self.failed(&error))
        }))
        .await
    }

    /// Nothing of the pipeline is left.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn deleted(&self, deletion: &Deletion) -> Result<(), CatalogError> {
        self.within(Box::pin(async {
            let client = self.client().await?;
            done(&**client, &deletion.pipeline).await.map(drop).map_err(|error| self.failed(&error))
        }))
        .await
    }
}

/// Notes that what the set's pipeline has at its servers is to be taken away.
pub(super) async fn write(client: &impl GenericClient, set: &DefinitionSet) -> Result<u64, Error> {
    let Some(pipeline) = set.pipelines.first() else { return Ok(0) };
    let statement = "insert into rosetta.deletions (pipeline, definition) values ($1, $2::text::jsonb) \
                     on conflict (pipeline) do update set definition = excluded.definition, at = now()";
    let definition = serde_json::to_string(set).unwrap_or_default();
    client.execute(statement, &[&pipeline.name, &definition]).await
}

pub(super) async fn done(client: &impl GenericClient, pipeline: &str) -> Result<u64, Error> {
    client.execute("delete from rosetta.deletions where pipeline = $1", &[&pipeline]).await
}
