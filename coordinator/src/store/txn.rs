//! A conditional write.

use super::{LeaseId, Revision};

/// What must hold for a write to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key is there, and was last written at this revision.
    Modified(String, Revision),
    /// The key is there, and came to be at this revision.
    Created(String, Revision),
    Absent(String),
}

impl Condition {
    /// The key was last written at `expected`; `None`: it is absent.
    #[must_use]
    pub fn last_write(key: &str, expected: Option<Revision>) -> Condition {
        match expected {
            Some(revision) => Condition::Modified(key.to_owned(), revision),
            None => Condition::Absent(key.to_owned()),
        }
    }
}

/// A value for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub key: String,
    pub value: Vec<u8>,
    pub lease: Option<LeaseId>,
}

impl Put {
    #[must_use]
    pub fn new(key: &str, value: impl Into<Vec<u8>>) -> Put {
        Put { key: key.to_owned(), value: value.into(), lease: None }
    }

    /// The key goes when the lease ends.
    #[must_use]
    pub fn with_lease(mut self, lease: LeaseId) -> Put {
        self.lease = Some(lease);
        self
    }
}

/// Conditions, and what is written at once if all of them hold. A key may be written only once in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub conditions: Vec<Condition>,
    pub puts: Vec<Put>,
    pub deletes: Vec<String>,
}

impl Txn {
    #[must_use]
    pub fn when(condition: Condition) -> Txn {
        Txn::default().and(condition)
    }

    #[must_use]
    pub fn and(mut self, condition: Condition) -> Txn {
        self.conditions.push(condition);
        self
    }

    #[must_use]
    pub fn put(mut self, put: Put) -> Txn {
        self.puts.push(put);
        self
    }

    #[must_use]
    pub fn delete(mut self, key: &str) -> Txn {
        self.deletes.push(key.to_owned());
        self
    }
}
