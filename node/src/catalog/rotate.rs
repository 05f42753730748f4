//! Which keys are in use, and encrypting everything anew with the first one.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Error, Transaction};

use super::{Catalog, CatalogError, DestinationDefinition, SourceDefinition, requests};
use crate::secret::{PasswordForm, Place, open_url, password_forms, seal_url};

/// A key that something is encrypted with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// Passwords encrypted with it.
    pub passwords: u64,
    /// Whether this process has a key of this id.
    pub is_given: bool,
}

/// How passwords are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecretReport {
    /// By the key's id.
    pub keys: BTreeMap<String, KeyUse>,
    /// Passwords that are not encrypted.
    pub plain: u64,
    /// What does not open, one line each.
    pub problems: Vec<String>,
}

impl SecretReport {
    /// Whether every password is encrypted and opens.
    pub fn is_ok(&self) -> bool {
        self.plain == 0 && self.problems.is_empty()
    }
}

/// A URL that may hold passwords, and where it is.
struct StoredUrl {
    table: &'static str,
    name: String,
    url: String,
}

impl StoredUrl {
    fn place(&self) -> Place<'_> {
        Place { table: self.table, name: &self.name, field: "url" }
    }
}

impl Catalog {
    /// Looks how passwords are stored; changes nothing.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn check_secrets(&self) -> Result<SecretReport, CatalogError> {
        self.within(Box::pin(async {
            let mut client = self.client().await?;
            let transaction = client.transaction().await.map_err(|error| self.failed(&error))?;
            let urls = stored_urls(&transaction).await.map_err(|error| self.failed(&error))?;
            Ok(self.report(&urls))
        }))
        .await
    }

    /// Encrypts every password with the first key, in one transaction; those that are not encrypted, too. Definitions
    /// keep their revisions: no pipeline restarts. Returns how many URLs were written.
    ///
    /// # Errors
    /// No key, one password that does not open (nothing is changed then), or the database is not available.
    pub async fn rotate_secrets(&self) -> Result<u64, CatalogError> {
        self.within(Box::pin(async {
            let failed = |error: Error| self.failed(&error);
            let mut client = self.client().await?;
            let transaction = client.transaction().await.map_err(failed)?;
            let start = "lock table rosetta.sources, rosetta.destinations in share row exclusive mode; \
                         set local rosetta.rotating = 'on'";
            transaction.batch_execute(start).await.map_err(failed)?;
            let mut written = 0;
            for stored in stored_urls(&transaction).await.map_err(failed)? {
                if password_forms(&stored.url).is_empty() {
                    continue;
                }
                let sealed = seal_url(&stored.url, stored.place(), &self.shared.keys)?;
                let statement = format!("update rosetta.{} set url = $2 where name = $1", stored.table);
                written += transaction.execute(&statement, &[&stored.name, &sealed]).await.map_err(failed)?;
            }
            if !self.shared.keys.is_empty() {
                requests::rotate(&transaction, &self.shared.keys).await.map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)?;
            Ok(written)
        }))
        .await
    }

    fn report(&self, urls: &[StoredUrl]) -> SecretReport {
        let mut report = SecretReport::default();
        let keys = &self.shared.keys;
        for id in keys.ids() {
            report.keys.insert(id.to_owned(), KeyUse { passwords: 0, is_given: true });
        }
        for stored in urls {
            for form in password_forms(&stored.url) {
                match form {
                    PasswordForm::Plain => report.plain += 1,
                    PasswordForm::Sealed(id) => report.keys.entry(id.to_owned()).or_default().passwords += 1,
                }
            }
            if let Err(error) = open_url(&stored.url, stored.place(), keys) {
                report.problems.push(error.to_string());
            }
        }
        report
    }
}

async fn stored_urls(transaction: &Transaction<'_>) -> Result<Vec<StoredUrl>, Error> {
    let (source, destination) = (SourceDefinition::default(), DestinationDefinition::default());
    let mut urls = Vec::new();
    for table in [source.place().table, destination.place().table] {
        let query = format!("select name, url from rosetta.{table} where url is not null order by name");
        for row in transaction.query(&query, &[]).await? {
            urls.push(StoredUrl { table, name: row.try_get(0)?, url: row.try_get(1)? });
        }
    }
    Ok(urls)
}
