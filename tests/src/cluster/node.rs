//! One `rosetta node` process, which can be killed, stopped and started again.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use super::{arrivals::now_us, records::Start, way::Way, world::CATALOG};
use crate::{postgres::free_port, rosetta::Rosetta};

const EXITS_WITHIN: Duration = Duration::from_secs(60);
/// The name of the cluster in etcd.
pub(super) const CLUSTER: &str = "test";
const SECRET_KEY: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct Node {
    name: String,
    folder: PathBuf,
    way: Way,
    grpc_port: u16,
    http_port: u16,
    /// Where peers reach it; decided at its first start.
    advertised: Option<String>,
    variables: Vec<(String, String)>,
    process: Option<Rosetta>,
    started_us: i64,
}

impl Node {
    pub(super) fn new(name: &str, folder: PathBuf, way: Way) -> Node {
        Node {
            name: name.to_owned(),
            folder,
            way,
            grpc_port: free_port(),
            http_port: free_port(),
            advertised: None,
            variables: Vec::new(),
            process: None,
            started_us: 0,
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Sets an environment variable for its next starts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where the harness asks it, past its proxies.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    #[must_use]
    pub fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// Starts the process; what it does then is for the caller to wait for.
    pub async fn start(&mut self) {
        let advertised = match &self.advertised {
            Some(address) => address.clone(),
            None => self.way.front(self.grpc_port).await,
        };
        self.way.process_there().await;
        let arguments = self.arguments(&advertised);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.advertised = Some(advertised);
        self.started_us = now_us();
        self.process = Some(Rosetta::node(&self.folder, &arguments, &self.environment()));
    }

    fn arguments(&self, advertised: &str) -> Vec<String> {
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let pairs = [
            ("--cluster", CLUSTER.to_owned()),
            ("--node-id", self.name.clone()),
            ("--etcd-endpoints", self.way.etcd_endpoints()),
            ("--grpc-addr", listen(self.grpc_port)),
            ("--http-addr", listen(self.http_port)),
            ("--advertise-addr", advertised.to_owned()),
            ("--data-dir", self.folder.join("data").display().to_string()),
        ];
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own = |(name, value): (&str, String)| (name.to_owned(), value);
        let catalog = [
            ("ROSETTA_DB_HOST", "127.0.0.1".to_owned()),
            ("ROSETTA_DB_PORT", self.way.catalog_port()),
            ("ROSETTA_DB_NAME", CATALOG.to_owned()),
            ("ROSETTA_DB_USER", "postgres".to_owned()),
            ("ROSETTA_SECRET_KEY", SECRET_KEY.to_owned()),
        ];
        catalog.map(own).into_iter().chain(self.variables.iter().cloned()).collect()
    }

    /// Whether its process was started and has not ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether `start`, as its record in etcd says, is that of this process.
    pub(super) fn is_at(&self, start: &Start) -> bool {
        self.runs() && start.started_at_ms >= self.started_us / 1000
    }

    /// The process goes at once. Answers when, in microseconds since the Unix epoch.
    pub async fn kill9(&mut self) -> i64 {
        let mut process = self.take();
        let at = now_us();
        process.kill9();
        self.way.process_gone().await;
        at
    }

    /// An orderly end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process().sigterm();
        self.ended().await
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = self.take().wait_exit(EXITS_WITHIN).await;
        self.way.process_gone().await;
        status
    }

    /// It does nothing until `wake`; its connections stay.
    pub fn sleep(&self) {
        self.process().sigstop();
    }

    pub fn wake(&self) {
        self.process().sigcont();
    }

    #[must_use]
    pub fn process(&self) -> &Rosetta {
        self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    fn take(&mut self) -> Rosetta {
        self.process.take().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    /// What all its processes have logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.folder.with_extension("log");
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
