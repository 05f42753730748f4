//! Changes of records in etcd, each made once for each request id: what was answered is written with the change itself.

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use rosetta_coordinator::{
    store::{Condition, LeaseId, Put, StoreError, Txn},
    view::View,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tonic::Status;

use super::{Api, errors};
use crate::api::refuse;

/// How long a request is recognised.
const REMEMBERED_FOR: Duration = Duration::from_hours(48);
/// Somebody else may be faster a few times; then the caller may look again.
const ATTEMPTS: usize = 8;
const MAX_ID_LENGTH: usize = 64;

/// What is to be written, and what is answered once it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change<A> {
    /// Its conditions say that the records are those that it was decided from.
    pub(super) txn: Txn,
    pub(super) answer: A,
}

impl<A> Change<A> {
    /// All is as it should be already.
    pub(super) fn nothing(answer: A) -> Change<A> {
        Change { txn: Txn::default(), answer }
    }
}

/// One request that changes something.
pub(super) struct Asked<'a> {
    api: &'a Api,
    /// In etcd; `None` where repeating is not recognised.
    key: Option<String>,
    call: &'static str,
    request: Vec<u8>,
}

/// What is kept of a request.
#[derive(Serialize, Deserialize)]
struct Remembered {
    call: String,
    request: String,
    answer: String,
}

/// An answer, and whether it was given for the first time.
pub(super) struct Answered<A> {
    pub(super) answer: A,
    pub(super) is_new: bool,
}

impl<'a> Asked<'a> {
    /// # Errors
    /// The id cannot be one.
    pub(super) fn new(api: &'a Api, call: &'static str, id: &str, request: &impl Message) -> Result<Asked<'a>, Status> {
        let key = match id {
            "" => None,
            id if id.len() <= MAX_ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Some(api.node.keys.request(id))
            }
            _ => {
                let message = "request_id is not usable; use 1 to 64 visible ASCII characters, best a UUID";
                return Err(refuse::field("request_id", message, "REQUEST_ID"));
            }
        };
        Ok(Asked { api, key, call, request: request.encode_to_vec() })
    }

    /// What was answered to this request before.
    ///
    /// # Errors
    /// The id is another request's, or etcd is away.
    pub(super) async fn earlier<A: Message + Default>(&self) -> Result<Option<A>, Status> {
        let Some(key) = &self.key else { return Ok(None) };
        let entry = self.api.node.store.get(key).await.map_err(|error| errors::store(&error))?;
        entry.map(|entry| self.recognise(&entry.value)).transpose()
    }

    /// Makes the change that `decide` finds right for the records as they are; anew when somebody else was faster.
    ///
    /// # Errors
    /// Of `decide` and of [`Asked::earlier`]; etcd is away.
    pub(super) async fn once<A: Message + Default>(
        &self,
        decide: impl Fn(&View) -> Result<Change<A>, Status>,
    ) -> Result<Answered<A>, Status> {
        let store = &self.api.node.store;
        for _ in 0..ATTEMPTS {
            if let Some(answer) = self.earlier().await? {
                return Ok(Answered { answer, is_new: false });
            }
            let Change { txn, answer } = decide(&*self.api.current().await?)?;
            let txn = self.remembering(txn, &answer).await.map_err(|error| errors::store(&error))?;
            if txn == Txn::default() {
                return Ok(Answered { answer, is_new: true });
            }
            match store.txn(txn).await {
                Ok(_) => return Ok(Answered { answer, is_new: true }),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(errors::store(&error)),
            }
        }
        Err(errors::store(&StoreError::Conflict))
    }

    /// The same write, with the answer.
    async fn remembering(&self, txn: Txn, answer: &impl Message) -> Result<Txn, StoreError> {
        let Some(key) = &self.key else { return Ok(txn) };
        let lease: LeaseId = self.api.node.store.grant(REMEMBERED_FOR).await?;
        let remembered = Remembered {
            call: self.call.to_owned(),
            request: STANDARD.encode(&self.request),
            answer: STANDARD.encode(answer.encode_to_vec()),
        };
        // A record of ours always is JSON.
        let value = serde_json::to_vec(&remembered).unwrap_or_default();
        Ok(txn.and(Condition::Absent(key.clone())).put(Put::new(key, value).with_lease(lease)))
    }

    fn recognise<A: Message + Default>(&self, value: &[u8]) -> Result<A, Status> {
        let answer = serde_json::from_slice(value).ok().and_then(|remembered: Remembered| {
            let is_same = remembered.call == self.call && remembered.request == STANDARD.encode(&self.request);
            is_same.then(|| STANDARD.decode(remembered.answer).ok()).flatten()
        });
        let reused = "request_id was used for another request; give each request an id of its own";
        answer
            .and_then(|bytes| A::decode(bytes.as_slice()).ok())
            .ok_or_else(|| refuse::field("request_id", reused, "REQUEST_ID"))
    }
}
