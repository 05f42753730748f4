//! A real, throwaway PostgreSQL server in a temporary folder.

use std::{net::TcpListener, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;
use rand::Rng;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::{
    process::{Process, output_to, tail},
    scratch::Scratch,
    wait::eventually,
};

mod authority;
mod installation;
pub use authority::Authority;
use installation::Installation;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: usize = 20;

const SETTINGS: &[(&str, &str)] = &[
    ("wal_level", "logical"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "32MB"),
    ("max_connections", "200"),
    ("max_wal_senders", "50"),
    ("max_replication_slots", "50"),
    ("max_prepared_transactions", "10"),
    ("max_locks_per_transaction", "1024"),
    ("listen_addresses", "127.0.0.1"),
    ("log_min_messages", "warning"),
];

/// How to start a server: settings over the usual ones, and lines before the usual "trust everyone" of pg_hba.conf.
#[derive(Default, Clone)]
pub struct Options {
    pub settings: Vec<(String, String)>,
    pub access: Vec<String>,
    /// A system identifier of its own, which costs a second: usually all servers share one.
    pub own_identity: bool,
}

impl Options {
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Options {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn access(mut self, line: &str) -> Options {
        self.access.push(line.to_owned());
        self
    }

    #[must_use]
    pub fn own_identity(mut self) -> Options {
        self.own_identity = true;
        self
    }
}

/// How a server stops: `Fast` rolls back and shuts down in order, `Immediate` is a crash.
#[derive(Clone, Copy)]
pub enum Stop {
    Fast,
    Immediate,
}

pub struct Postgres {
    process: Option<Process>,
    options: Options,
    port: u16,
    scratch: Scratch,
}

impl Postgres {
    pub async fn start(options: Options) -> Postgres {
        let scratch = Scratch::new();
        let install = Installation::get();
        install.give(scratch.path());
        install.create_cluster(&scratch.join("data"), options.own_identity);
        let mut server = Postgres { process: None, options, port: 0, scratch };
        server.write_access_rules();
        for _ in 0..PORT_ATTEMPTS {
            server.port = free_port();
            server.launch();
            if server.ready().await.is_ok() {
                return server;
            }
        }
        panic!("PostgreSQL does not start:\n{}", server.log_tail());
    }

    /// Stops the server (if it runs) and starts it again, on the same port.
    pub async fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start_again().await;
    }

    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        };
        if let Some(mut process) = self.process.take() {
            process.end(signal, STOPPED_WITHIN);
        }
    }

    /// Starts a stopped server.
    pub async fn start_again(&mut self) {
        self.launch();
        if let Err(reason) = self.ready().await {
            panic!("PostgreSQL does not start again: {reason}\n{}", self.log_tail());
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn url(&self, db: &str) -> String {
        self.url_as("postgres", db)
    }

    /// `user` may carry a password: `name:secret`.
    #[must_use]
    pub fn url_as(&self, user: &str, db: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{db}", self.port)
    }

    /// The same server by its Unix socket.
    #[must_use]
    pub fn unix_url(&self, db: &str) -> String {
        format!("postgres://postgres@/{db}?host={}&port={}", self.scratch.path().display(), self.port)
    }

    pub async fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("create database \"{name}\"")).await;
    }

    /// A connection that lives as long as the returned client.
    pub async fn client(&self, db: &str) -> Client {
        self.try_client(db, "").await.unwrap_or_else(|e| panic!("connect to {}: {e}", self.url(db)))
    }

    /// `options` as for the variable PGOPTIONS: `-c name=value ...`.
    pub async fn try_client(&self, db: &str, options: &str) -> Result<Client, tokio_postgres::Error> {
        connect(self.port, db, options).await
    }

    /// Runs one or more statements.
    pub async fn sql(&self, db: &str, statements: &str) {
        let done = self.client(db).await.batch_execute(statements).await;
        done.unwrap_or_else(|e| panic!("{}\n  in: {}", explain(&e), shorten(statements)));
    }

    /// The rows of a query, as text.
    pub async fn rows(&self, db: &str, query: &str) -> Vec<Vec<Option<String>>> {
        rows(&self.client(db).await, query).await
    }

    /// The first column of the first row, as text; empty for NULL.
    pub async fn value(&self, db: &str, query: &str) -> String {
        let rows = self.rows(db, query).await;
        let first = rows.into_iter().next().unwrap_or_else(|| panic!("no row from: {query}"));
        first.into_iter().next().flatten().unwrap_or_default()
    }

    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path(), 40)
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.join("server.log")
    }

    fn write_access_rules(&self) {
        let mut rules = self.options.access.join("\n");
        rules.push_str("\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n");
        rules.push_str("local replication all trust\nhost replication all 127.0.0.1/32 trust\n");
        std::fs::write(self.scratch.join("data/pg_hba.conf"), rules).expect("write pg_hba.conf");
    }

    fn launch(&mut self) {
        let mut command = Installation::get().command("postgres");
        command.arg("-D").arg(self.scratch.join("data"));
        let socket_folder = format!("unix_socket_directories={}", self.scratch.path().display());
        command.args(["-c", &socket_folder, "-c", &format!("port={}", self.port)]);
        let chosen = self.options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in SETTINGS.iter().copied().chain(chosen) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.stdout(output_to(&self.log_path())).stderr(output_to(&self.log_path()));
        self.process = Some(Process::spawn("postgres", &mut command));
    }

    /// Waits until this server, not another test's, answers on the port; an error when it has exited instead.
    async fn ready(&mut self) -> Result<(), String> {
        let (port, ours, process) = (self.port, self.scratch.path().display().to_string(), &mut self.process);
        eventually(READY_WITHIN, "PostgreSQL takes connections", async || {
            if let Some(status) = process.as_mut().and_then(Process::exited) {
                return Ok(Err(format!("it exited: {status}")));
            }
            let client = connect(port, "postgres", "").await.map_err(|e| explain(&e))?;
            let folder = rows(&client, "show unix_socket_directories").await;
            if folder == [[Some(ours.clone())]] { Ok(Ok(())) } else { Err("another server answers".to_owned()) }
        })
        .await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL on port {}\n{}\n---", self.port, self.log_tail());
        }
        self.stop(Stop::Immediate);
    }
}

async fn connect(port: u16, db: &str, options: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").dbname(db).options(options).application_name("harness");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The rows of a query on `client`, as text.
pub async fn rows(client: &Client, query: &str) -> Vec<Vec<Option<String>>> {
    try_rows(client, query).await.unwrap_or_else(|e| panic!("{e}\n  in: {}", shorten(query)))
}

pub async fn try_rows(client: &Client, query: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = client.simple_query(query).await.map_err(|e| explain(&e))?;
    let as_text = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.iter().filter_map(as_text).collect())
}

/// What the server said; the driver's own text is only "db error".
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

fn shorten(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// Below the range that the kernel gives to outgoing connections, so that a restarted server finds its port free.
pub(crate) fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let candidates = std::iter::repeat_with(|| rand::rng().random_range(15_000..32_000u16));
    candidates.take(1000).find(free).expect("a free port between 15000 and 32000")
}
