//! A Redis that may be away, slow or full, and whether it keeps what it says it keeps.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use rosetta_proto::Epoch;
use tokio::{sync::OnceCell, time::timeout};

use crate::dead_letters::store::StoreError;

/// How long one request may take, with a new connection if need be.
const DEADLINE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One multiplexed connection, made when it is needed and again when it was lost.
pub(super) struct Connected {
    client: Client,
    /// As messages call it: without a password.
    name: String,
    allow_volatile: bool,
    manager: OnceCell<ConnectionManager>,
    /// Found safe since the last failure: a Redis that comes back may have other settings.
    is_checked: AtomicBool,
    waits_for_disk: AtomicBool,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connected").field(&self.name).finish()
    }
}

/// What a script answers.
pub(super) enum Said {
    Done(u64),
    Fenced(Epoch),
    Forgotten,
}

/// What decides whether acknowledged letters survive.
#[derive(Debug, Default, PartialEq, Eq)]
struct Persistence {
    has_log: bool,
    /// Each write is on the disk before it is answered.
    syncs_always: bool,
    /// It can be asked to wait for the disk (WAITAOF, from Redis 7.2 on).
    can_wait: bool,
    evicts: Option<String>,
}

impl Persistence {
    fn problem(&self) -> Option<String> {
        if !self.has_log {
            return Some("it keeps no log on disk: CONFIG SET appendonly yes, and the same in its file".to_owned());
        }
        if !self.syncs_always && !self.can_wait {
            let remedy = "CONFIG SET appendfsync always, and the same in its file, or use Redis 7.2 or newer";
            return Some(format!("it acknowledges writes before they are on disk: {remedy}"));
        }
        let policy = self.evicts.as_ref()?;
        Some(format!("it throws keys away when memory is short ({policy}): CONFIG SET maxmemory-policy noeviction"))
    }
}

impl Connected {
    pub(super) fn new(url: &str, allow_volatile: bool) -> Result<Connected, StoreError> {
        // The crate's own error could show the URL, and with it a password.
        let client = Client::open(url).map_err(|_| {
            StoreError::Unsafe("ROSETTA_REDIS_URL is not a URL such as redis://:PASSWORD@HOST:6379/0".to_owned())
        })?;
        let name = format!("redis {}", client.get_connection_info().addr());
        let (is_checked, waits_for_disk) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Connected { client, name, allow_volatile, manager: OnceCell::new(), is_checked, waits_for_disk })
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn unreadable(&self, what: &str) -> StoreError {
        StoreError::Unreadable { store: self.name(), reason: what.to_owned() }
    }

    /// Runs a script that writes; what it wrote is on the disk when this answers.
    pub(super) async fn write(&self, script: &ScriptInvocation<'_>) -> Result<Said, StoreError> {
        if !self.is_checked.load(Ordering::Relaxed) {
            self.check().await?;
        }
        let mut manager = self.manager().await?;
        let said: String = self.within(script.invoke_async(&mut manager)).await?;
        if self.waits_for_disk.load(Ordering::Relaxed) {
            let wait = redis::cmd("WAITAOF").arg(1).arg(0).arg(DEADLINE.as_millis() as u64).clone();
            let (local, _): (u64, u64) = self.ask(&wait).await?;
            if local == 0 {
                return Err(self.unavailable("its disk did not keep up"));
            }
        }
        self.parse(&said)
    }

    fn parse(&self, said: &str) -> Result<Said, StoreError> {
        match said.split_once(':').map(|(word, number)| (word, number.parse())) {
            Some(("ok", Ok(count))) => Ok(Said::Done(count)),
            Some(("fenced", Ok(newest))) => Ok(Said::Fenced(Epoch(newest))),
            Some(("forgotten", _)) => Ok(Said::Forgotten),
            _ => Err(self.unreadable("a script's answer")),
        }
    }

    pub(super) async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.ask(command).await
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let mut manager = self.manager().await?;
        self.within(command.query_async(&mut manager)).await
    }

    /// Whether what is acknowledged survives a crash.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let found = self.persistence().await?;
        self.waits_for_disk.store(!found.syncs_always && found.can_wait, Ordering::Relaxed);
        if let Some(problem) = found.problem() {
            let name = &self.name;
            if !self.allow_volatile {
                return Err(StoreError::Unsafe(format!(
                    "{name} may lose dead letters: {problem}; or accept it with allow_volatile_dead_letters = true"
                )));
            }
            tracing::warn!("{name} may lose dead letters, which allow_volatile_dead_letters accepts: {problem}");
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn persistence(&self) -> Result<Persistence, StoreError> {
        let info: String = self.ask(redis::cmd("INFO").arg("everything")).await?;
        let field = |name: &str| info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        // A Redis that somebody else runs may hide its settings.
        let sync: Result<Vec<String>, _> = self.ask(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
        let version = field("redis_version").unwrap_or_default();
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let policy = field("maxmemory_policy").unwrap_or("noeviction");
        Ok(Persistence {
            has_log: field("aof_enabled") == Some("1"),
            syncs_always: sync.is_ok_and(|values| values.iter().any(|value| value == "always")),
            can_wait: version >= (7, 2),
            evicts: (policy != "noeviction").then(|| policy.to_owned()),
        })
    }

    async fn manager(&self) -> Result<ConnectionManager, StoreError> {
        let make = || async {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(1)
                .set_max_delay(LONGEST_PAUSE)
                .set_connection_timeout(Some(CONNECT))
                .set_response_timeout(Some(DEADLINE));
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
        };
        self.manager.get_or_try_init(make).await.cloned().map_err(|error| self.judge(&error))
    }

    async fn within<T>(&self, request: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        match timeout(DEADLINE, request).await {
            Ok(answer) => answer.map_err(|error| self.judge(&error)),
            Err(_) => Err(self.unavailable(&format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    fn judge(&self, error: &RedisError) -> StoreError {
        let reason = error.to_string().replace('\n', " ");
        match error.kind() {
            ErrorKind::Extension if matches!(error.code(), Some("OOM" | "MISCONF")) => {
                StoreError::Full { store: self.name(), reason }
            }
            _ if reason.contains("OOM command not allowed") => StoreError::Full { store: self.name(), reason },
            _ => self.unavailable(&reason),
        }
    }

    fn unavailable(&self, reason: &str) -> StoreError {
        self.is_checked.store(false, Ordering::Relaxed);
        StoreError::Unavailable { store: self.name(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redis_that_keeps_everything_is_safe() {
        let safe = || Persistence { has_log: true, syncs_always: true, can_wait: false, evicts: None };
        assert_eq!(safe().problem(), None);
        assert_eq!(Persistence { syncs_always: false, can_wait: true, ..safe() }.problem(), None);
        let says = |found: Persistence, word: &str| found.problem().unwrap().contains(word);
        assert!(says(Persistence { has_log: false, ..safe() }, "appendonly"));
        assert!(says(Persistence { syncs_always: false, ..safe() }, "appendfsync"));
        assert!(says(Persistence { evicts: Some("allkeys-lru".to_owned()), ..safe() }, "noeviction"));
    }

    #[test]
    fn a_bad_url_is_not_shown() {
        let error = Connected::new("redis://:secret@[", false).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
