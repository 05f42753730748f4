//! What owners say of their pipelines: how much they carry, and whether they reach the servers. Pure.

use std::collections::BTreeMap;

use rosetta_proto::{NodeId, PipelineName};

use crate::{
    Moment,
    placement::{Load, Unreachable, weight},
};

/// How a pipeline fares, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub pipeline: PipelineName,
    pub node: NodeId,
    /// Carried since the owner's process began.
    pub bytes: u64,
    /// The owner tries in vain to reach the pipeline's servers.
    pub is_cut_off: bool,
}

#[derive(Debug, Default)]
pub(super) struct Reports {
    newest: BTreeMap<PipelineName, Known>,
}

#[derive(Debug)]
struct Known {
    node: NodeId,
    bytes: u64,
    at: Moment,
    load: Load,
    cut_off_since: Option<Moment>,
}

impl Reports {
    /// Takes a report in. Answers the owner before, if that one could not reach the servers.
    pub(super) fn take(&mut self, report: &Report, now: Moment) -> Option<NodeId> {
        let new = || Known {
            node: report.node.clone(),
            bytes: report.bytes,
            at: now,
            load: Load::default(),
            cut_off_since: None,
        };
        let known = self.newest.entry(report.pipeline.clone()).or_insert_with(new);
        let is_same = known.node == report.node;
        let former = known.cut_off_since.filter(|_| !is_same).map(|_| known.node.clone());
        // A process that counts from the beginning has carried nothing that could be compared.
        if is_same && report.bytes >= known.bytes {
            known.load = known.load.after(report.bytes - known.bytes, now.saturating_sub(known.at));
        }
        let since = known.cut_off_since.filter(|_| is_same).unwrap_or(now);
        known.cut_off_since = report.is_cut_off.then_some(since);
        known.node.clone_from(&report.node);
        (known.bytes, known.at) = (report.bytes, now);
        former
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(&PipelineName) -> bool) {
        self.newest.retain(|name, _| is_there(name));
    }

    /// 1.0 for a pipeline that nobody has spoken of.
    pub(super) fn weight(&self, pipeline: &PipelineName) -> f64 {
        self.newest.get(pipeline).map_or(1.0, |known| weight(known.load))
    }

    /// Since when the owner cannot reach the servers, if it cannot.
    pub(super) fn cut_off(&self, pipeline: &PipelineName, owner: &NodeId) -> Option<Unreachable> {
        let known = self.newest.get(pipeline).filter(|known| known.node == *owner)?;
        Some(Unreachable { node: owner.clone(), since: known.cut_off_since? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(node: &str, bytes: u64, is_cut_off: bool) -> Report {
        let (pipeline, node) = ("orders".parse().expect("a name"), node.parse().expect("a name"));
        Report { pipeline, node, bytes, is_cut_off }
    }

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lasting_rate_becomes_weight_whoever_carries_it() {
        let mut reports = Reports::default();
        let name = "orders".parse().expect("a name");
        for second in 0..1800 {
            reports.take(&report("a", second * (4 << 20), false), at(second));
        }
        assert!((reports.weight(&name) - 5.0).abs() < 0.1, "{}", reports.weight(&name));
        reports.take(&report("b", 7, false), at(1801));
        assert!((reports.weight(&name) - 5.0).abs() < 0.1, "a new owner counts from the beginning");
        reports.take(&report("b", 3, false), at(1802));
        assert!(reports.weight(&name) > 4.0, "as does one that was started anew");
        assert!((reports.weight(&"other".parse().expect("a name")) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn an_owner_is_cut_off_from_the_first_report_until_it_says_otherwise() {
        let mut reports = Reports::default();
        let (name, a) = ("orders".parse().expect("a name"), "a".parse().expect("a name"));
        for second in [5, 10, 15] {
            assert_eq!(reports.take(&report("a", 0, true), at(second)), None);
        }
        assert_eq!(reports.cut_off(&name, &a).map(|cut| cut.since), Some(at(5)));
        assert_eq!(reports.take(&report("b", 0, true), at(20)), Some(a.clone()), "who had it before is not asked soon");
        assert_eq!(reports.cut_off(&name, &a), None);
        let b = "b".parse().expect("a name");
        assert_eq!(reports.cut_off(&name, &b).map(|cut| cut.since), Some(at(20)));
        assert_eq!(reports.take(&report("b", 0, false), at(21)), None);
        assert_eq!(reports.cut_off(&name, &b), None);
    }
}
