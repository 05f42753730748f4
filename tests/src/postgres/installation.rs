//! Where PostgreSQL is, which user runs it, and a data folder made once for all tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use nix::unistd::{Uid, User, getuid};

use crate::{
    process::dies_with_us,
    scratch::{lock_file, shared_path},
};

pub(super) struct Installation {
    bin: PathBuf,
    /// Set when we are root, because PostgreSQL refuses to run as root.
    user: Option<User>,
}

impl Installation {
    pub(super) fn get() -> &'static Installation {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        FOUND.get_or_init(|| Installation { bin: find_bin(), user: unprivileged_user() })
    }

    /// A server program, as the right user, that dies with the test.
    pub(super) fn command(&self, program: &str) -> Command {
        dies_with_us(self.bin.join(program), self.user.as_ref().map(|u| u.name.as_str()))
    }

    pub(super) fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            let owner = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1))
                .unwrap_or_else(|e| panic!("chown {} to {}: {e}", path.display(), user.name));
        }
    }

    /// Fills the new folder `data` with a fresh database cluster: usually a copy of the template, which has the
    /// template's system identifier.
    pub(super) fn create_cluster(&self, data: &Path, own_identity: bool) {
        if own_identity {
            return self.initdb(data);
        }
        let template = self.template();
        let copied = Command::new("cp").arg("-a").arg("--reflink=auto").arg(template).arg(data).status();
        assert!(copied.is_ok_and(|s| s.success()), "copy {} to {}", self.template().display(), data.display());
    }

    /// `initdb` takes a second; a copy takes a few milliseconds. Made by whichever test process comes first.
    fn template(&self) -> PathBuf {
        let name = format!("template-{}", self.version().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let template = shared_path(&name);
        let _guard = lock_file(&shared_path(&format!("{name}.lock")));
        if !template.exists() {
            let unfinished = shared_path(&format!("{name}.new"));
            let _ = fs::remove_dir_all(&unfinished);
            fs::create_dir(&unfinished).expect("create the template's folder");
            self.give(&unfinished);
            self.initdb(&unfinished);
            fs::rename(&unfinished, &template).expect("publish the template");
        }
        template
    }

    fn initdb(&self, data: &Path) {
        let made = self
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(data)
            .output()
            .expect("run initdb");
        assert!(made.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&made.stderr));
    }

    fn version(&self) -> String {
        let answer = Command::new(self.bin.join("postgres")).arg("--version").output().expect("run postgres --version");
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }
}

fn unprivileged_user() -> Option<User> {
    if getuid() != Uid::from_raw(0) {
        return None;
    }
    let user = User::from_name("postgres").expect("read the user database");
    Some(user.expect("running as root needs the user 'postgres', which PostgreSQL's package creates"))
}

/// $PGBIN, else the newest version of Debian's layout, else what pg_config says.
fn find_bin() -> PathBuf {
    let from_env = std::env::var_os("PGBIN").map(PathBuf::from);
    let holds_server = |folder: &PathBuf| folder.join("postgres").exists() && folder.join("initdb").exists();
    from_env
        .into_iter()
        .chain(newest_debian_bin())
        .chain(pg_config_bin())
        .find(holds_server)
        .expect("no PostgreSQL server found; run scripts/install.sh or set PGBIN to the folder of initdb and postgres")
}

fn newest_debian_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).max()?;
    Some(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}

fn pg_config_bin() -> Option<PathBuf> {
    let answer = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim()))
}
