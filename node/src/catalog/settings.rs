//! Where the config database is, and how many connections this process may hold to it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::CatalogError;
use crate::config::{Lookup, Settings};
use crate::postgres::PgUrl;

const DEFAULT_NAME: &str = "rosetta";

#[derive(Debug, Clone)]
pub struct CatalogSettings {
    pub url: PgUrl,
    /// Connections of the leader, its listener included.
    pub main_pool_max: usize,
    /// Connections of any other node.
    pub pipeline_pool_max: usize,
}

impl CatalogSettings {
    /// Reads `ROSETTA_DB_HOST`, `_PORT` (5432), `_NAME` (rosetta), `_USER` (rosetta), `_PASSWORD`, `_SSLMODE` (prefer)
    /// and `_SSLROOTCERT`; the bounds come from `settings`.
    ///
    /// # Errors
    /// No host, or a value that cannot be used.
    pub fn from_env(environment: Lookup<'_>, settings: &Settings) -> Result<CatalogSettings, CatalogError> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let host = set("ROSETTA_DB_HOST").ok_or_else(|| {
            let reason = "ROSETTA_DB_HOST is not set; set it to the host of the config database";
            CatalogError::invalid("ROSETTA_DB_HOST", reason)
        })?;
        let name = set("ROSETTA_DB_NAME").unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let user = set("ROSETTA_DB_USER").unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let password = set("ROSETTA_DB_PASSWORD").map(|password| format!(":{}", encoded(&password)));
        let mut text = format!("postgres://{}{}@/{}", encoded(&user), password.unwrap_or_default(), encoded(&name));
        text.push_str(&format!("?host={}", encoded(&host)));
        let optional =
            [("port", "ROSETTA_DB_PORT"), ("sslmode", "ROSETTA_DB_SSLMODE"), ("sslrootcert", "ROSETTA_DB_SSLROOTCERT")];
        for (parameter, variable) in optional {
            if let Some(value) = set(variable) {
                text.push_str(&format!("&{parameter}={}", encoded(&value)));
            }
        }
        let refused = |error| CatalogError::invalid("", format!("the variables ROSETTA_DB_* are not usable: {error}"));
        Ok(CatalogSettings {
            url: PgUrl::parse(&text).map_err(refused)?,
            main_pool_max: settings.main_pool_max,
            pipeline_pool_max: settings.pipeline_pool_max,
        })
    }
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::SslMode;

    #[test]
    fn every_variable_has_its_place() {
        let environment = |name: &str| {
            let value = match name {
                "ROSETTA_DB_HOST" => "/run/pg@1",
                "ROSETTA_DB_PORT" => "6543",
                "ROSETTA_DB_NAME" => "c/d",
                "ROSETTA_DB_USER" => "me:you",
                "ROSETTA_DB_PASSWORD" => "p@ss:w/o?r&d",
                "ROSETTA_DB_SSLMODE" => "verify-full",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let url = CatalogSettings::from_env(&environment, &Settings::default()).unwrap().url;
        assert_eq!((url.host.as_str(), url.port, url.database.as_str()), ("/run/pg@1", 6543, "c/d"));
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("me:you", Some("p@ss:w/o?r&d")));
        assert_eq!(url.ssl_mode, SslMode::VerifyFull);
    }

    #[test]
    fn defaults_and_what_is_missing() {
        let host = |name: &str| (name == "ROSETTA_DB_HOST").then(|| "db".to_owned());
        let settings = CatalogSettings::from_env(&host, &Settings::default()).unwrap();
        assert_eq!(settings.url.server(), "db:5432/rosetta");
        assert_eq!((settings.main_pool_max, settings.pipeline_pool_max), (8, 3));
        let missing = CatalogSettings::from_env(&|_| None, &Settings::default()).unwrap_err().to_string();
        assert!(missing.contains("ROSETTA_DB_HOST is not set"), "{missing}");
    }
}
