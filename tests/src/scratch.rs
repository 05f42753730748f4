//! Temporary folders that do not outlive the tests, even when a test process was killed before it could clean up.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

const PREFIX: &str = "rosetta-test-";
const LOCK: &str = "in-use.lock";

/// A temporary folder, removed on drop. Its lock file tells later runs that it is in use.
pub struct Scratch {
    dir: TempDir,
    _lock: File,
}

impl Scratch {
    #[must_use]
    pub fn new() -> Scratch {
        let _guard = lock_file(&shared_path("scratch.lock"));
        remove_abandoned();
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("create a temporary folder");
        let lock = lock_file(&dir.path().join(LOCK));
        Scratch { dir, _lock: lock }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

/// A path that all tests of this user share, in the temporary folder.
pub(crate) fn shared_path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rosetta-shared-{}", nix::unistd::getuid()));
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("create {}: {e}", folder.display()));
    folder.join(name)
}

/// Opens and locks a file; the lock lasts as long as the returned handle.
pub(crate) fn lock_file(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
    file.lock().unwrap_or_else(|e| panic!("lock {}: {e}", path.display()));
    file
}

/// Removes the folders of test processes that died. Best effort: what cannot be removed is left alone.
fn remove_abandoned() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
