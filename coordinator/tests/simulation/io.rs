//! The way into a process, and out of it.

use std::time::Duration;

use rand::rngs::StdRng;
use rosetta_coordinator::Moment;
use rosetta_proto::Epoch;

use crate::{
    databases::{DatabaseReply, DatabaseRequest},
    leader::Decision,
    store::{StoreReply, StoreRequest},
};

/// What a process wants done; the world delays it, loses it, or does it.
pub(crate) enum Output {
    Store(StoreRequest, Purpose),
    Database(usize, DatabaseRequest, Purpose),
    After(Duration, Timer),
}

/// Why a request was made: what its answer belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Forget,
    List,
    Grant,
    KeepAlive,
    Register,
    Campaign,
    Put { pipeline: usize },
    Run { pipeline: usize, epoch: Epoch },
}

#[derive(Debug)]
pub(crate) enum Timer {
    KeepAlive,
    List,
    Lead,
    /// What the leader decided a moment ago, with its create revision.
    Decided(u64, Vec<Decision>),
    Ready {
        pipeline: usize,
        revision: u64,
    },
    Run {
        pipeline: usize,
        epoch: Epoch,
    },
}

#[derive(Debug)]
pub(crate) enum Reply {
    Store(StoreReply),
    Database(DatabaseReply),
    Timeout,
}

/// The way out of a process.
pub(crate) struct Io<'a> {
    pub(crate) now: Moment,
    pub(crate) random: &'a mut StdRng,
    pub(crate) process: usize,
    pub(crate) out: Vec<Output>,
}

impl Io<'_> {
    pub(crate) fn store(&mut self, request: StoreRequest, purpose: Purpose) {
        self.out.push(Output::Store(request, purpose));
    }

    pub(crate) fn database(&mut self, pipeline: usize, request: DatabaseRequest, purpose: Purpose) {
        self.out.push(Output::Database(pipeline, request, purpose));
    }

    pub(crate) fn after(&mut self, wait: Duration, timer: Timer) {
        self.out.push(Output::After(wait, timer));
    }
}
