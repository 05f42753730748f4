//! The records, read from entries. Pure.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use rosetta_proto::{NodeId, PipelineName};
use serde::de::DeserializeOwned;

use crate::{
    records::{Assignment, Keys, NodeIntent, NodeRecord, PipelineRecord},
    store::{Entry, Event, LeaseId, Listing, Revision},
};

/// A record, and what is needed to change it by compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<T> {
    pub record: T,
    pub created: Revision,
    pub modified: Revision,
    pub lease: Option<LeaseId>,
}

/// A candidate: the first of them leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderRecord {
    pub node: NodeId,
    pub key: String,
    pub created: Revision,
    pub lease: Option<LeaseId>,
}

/// All records of a cluster at one revision. Cloning it is cheap: the records are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The picture holds every change up to here; 0 before anything was read. Of the whole store, so it also grows by
    /// what other clusters write.
    pub revision: Revision,
    pub nodes: BTreeMap<NodeId, Arc<Recorded<NodeRecord>>>,
    pub intents: BTreeMap<NodeId, Arc<Recorded<NodeIntent>>>,
    pub pipelines: BTreeMap<PipelineName, Arc<Recorded<PipelineRecord>>>,
    pub assignments: BTreeMap<PipelineName, Arc<Recorded<Assignment>>>,
    /// In the order in which they came.
    pub candidates: BTreeMap<Revision, LeaderRecord>,
    /// The keys whose values cannot be read, and why. What is in them is in no other field.
    pub malformed: BTreeMap<String, String>,
}

/// What a key is about; the rest of it is the name.
enum Kind {
    Node,
    Intent,
    Pipeline,
    Assignment,
    Candidate,
}

impl View {
    /// Who leads, as far as is known here.
    #[must_use]
    pub fn leader(&self) -> Option<&LeaderRecord> {
        self.candidates.values().next()
    }

    /// Reads a listing. What has not changed since `last` is not parsed again.
    pub(super) fn of(keys: &Keys, listing: &Listing, last: &View) -> View {
        let mut view = View::default();
        for entry in &listing.entries {
            view.put(keys, entry, last);
        }
        view.revision = listing.revision;
        view
    }

    /// Takes changes in, unless a listing has already brought them.
    pub(super) fn apply(&mut self, keys: &Keys, changes: &[Event]) {
        let before = self.clone();
        for event in changes.iter().filter(|event| event.revision() > before.revision) {
            match event {
                Event::Put(entry) => {
                    self.remove(keys, &entry.key);
                    self.put(keys, entry, &before);
                }
                Event::Delete { key, .. } => self.remove(keys, key),
            }
            self.revision = event.revision();
        }
    }

    fn put(&mut self, keys: &Keys, entry: &Entry, last: &View) {
        let Some((kind, name)) = kind_of(keys, &entry.key) else { return };
        let read = match kind {
            Kind::Node => put(&mut self.nodes, &last.nodes, name, entry),
            Kind::Intent => put(&mut self.intents, &last.intents, name, entry),
            Kind::Pipeline => put(&mut self.pipelines, &last.pipelines, name, entry),
            Kind::Assignment => put(&mut self.assignments, &last.assignments, name, entry),
            Kind::Candidate => self.put_candidate(entry),
        };
        if let Err(reason) = read {
            self.malformed.insert(entry.key.clone(), reason);
        }
    }

    fn put_candidate(&mut self, entry: &Entry) -> Result<(), String> {
        let text = std::str::from_utf8(&entry.value).map_err(|error| error.to_string())?;
        let node = text.parse().map_err(|error: rosetta_proto::NameError| error.to_string())?;
        let record = LeaderRecord { node, key: entry.key.clone(), created: entry.created, lease: entry.lease };
        self.candidates.insert(entry.created, record);
        Ok(())
    }

    fn remove(&mut self, keys: &Keys, key: &str) {
        self.malformed.remove(key);
        let Some((kind, name)) = kind_of(keys, key) else { return };
        match kind {
            Kind::Node => remove(&mut self.nodes, name),
            Kind::Intent => remove(&mut self.intents, name),
            Kind::Pipeline => remove(&mut self.pipelines, name),
            Kind::Assignment => remove(&mut self.assignments, name),
            Kind::Candidate => self.candidates.retain(|_, candidate| candidate.key != key),
        }
    }
}

/// `None` for a key that a later version may have added.
fn kind_of<'a>(keys: &Keys, key: &'a str) -> Option<(Kind, &'a str)> {
    let (folder, name) = key.strip_prefix(keys.root())?.split_once('/')?;
    let kind = match folder {
        "nodes" => Kind::Node,
        "intents" => Kind::Intent,
        "pipelines" => Kind::Pipeline,
        "assignments" => Kind::Assignment,
        "leader" => Kind::Candidate,
        _ => return None,
    };
    Some((kind, name))
}

type Records<N, T> = BTreeMap<N, Arc<Recorded<T>>>;

