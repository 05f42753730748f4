//! The process under test: the real binary, with its log and its resource use.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    process::{Process, dies_with_us, output_to, tail},
    wait::eventually,
};

const COMMAND_WITHIN: Duration = Duration::from_secs(120);

/// A running `rosetta standalone` or `rosetta node`. Killed on drop; its log is shown when the test fails.
pub struct Rosetta {
    process: Process,
    log: PathBuf,
}

/// What a one-shot command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

impl Rosetta {
    /// Starts the binary with this configuration. The file and the log lie beside `data_dir`, named after it, and the
    /// log is continued when a process is started again with the same folder.
    #[must_use]
    pub fn start(config: &str, data_dir: &Path) -> Rosetta {
        Rosetta::start_with(config, data_dir, &[])
    }

    /// The same, with environment variables.
    #[must_use]
    pub fn start_with(config: &str, data_dir: &Path, variables: &[(&str, &str)]) -> Rosetta {
        std::fs::create_dir_all(data_dir).unwrap_or_else(|e| panic!("create {}: {e}", data_dir.display()));
        let (file, log) = (data_dir.with_extension("toml"), data_dir.with_extension("log"));
        std::fs::write(&file, config).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
        let mut command = dies_with_us(binary(), None);
        command.arg("standalone").arg("--config").arg(&file).arg("--data-dir").arg(data_dir);
        command.envs(free_listeners()).envs(variables.iter().copied());
        Rosetta::launch(command, log)
    }

    /// Starts a node of a cluster in `folder`, which is its working directory, too; the log lies beside it.
    #[must_use]
    pub fn node(folder: &Path, arguments: &[&str], variables: &[(String, String)]) -> Rosetta {
        std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("create {}: {e}", folder.display()));
        let mut command = dies_with_us(binary(), None);
        command.arg("node").args(arguments).envs(variables.iter().cloned()).current_dir(folder);
        Rosetta::launch(command, folder.with_extension("log"))
    }

    fn launch(mut command: Command, log: PathBuf) -> Rosetta {
        command.stdout(output_to(&log)).stderr(output_to(&log));
        Rosetta { process: Process::spawn("rosetta", &mut command), log }
    }

    pub fn kill9(&mut self) {
        self.process.end(Signal::SIGKILL, Duration::from_secs(10));
    }

    pub fn sigstop(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    pub fn sigcont(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    pub fn sigterm(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let process = &mut self.process;
        eventually(deadline, "rosetta exits", async || process.exited().ok_or("it runs".to_owned())).await
    }

    /// Everything that the processes of this data folder have written to stderr.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    pub async fn wait_log(&self, deadline: Duration, text: &str) {
        let what = format!("rosetta logs {text:?}");
        let seen = async || if self.log().contains(text) { Ok(()) } else { Err(tail(&self.log, 5)) };
        eventually(deadline, &what, seen).await;
    }

    #[must_use]
    /// Where it answers `what`, "gRPC" or "HTTP", once it does.
    pub async fn address(&self, what: &str) -> String {
        let says = format!("answering {what} on ");
        eventually(Duration::from_secs(20), &says, async || {
            let log = self.log();
            let line = log.lines().rev().find_map(|line| line.split_once(&says)).ok_or("not yet")?;
            Ok(line.1.trim().to_owned())
        })
        .await
    }

    pub fn memory(&self) -> Memory {
        let status = self.proc_file("status");
        let kilobytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).expect("a field of /proc/<pid>/status");
            line.trim_end_matches("kB").trim().parse().expect("a number of kilobytes")
        };
        Memory { now: kilobytes("VmRSS:") * 1024, peak: kilobytes("VmHWM:") * 1024 }
    }

    /// Processor time used so far, user and system.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = self.proc_file("stat");
        let (_, after_name) = stat.rsplit_once(')').expect("/proc/<pid>/stat names the program in parentheses");
        let ticks: u32 = after_name.split_whitespace().skip(11).take(2).flat_map(str::parse::<u32>).sum();
        Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_SECOND)
    }

    fn proc_file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.process.pid());
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path} (has rosetta exited?): {e}"))
    }
}

impl Drop for Rosetta {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rosetta: {}\n{}\n---", self.log.display(), tail(&self.log, 60));
        }
    }
}

/// Runs a one-shot command such as `check FILE` to its end.
pub async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
    let mut command = tokio::process::Command::from(dies_with_us(binary(), None));
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_WITHIN, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("rosetta {arguments:?} does not end within {COMMAND_WITHIN:?}"));
    let output = output.unwrap_or_else(|e| panic!("run rosetta {arguments:?}: {e}"));
    Answer {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// $ROSETTA_BIN, else the binary of the same build as this program.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROSETTA_BIN") {
        return PathBuf::from(path);
    }
    let program = std::env::current_exe().expect("the path of this program");
    // A program lies in target/<profile>, a test one folder below.
    let beside = program.ancestors().skip(1).take(2).map(|folder| folder.join("rosetta")).find(|path| path.exists());
    beside.unwrap_or_else(|| panic!("no rosetta beside {}; build first: cargo build --bin rosetta", program.display()))
}

/// Tests run side by side, so none may take the well-known ports.
fn free_listeners() -> [(&'static str, &'static str); 2] {
    [("ROSETTA_HTTP_ADDR", "127.0.0.1:0"), ("ROSETTA_GRPC_ADDR", "127.0.0.1:0")]
}
