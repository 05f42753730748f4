//! Between etcd's words and ours.

use std::error::Error as _;

use etcd_client::{
    Compare, CompareOp, Error, Event as EtcdEvent, EventType, KeyValue, PutOptions, Txn as EtcdTxn, TxnOp,
};
use tonic::Code;

use crate::store::{Condition, Entry, Event, LeaseId, Put, Revision, StoreError, Txn};

/// Why an attempt failed, by what it says about the request.
#[derive(Debug)]
pub(super) enum Failure {
    /// It reached no member.
    NotSent(String),
    /// It may have reached one.
    NoAnswer(String),
    /// A member answered with an error, and did nothing.
    Answered(StoreError),
}

impl Failure {
    /// `place`: who was asked.
    pub(super) fn of(error: Error, place: &str) -> Failure {
        let refused = |cause: String| Failure::Answered(StoreError::Refused { place: place.to_owned(), cause });
        match error {
            Error::GRpcStatus(status) if is_connect_error(&status) => Failure::NotSent(one_line(status.message())),
            Error::GRpcStatus(status) => match status.code() {
                // The only thing that our requests name and that can be missing.
                Code::NotFound => Failure::Answered(StoreError::LeaseGone),
                Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::FailedPrecondition
                | Code::Unimplemented => refused(one_line(status.message())),
                _ => Failure::NoAnswer(one_line(status.message())),
            },
            // Only this is what the library makes of a lease without time left.
            Error::LeaseKeepAliveError(_) => Failure::Answered(StoreError::LeaseGone),
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                refused(one_line(&error.to_string()))
            }
            other => Failure::NoAnswer(one_line(&other.to_string())),
        }
    }

    /// The same failure of a step before the request itself.
    pub(super) fn before_sending(self) -> Failure {
        match self {
            Failure::NoAnswer(cause) => Failure::NotSent(cause),
            other @ (Failure::NotSent(_) | Failure::Answered(_)) => other,
        }
    }
}

/// No connection came about, so nothing was sent.
fn is_connect_error(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Our own keys are text; one that is not is somebody else's, and shows as such.
pub(super) fn entry(kv: &KeyValue) -> Entry {
    Entry {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        value: kv.value().to_vec(),
        created: Revision(kv.create_revision()),
        modified: Revision(kv.mod_revision()),
        lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
    }
}

pub(super) fn event(event: &EtcdEvent) -> Option<Event> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Event::Put(entry(kv)),
        EventType::Delete => {
            Event::Delete { key: String::from_utf8_lossy(kv.key()).into_owned(), revision: Revision(kv.mod_revision()) }
        }
    })
}

pub(super) fn txn(txn: Txn) -> EtcdTxn {
    let conditions: Vec<Compare> = txn.conditions.into_iter().map(compare).collect();
    let deletes = txn.deletes.into_iter().map(|key| TxnOp::delete(key, None));
    let operations: Vec<TxnOp> = txn.puts.into_iter().map(put).chain(deletes).collect();
    EtcdTxn::new().when(conditions).and_then(operations)
}

fn compare(condition: Condition) -> Compare {
    match condition {
        Condition::Modified(key, revision) => Compare::mod_revision(key, CompareOp::Equal, revision.0),
        Condition::Created(key, revision) => Compare::create_revision(key, CompareOp::Equal, revision.0),
        Condition::Absent(key) => Compare::create_revision(key, CompareOp::Equal, 0),
    }
}

fn put(put: Put) -> TxnOp {
    let options = put.lease.map(|lease| PutOptions::new().with_lease(lease.0));
    TxnOp::put(put.key, put.value, options)
}
