//! What a node tells Prometheus of itself, and of the cluster when it leads.

use rosetta_coordinator::{
    records::{Desired, LEASE},
    view::{Contact, View},
};
use rosetta_proto::PipelineName;

use crate::{
    cluster::Node,
    metrics::{Sheet, names, tell_pipelines, tell_process},
};

pub(super) fn of_node(node: &Node) -> Sheet {
    let local = node.local.all();
    let pipelines: Vec<_> =
        local.into_iter().map(|(name, local)| (name.as_str().to_owned(), local.status.figures())).collect();
    let mut sheet = Sheet::blank();
    tell_pipelines(&mut sheet, &pipelines);
    tell_process(&mut sheet);
    sheet.set(&names::NODE_PIPELINES, &[], pipelines.len() as f64);
    tell_node(&sheet, node);
    tell_pool(&sheet, node);
    let view = node.views.now();
    let leads = view.leader().is_some_and(|leader| leader.node == node.record.id);
    sheet.flag(&names::NODE_LEADER, &[], leads);
    // Of all nodes at once it would be counted once for each.
    if leads {
        tell_cluster(&sheet, &view);
    }
    sheet
}

fn tell_node(sheet: &Sheet, node: &Node) {
    let record = &node.record;
    sheet.set(&names::NODE_INFO, &[record.id.as_str(), node.keys.cluster(), &record.version], 1.0);
    sheet.flag(&names::NODE_READY, &[], node.lacks().is_empty());
    let is_connected = matches!(*node.views.contact().borrow(), Contact::Current { .. });
    sheet.flag(&names::NODE_ETCD, &[], is_connected);
    // As long as a node surely has its lease after a renewal.
    let longest = LEASE * 2 / 3;
    let margin = node.session.authority().margin().as_secs_f64() / longest.as_secs_f64();
    sheet.set(&names::LEASE_MARGIN, &[], margin);
    sheet.count(&names::FENCES, &[], node.tally.fences());
    for (reason, count) in node.tally.taken() {
        sheet.count(&names::TAKEN, &[reason.name()], count);
    }
}

fn tell_pool(sheet: &Sheet, node: &Node) {
    let pool = node.catalog.pool_use();
    sheet.set(&names::POOL_LIMIT, &[], pool.limit as f64);
    sheet.set(&names::POOL_OPEN, &[], pool.open as f64);
    sheet.set(&names::POOL_IDLE, &[], pool.idle as f64);
    sheet.set(&names::POOL_WAITERS, &[], pool.waiters as f64);
}

fn tell_cluster(sheet: &Sheet, view: &View) {
    let wanted = view.pipelines.values().filter(|pipeline| pipeline.record.desired == Desired::Start).count();
    let is_unowned = |name: &PipelineName| {
        let assignment = view.assignments.get(name);
        assignment.is_none_or(|assignment| !view.nodes.contains_key(&assignment.record.owner.node))
    };
    let unowned = view.pipelines.keys().filter(|name| is_unowned(name)).count();
    let moving = view.assignments.values().filter(|assignment| assignment.record.handover.is_some()).count();
    sheet.set(&names::PIPELINES_EXPECTED, &[], wanted as f64);
    sheet.set(&names::PIPELINES_UNOWNED, &[], unowned as f64);
    sheet.set(&names::HANDOVERS, &[], moving as f64);
    sheet.set(&names::CLUSTER_NODES, &[], view.nodes.len() as f64);
}

#[cfg(test)]
mod tests {
    use rosetta_coordinator::records::Step;

    use super::{super::placement::samples::Sample, *};

    #[test]
    fn the_leader_tells_what_the_cluster_lacks() {
        let sample = Sample::default().node("a").node("b").owned("one", "a").owned("two", "gone").pipeline("new");
        let sheet = Sheet::blank();
        tell_cluster(&sheet, &sample.moving("three", "a", "b", Step::Preparing).view());
        let text = sheet.render();
        for line in [
            "rosetta_pipelines_expected 4",
            "rosetta_pipelines_unowned 2",
            "rosetta_cluster_handovers 1",
            "rosetta_cluster_nodes 2",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
        }
    }
}
