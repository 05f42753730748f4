//! The records, read from entries. Pure.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use rosetta_proto::{NodeId, PipelineName};
use serde::de::DeserializeOwned;

use crate::{
    records::{Assignment, Keys, NodeIntent, NodeRecord, PipelineRecord},
    store::{Entry, Event, LeaseId, Listing, Revision},
};

/// A record, and what is needed to change it by compare-and-swap.
#[derive(Clone, Debug, PartialEq)]
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
    /// The picture holds every change up to here; 0 before anything was read. Other clusters' changes count too, but
    /// are not news.
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
