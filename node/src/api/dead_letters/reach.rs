//! Which mailboxes there are, and who can do something about the letters in them.

use std::sync::Arc;

use rosetta_coordinator::{records::PipelineRecord, view::View};
use rosetta_proto::{PipelineName, error_status};
use serde::Deserialize;
use tonic::{Code, Status, transport::Channel};

use crate::{cluster::Node, dead_letters::Mailbox};

/// Whose letters are answered for.
#[derive(Clone)]
pub(in crate::api) enum Reach {
    /// This process runs all pipelines.
    Alone(Arc<[Mailbox]>),
    /// Letters are in a store that all nodes see; what is done with them, the owner of the pipeline does.
    Cluster(Arc<Node>),
}

/// Of a definition, where its pipelines write to.
#[derive(Deserialize)]
struct Definition {
    pipeline: Vec<Routes>,
}

#[derive(Deserialize)]
struct Routes {
    destinations: Vec<String>,
}

impl Reach {
    pub(in crate::api) fn alone(mut mailboxes: Vec<Mailbox>) -> Reach {
        mailboxes.sort();
        Reach::Alone(mailboxes.into())
    }

    /// In order.
    pub(super) fn mailboxes(&self) -> Vec<Mailbox> {
        match self {
            Reach::Alone(mailboxes) => mailboxes.to_vec(),
            Reach::Cluster(node) => {
                let view = node.views.now();
                let mut mailboxes: Vec<_> =
                    view.pipelines.values().flat_map(|recorded| mailboxes_of(&recorded.record)).collect();
                mailboxes.sort();
                mailboxes
            }
        }
    }

    /// The way to the node that runs a pipeline; `None`: it is this one.
    ///
    /// # Errors
    /// Nobody runs it.
    pub(super) fn elsewhere(&self, pipeline: &str) -> Result<Option<Channel>, Status> {
        let Reach::Cluster(node) = self else { return Ok(None) };
        let view = node.views.now();
        let address = owner_address(&view, pipeline, &node.record.id)?;
        address.map(|address| node.channels.to(&address).map_err(|cause| not_running(pipeline, &cause))).transpose()
    }
}

fn mailboxes_of(record: &PipelineRecord) -> Vec<Mailbox> {
    // One of a later form has letters that only its owner can name.
    let Ok(definition) = Definition::deserialize(&record.definition) else { return Vec::new() };
    let destinations = definition.pipeline.into_iter().flat_map(|routes| routes.destinations);
    destinations.map(|destination| Mailbox::new(record.name.as_str(), &destination)).collect()
}

fn owner_address(view: &View, pipeline: &str, me: &rosetta_proto::NodeId) -> Result<Option<String>, Status> {
    let name: Result<PipelineName, _> = pipeline.parse();
    let assignment = name.ok().and_then(|name| view.assignments.get(&name));
    let assignment = assignment.ok_or_else(|| not_running(pipeline, "no node has it"))?;
    let owner = &assignment.record.owner.node;
    if owner == me {
        return Ok(None);
    }
    let node = view.nodes.get(owner).ok_or_else(|| not_running(pipeline, &format!("its node {owner} is away")))?;
    Ok(Some(node.record.address.clone()))
}

fn not_running(pipeline: &str, cause: &str) -> Status {
    let message = format!("pipeline {pipeline} does not run at the moment: {cause}; try again when it runs");
    error_status(Code::FailedPrecondition, message, "", "NOT_RUNNING")
}
