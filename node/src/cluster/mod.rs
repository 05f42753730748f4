//! A node of a cluster (docs/CLUSTER.md): its session, its picture of the records, the pipelines that it owns, and the
//! leader's work when it leads.

mod channels;
mod epochs;
mod history;
mod leader;
mod local;
mod peers;
mod publish;
mod readiness;
mod removal;
mod reports;
mod run;
mod runner;
mod tally;

use std::sync::Arc;

use rosetta_coordinator::{
    records::{Keys, NodeRecord, Owner},
    session::SessionWatch,
    store::Store,
    view::Views,
};

use crate::{
    catalog::{Catalog, Recorder},
    dead_letters::Desk,
};

pub use channels::Channels;
pub use local::{Local, LocalPipeline};
pub use peers::{BEAT_EVERY, Held, OTHER_INCARNATION};
pub use readiness::Readiness;
pub use run::{NodeOptions, Running, start};
pub use runner::Workshop;
pub use tally::Tally;

/// What every part of a node works with.
pub struct Node {
    pub record: NodeRecord,
    pub keys: Keys,
    pub store: Arc<dyn Store>,
    pub views: Views,
    pub session: SessionWatch,
    pub catalog: Catalog,
    /// The history.
    pub recorder: Recorder,
    /// The ways to the other nodes.
    pub channels: Channels,
    /// The pipelines that run here now.
    pub local: Local,
    pub readiness: Readiness,
    /// Where dead letters wait, if anywhere.
    pub desk: Option<Arc<Desk>>,
    pub held: Held,
    pub tally: Tally,
}

impl Node {
    /// This start of this node, as assignments name it.
    pub fn owner(&self) -> Owner {
        Owner { node: self.record.id.clone(), incarnation: self.record.incarnation }
    }
}