fn put<N, T>(records: &mut Records<N, T>, last: &Records<N, T>, name: &str, entry: &Entry) -> Result<(), String>
where
    N: FromStr<Err: ToString> + Ord,
    T: DeserializeOwned,
{
    let name: N = name.parse().map_err(|error: N::Err| error.to_string())?;
    let known = last.get(&name).filter(|known| known.modified == entry.modified && known.created == entry.created);
    let recorded = match known {
        Some(known) => Arc::clone(known),
        None => Arc::new(Recorded {
            record: serde_json::from_slice(&entry.value).map_err(|error| reason(&error))?,
            created: entry.created,
            modified: entry.modified,
            lease: entry.lease,
        }),
    };
    records.insert(name, recorded);
    Ok(())
}

/// serde's own text may hold a value, which must not get into a log.
fn reason(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Eof => "it is cut short",
        serde_json::error::Category::Io => "it cannot be read",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

fn remove<N: FromStr + Ord, T>(records: &mut Records<N, T>, name: &str) {
    if let Ok(name) = name.parse::<N>() {
        records.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTENT: &str = r#"{"cordoned":true,"draining":false}"#;

    fn keys() -> Keys {
        Keys::new("test")
    }

    fn entry(key: &str, value: &str, created: i64, modified: i64) -> Entry {
        let (created, modified) = (Revision(created), Revision(modified));
        Entry { key: format!("/rosetta/test/{key}"), value: value.into(), created, modified, lease: None }
    }

    fn listing(revision: i64, entries: Vec<Entry>) -> Listing {
        Listing { entries, revision: Revision(revision) }
    }

    fn deletion(key: &str, revision: i64) -> Event {
        Event::Delete { key: format!("/rosetta/test/{key}"), revision: Revision(revision) }
    }

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    #[test]
    fn changes_and_a_listing_give_the_same_picture() {
        let mut changed = View::default();
        let first = entry("intents/a", INTENT, 1, 1);
        let second = entry("intents/a", r#"{"cordoned":false,"draining":true}"#, 1, 4);
        changed.apply(&keys(), &[Event::Put(first), Event::Put(entry("intents/b", INTENT, 2, 2))]);
        changed.apply(&keys(), &[deletion("intents/b", 3), Event::Put(second.clone())]);
        assert_eq!(changed, View::of(&keys(), &listing(4, vec![second]), &View::default()));
    }

    #[test]
    fn changes_that_a_listing_has_brought_are_not_taken_again() {
        let newer = entry("intents/a", INTENT, 5, 5);
        let mut view = View::of(&keys(), &listing(5, vec![newer]), &View::default());
        let before = view.clone();
        view.apply(&keys(), &[deletion("intents/a", 4)]);
        assert_eq!(view, before);
    }

    #[test]
    fn what_did_not_change_is_not_parsed_again() {
        let entries = vec![entry("intents/a", INTENT, 1, 1)];
        let first = View::of(&keys(), &listing(1, entries.clone()), &View::default());
        let second = View::of(&keys(), &listing(9, entries), &first);
        assert!(Arc::ptr_eq(&first.intents[&node("a")], &second.intents[&node("a")]));
    }

    #[test]
    fn a_malformed_record_is_reported_without_its_value_and_repaired_by_a_write() {
        let broken = entry("intents/a", r#"{"cordoned":"secret"}"#, 1, 1);
        let mut view = View::of(&keys(), &listing(2, vec![broken, entry("intents/b", INTENT, 2, 2)]), &View::default());
        let reason = &view.malformed["/rosetta/test/intents/a"];
        assert!(reason.contains("line 1") && !reason.contains("secret"), "{reason}");
        assert!(view.intents.contains_key(&node("b")), "the others are read");
        view.apply(&keys(), &[Event::Put(entry("intents/a", INTENT, 1, 3))]);
        assert!(view.malformed.is_empty() && view.intents.contains_key(&node("a")));
        view.apply(&keys(), &[Event::Put(entry("intents/a", "", 1, 4))]);
        assert!(!view.intents.contains_key(&node("a")), "what was there before is not what is there now");
        view.apply(&keys(), &[deletion("intents/a", 5)]);
        assert!(view.malformed.is_empty());
    }

    #[test]
    fn the_first_candidate_leads_and_unknown_keys_are_left_alone() {
        let entries = vec![
            entry("leader/01", "b", 7, 7),
            entry("leader/02", "a", 3, 3),
            entry("later/1", "x", 1, 1),
            entry("nodes", "x", 1, 1),
        ];
        let mut view = View::of(&keys(), &listing(7, entries), &View::default());
        assert_eq!(view.leader().map(|leader| leader.node.as_str()), Some("a"));
        assert!(view.malformed.is_empty());
        view.apply(&keys(), &[deletion("leader/02", 8)]);
        assert_eq!(view.leader().map(|leader| leader.node.as_str()), Some("b"));
    }
}
