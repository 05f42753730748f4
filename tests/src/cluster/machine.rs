//! A cluster is a dozen servers under load: one at a time on a machine, or the machine would be measured.

use std::fs::File;

use crate::scratch::{lock_file, shared_path};

/// The right to run a cluster; other test processes wait until it is dropped.
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    pub(super) fn take() -> Turn {
        Turn { _lock: lock_file(&shared_path("cluster.lock")) }
    }
}
