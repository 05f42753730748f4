//! A real, throwaway etcd of one member or three, in temporary folders.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
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

pub struct Etcd {
    members: Vec<Member>,
}

struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    scratch: Scratch,
    process: Option<Process>,
}

impl Etcd {
    /// One member.
    pub async fn start() -> Etcd {
        Etcd::start_members(1).await
    }

    /// Three members: one may be lost.
    pub async fn start_three() -> Etcd {
        Etcd::start_members(3).await
    }

    async fn start_members(count: usize) -> Etcd {
        for _ in 0..PORT_ATTEMPTS {
            let mut etcd = Etcd { members: (0..count).map(|_| Member::new()).collect() };
            let cluster = etcd.initial_cluster();
            etcd.members.iter_mut().for_each(|member| member.launch(&cluster));
            if etcd.ready().await.is_ok() {
                return etcd;
            }
        }
        panic!("etcd does not start: each time one of its ports was taken");
    }

    /// Where its members listen, for a client.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.client_port)).collect()
    }

    /// A member's port for clients, for a proxy in front of it.
    #[must_use]
    pub fn port(&self, member: usize) -> u16 {
        self.members[member].client_port
    }

    /// The process goes at once, as in a crash; its data stay.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process = None;
    }

    /// An orderly stop.
    pub fn stop(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            process.end(Signal::SIGTERM, STOPPED_WITHIN);
        }
    }

    /// The process does nothing until it is resumed; its connections stay.
    pub fn pause(&self, member: usize) {
        self.members[member].signal(Signal::SIGSTOP);
    }

    pub fn resume(&self, member: usize) {
        self.members[member].signal(Signal::SIGCONT);
    }

    /// Starts a member that was killed or stopped, with its data, and waits until all that run answer.
    pub async fn start_again(&mut self, member: usize) {
        let cluster = self.initial_cluster();
        self.members[member].launch(&cluster);
        if let Err(reason) = self.ready().await {
            panic!("etcd does not start again: {reason}");
        }
    }

    /// The member that leads the others.
    pub async fn leader(&self) -> usize {
        for (number, endpoint) in self.endpoints().iter().enumerate() {
            let mut client = Client::connect([endpoint], None).await.expect("a client for etcd");
            let status = client.status().await.unwrap_or_else(|e| panic!("the status of {endpoint}: {e}"));
            if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                return number;
            }
        }
        panic!("no member of etcd leads");
    }

    fn initial_cluster(&self) -> String {
        let peers: Vec<String> =
            self.members.iter().map(|m| format!("{}=http://127.0.0.1:{}", m.name, m.peer_port)).collect();
        peers.join(",")
    }

    async fn ready(&mut self) -> Result<(), String> {
        for member in self.members.iter_mut().filter(|member| member.process.is_some()) {
            member.ready().await?;
        }
        Ok(())
    }
}

impl Member {
    fn new() -> Member {
        let scratch = Scratch::new();
        // The folder's name is no other test's: so we find out when another server answers on our port.
        let name = scratch.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Member { name, client_port: free_port(), peer_port: free_port(), scratch, process: None }
    }

    fn launch(&mut self, cluster: &str) {
        let client = format!("http://127.0.0.1:{}", self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = self.scratch.join("server.log");
        let mut command = dies_with_us("etcd", None);
        command.args(["--name", &self.name, "--data-dir"]).arg(self.scratch.join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "warn"]);
        command.stdout(output_to(&log)).stderr(output_to(&log));
        self.process = Some(Process::spawn("etcd", &mut command));
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap_or_else(|| panic!("etcd {} does not run", self.name));
        process.signal(signal);
    }

    /// Waits until this member answers a read that needs a leader; an error when it has exited instead.
    async fn ready(&mut self) -> Result<(), String> {
        let endpoint = format!("http://127.0.0.1:{}", self.client_port);
        let (name, process) = (self.name.clone(), &mut self.process);
        eventually(READY_WITHIN, "etcd answers", async || {
            if let Some(status) = process.as_mut().and_then(Process::exited) {
                return Ok(Err(format!("it exited: {status}")));
            }
            let options = ConnectOptions::new().with_timeout(Duration::from_secs(2));
            let mut client = Client::connect([&endpoint], Some(options)).await.map_err(|e| e.to_string())?;
            client.get("ready", None).await.map_err(|e| e.to_string())?;
            let members = client.member_list().await.map_err(|e| e.to_string())?;
            let is_ours = members.members().iter().any(|member| member.name() == name);
            if is_ours { Ok(Ok(())) } else { Err("another server answers".to_owned()) }
        })
        .await
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                let log = tail(&member.scratch.join("server.log"), 20);
                eprintln!("--- etcd on port {}\n{log}\n---", member.client_port);
            }
        }
    }
}
