//! Tuning by environment variables: bounds that hold for every pipeline of a process.

use super::environment::Lookup;
use super::error::ConfigError;
use std::time::Duration;

/// Bounds on rows, waits and connections. All are positive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `PIPELINE_MAX_BATCH_SIZE`, rows, default 4096: a batch is written once it has this many. Enough to spread the
    /// cost of a commit thin, and small enough that a batch is still applied in a fraction of a second.
    pub max_batch_rows: usize,
    /// `PIPELINE_MAX_QUEUE_SIZE`, rows, default 16384: what may wait in front of a destination before the source is no
    /// longer read. Four batches, so that a destination never idles while the next batch gathers.
    pub max_queue_rows: usize,
    /// `PIPELINE_POLL_INTERVAL_MS`, milliseconds, default 1000: the longest time that a change waits for more of its
    /// batch. An upper bound only: what has caught up is written at once, and what is behind waits 10 ms at most.
    pub poll_interval: Duration,
    /// `PIPELINE_CHECK_INTERVAL`, seconds, default 10: how often the definitions are read again without a
    /// notification. A fallback for lost notifications, therefore rare.
    pub check_interval: Duration,
    /// `PIPELINE_POOL_MAX_CONN`, connections, default 3: what one node's pipelines may hold to the config database.
    /// Small, because the database must bear it once for every node.
    pub pipeline_pool_max: usize,
    /// `MAIN_POOL_MAX_CONN`, connections, default 8: what the cluster's control calls may hold to the config database.
    /// They are short, so a few serve many callers.
    pub main_pool_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_batch_rows: 4096,
            max_queue_rows: 16_384,
            poll_interval: Duration::from_millis(1000),
            check_interval: Duration::from_secs(10),
            pipeline_pool_max: 3,
            main_pool_max: 8,
        }
    }
}

/// More rows than memory could ever hold are a typing mistake.
const MAX_ROWS: u64 = 1_000_000_000;
/// PostgreSQL serves no more than a few thousand connections in all.
const MAX_CONNECTIONS: u64 = 1000;
/// Longer than a day is no interval, and must not overflow the clock.
const MAX_MILLISECONDS: u64 = 24 * 3600 * 1000;
const MAX_SECONDS: u64 = 24 * 3600;

impl Settings {
    /// Reads the variables; one that is not set keeps its default.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for a value that is not a whole number, is zero, or is beyond reason.
    pub fn from_env(environment: Lookup<'_>) -> Result<Self, ConfigError> {
        let defaults = Self::default();
        let number = |variable, unit, limit| read(environment, variable, unit, limit);
        let rows = |variable| Ok::<_, ConfigError>(number(variable, "rows", MAX_ROWS)?.map(saturating_usize));
        let connections =
            |variable| Ok::<_, ConfigError>(number(variable, "connections", MAX_CONNECTIONS)?.map(saturating_usize));
        let poll_ms = number("PIPELINE_POLL_INTERVAL_MS", "milliseconds", MAX_MILLISECONDS)?;
        let check_s = number("PIPELINE_CHECK_INTERVAL", "seconds", MAX_SECONDS)?;
        Ok(Self {
            max_batch_rows: rows("PIPELINE_MAX_BATCH_SIZE")?.unwrap_or(defaults.max_batch_rows),
            max_queue_rows: rows("PIPELINE_MAX_QUEUE_SIZE")?.unwrap_or(defaults.max_queue_rows),
            poll_interval: poll_ms.map_or(defaults.poll_interval, Duration::from_millis),
            check_interval: check_s.map_or(defaults.check_interval, Duration::from_secs),
            pipeline_pool_max: connections("PIPELINE_POOL_MAX_CONN")?.unwrap_or(defaults.pipeline_pool_max),
            main_pool_max: connections("MAIN_POOL_MAX_CONN")?.unwrap_or(defaults.main_pool_max),
        })
    }
}

fn read(
    environment: Lookup<'_>,
    variable: &'static str,
    unit: &'static str,
    limit: u64,
) -> Result<Option<u64>, ConfigError> {
    let Some(value) = environment(variable) else { return Ok(None) };
    match value.trim().parse::<u64>() {
        Ok(number) if (1..=limit).contains(&number) => Ok(Some(number)),
        Ok(_) | Err(_) => Err(ConfigError::Setting { variable, value, unit, limit }),
    }
}

fn saturating_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_gives_the_defaults() {
        assert_eq!(Settings::from_env(&|_| None), Ok(Settings::default()));
    }

    #[test]
    fn every_variable_is_read_in_its_unit() {
        let environment = |name: &str| {
            let value = match name {
                "PIPELINE_MAX_BATCH_SIZE" => "1",
                "PIPELINE_MAX_QUEUE_SIZE" => " 2 ",
                "PIPELINE_POLL_INTERVAL_MS" => "3",
                "PIPELINE_CHECK_INTERVAL" => "4",
                "PIPELINE_POOL_MAX_CONN" => "5",
                "MAIN_POOL_MAX_CONN" => "6",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let expected = Settings {
            max_batch_rows: 1,
            max_queue_rows: 2,
            poll_interval: Duration::from_millis(3),
            check_interval: Duration::from_secs(4),
            pipeline_pool_max: 5,
            main_pool_max: 6,
        };
        assert_eq!(Settings::from_env(&environment), Ok(expected));
    }

    #[test]
    fn unusable_numbers_name_their_variable() {
        let cases = [
            ("PIPELINE_MAX_BATCH_SIZE", "0", "rows from 1 to 1000000000"),
            ("PIPELINE_MAX_QUEUE_SIZE", "many\nrows", "rows from 1 to 1000000000"),
            ("PIPELINE_POLL_INTERVAL_MS", "-1", "milliseconds from 1 to 86400000"),
            ("PIPELINE_CHECK_INTERVAL", "1.5", "seconds from 1 to 86400"),
            ("PIPELINE_POOL_MAX_CONN", "", "connections from 1 to 1000"),
            ("MAIN_POOL_MAX_CONN", "1001", "connections from 1 to 1000"),
        ];
        for (variable, value, range) in cases {
            let error = Settings::from_env(&|name| (name == variable).then(|| value.to_owned()));
            let message = error.map_err(|error| error.to_string());
            assert_eq!(message, Err(format!("{variable}={value:?} is not usable: expected a whole number of {range}")));
        }
    }
}
