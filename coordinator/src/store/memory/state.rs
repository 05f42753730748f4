//! What the store in memory holds. Pure: the time comes in.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Changes, Condition, Entry, Event, LeaseId, Listing, Put, Revision, StoreError, Txn};

#[derive(Debug, Default)]
pub(super) struct State {
    entries: BTreeMap<String, Entry>,
    revision: Revision,
    /// Every change since `compacted`, in order.
    history: Vec<Event>,
    compacted: Revision,
    leases: HashMap<LeaseId, Lease>,
    last_lease: i64,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: Duration,
    ends: Instant,
}

impl State {
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let below = self.entries.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Listing { entries: below.map(|(_, entry)| entry.clone()).collect(), revision: self.revision }
    }

    pub(super) fn txn(&mut self, txn: Txn) -> Result<Revision, StoreError> {
        if !txn.conditions.iter().all(|condition| self.holds(condition)) {
            return Err(StoreError::Conflict);
        }
        if txn.puts.iter().filter_map(|put| put.lease).any(|lease| !self.leases.contains_key(&lease)) {
            return Err(StoreError::LeaseGone);
        }
        let next = self.revision.next();
        let deleted = txn.deletes.iter().filter(|key| self.delete(key, next)).count();
        let written = txn.puts.len();
        txn.puts.into_iter().for_each(|put| self.put(put, next));
        if deleted + written > 0 {
            self.revision = next;
        }
        Ok(self.revision)
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Modified(key, revision) => self.entries.get(key).is_some_and(|e| e.modified == *revision),
            Condition::Created(key, revision) => self.entries.get(key).is_some_and(|e| e.created == *revision),
            Condition::Absent(key) => !self.entries.contains_key(key),
        }
    }

    fn put(&mut self, put: Put, at: Revision) {
        let created = self.entries.get(&put.key).map_or(at, |entry| entry.created);
        let entry = Entry { key: put.key, value: put.value, created, modified: at, lease: put.lease };
        self.history.push(Event::Put(entry.clone()));
        self.entries.insert(entry.key.clone(), entry);
    }

    fn delete(&mut self, key: &str, at: Revision) -> bool {
        let is_there = self.entries.remove(key).is_some();
        if is_there {
            self.history.push(Event::Delete { key: key.to_owned(), revision: at });
        }
        is_there
    }

    /// The changes below `prefix` from revision `from` on, by revision.
    pub(super) fn since(&self, prefix: &str, from: Revision) -> Result<Vec<Changes>, StoreError> {
        if from <= self.compacted {
            return Err(StoreError::Compacted(self.compacted));
        }
        let wanted: Vec<Event> = self
            .history
            .iter()
            .filter(|event| event.revision() >= from && event.key().starts_with(prefix))
            .cloned()
            .collect();
        Ok(wanted.chunk_by(|a, b| a.revision() == b.revision()).map(<[Event]>::to_vec).collect())
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.revision;
        self.history.clear();
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        self.leases.insert(id, Lease { ttl, ends: now + ttl });
        id
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<(), StoreError> {
        let lease = self.leases.get_mut(&id).ok_or(StoreError::LeaseGone)?;
        lease.ends = now + lease.ttl;
        Ok(())
    }

    /// Ends a lease with its keys.
    pub(super) fn end_lease(&mut self, id: LeaseId) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let keys: Vec<String> =
            self.entries.values().filter(|entry| entry.lease == Some(id)).map(|entry| entry.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let next = self.revision.next();
        for key in keys {
            self.delete(&key, next);
        }
        self.revision = next;
    }

    pub(super) fn end_leases_due(&mut self, now: Instant) {
        let due: Vec<LeaseId> = self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.end_lease(id));
    }

    pub(super) fn next_lease_end(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.ends).min()
    }
}
