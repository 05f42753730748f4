//! A child process that dies with the test which started it, however that ends.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait;

pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

/// `program`, to be killed by the kernel when the thread that starts it ends. `user` when it must not run as root.
/// `setpriv` (util-linux) sets this up; doing so ourselves needs unsafe code.
pub(crate) fn dies_with_us(program: impl AsRef<OsStr>, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = user {
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).current_dir("/");
    command
}

/// Opens `path` for appending, as the child's output.
pub(crate) fn output_to(path: &Path) -> Stdio {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    Stdio::from(file.unwrap_or_else(|e| panic!("open {}: {e}", path.display())))
}

impl Process {
    pub(crate) fn spawn(name: &'static str, command: &mut Command) -> Process {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("start {name} through setpriv (package util-linux): {e}"));
        Process { child, name }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id fits i32"));
        kill(pid, signal).unwrap_or_else(|e| panic!("send {signal} to {} (process {pid}): {e}", self.name));
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|e| panic!("wait for {}: {e}", self.name))
    }

    /// Sends `signal` and waits; kills after `deadline`. Used where waiting cannot be async.
    pub(crate) fn end(&mut self, signal: Signal, deadline: Duration) {
        if self.exited().is_some() {
            return;
        }
        self.signal(signal);
        if !wait::within(deadline, || self.exited().is_some()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last `lines` lines of a log, for the message of a failed test.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
