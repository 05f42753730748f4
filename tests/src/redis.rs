//! A real, throwaway Redis in a temporary folder.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{
    postgres::free_port,
    process::{Process, dies_with_us, output_to, tail},
    scratch::Scratch,
    wait::eventually,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const PORT_ATTEMPTS: usize = 20;

/// Settings under which Redis keeps what it acknowledges.
pub const SAFE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];

pub struct Redis {
    port: u16,
    settings: Vec<String>,
    scratch: Scratch,
    process: Option<Process>,
}

impl Redis {
    /// One that keeps what it acknowledges.
    pub async fn start() -> Redis {
        Redis::with(SAFE).await
    }

    /// One with these command-line settings.
    pub async fn with(settings: &[&str]) -> Redis {
        for _ in 0..PORT_ATTEMPTS {
            let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
            let mut redis = Redis { port: free_port(), settings, scratch: Scratch::new(), process: None };
            redis.launch();
            if redis.ready().await.is_ok() {
                return redis;
            }
        }
        panic!("redis does not start: each time its port was taken");
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// For a proxy in front of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process goes at once, as in a crash; its files stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// An orderly stop.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Signal::SIGTERM, STOPPED_WITHIN);
        }
    }

    /// Starts it again after `kill` or `stop`, with its files.
    pub async fn start_again(&mut self) {
        self.launch();
        if let Err(reason) = self.ready().await {
            panic!("redis does not start again: {reason}");
        }
    }

    /// Does nothing until it is resumed; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The answer to a command.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).await.unwrap_or_else(|error| panic!("redis: {command:?}: {error}"))
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let (name, arguments) = command.split_first().expect("a command has a name");
        redis::cmd(name).arg(arguments).query_async(&mut connection).await
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("redis runs").signal(signal);
    }

    fn launch(&mut self) {
        let log = self.scratch.join("server.log");
        let mut command = dies_with_us("redis-server", None);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--dir"]);
        command.arg(self.scratch.path()).args(&self.settings);
        command.stdout(output_to(&log)).stderr(output_to(&log));
        self.process = Some(Process::spawn("redis", &mut command));
    }

    /// Waits until it answers; an error when it has exited instead, or another server answers on its port.
    async fn ready(&mut self) -> Result<(), String> {
        let folder = self.scratch.path().to_string_lossy().into_owned();
        eventually(READY_WITHIN, "redis answers", async || {
            if let Some(status) = self.process.as_mut().and_then(Process::exited) {
                return Ok(Err(format!("it exited: {status}")));
            }
            let found: Vec<String> =
                self.try_ask(&["CONFIG", "GET", "dir"]).await.map_err(|error| error.to_string())?;
            // Configuration is answered also while the data is still being read.
            let _: i64 = self.try_ask(&["DBSIZE"]).await.map_err(|error| error.to_string())?;
            if found.get(1) == Some(&folder) { Ok(Ok(())) } else { Err(format!("another server answers: {found:?}")) }
        })
        .await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- redis on port {}\n{}\n---", self.port, tail(&self.scratch.join("server.log"), 20));
        }
    }
}
