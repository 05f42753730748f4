//! What other nodes ask of this one.

use std::sync::Arc;

use rosetta_coordinator::records::Incarnation;
use rosetta_proto::{
    error_status,
    v1::{self, peers_server},
};
use tokio::time::interval;
use tonic::{Code, Request, Response, Status};

use super::{Api, errors, stream::Produced};
use crate::{
    api::refuse,
    cluster::{BEAT_EVERY, OTHER_INCARNATION},
};

pub(super) struct Peers(pub(super) Arc<Api>);

#[tonic::async_trait]
impl peers_server::Peers for Peers {
    type HoldStream = Produced<v1::Beat>;

    async fn hold(&self, request: Request<v1::HoldRequest>) -> Result<Response<Produced<v1::Beat>>, Status> {
        let expected = incarnation(&request.get_ref().expected_incarnation)?;
        let me = self.0.node.owner();
        if expected != me.incarnation {
            let message = format!("this is node {}, incarnation {}, and not {expected}", me.node, me.incarnation);
            return Err(error_status(Code::FailedPrecondition, message, "expected_incarnation", OTHER_INCARNATION));
        }
        let cancel = self.0.cancel.clone();
        let beats = Produced::by(|sender| async move {
            let mut ticks = interval(BEAT_EVERY);
            for sequence in 1.. {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = cancel.cancelled() => {
                        let _ = sender.send(Err(errors::stopping())).await;
                        return;
                    }
                }
                let beat = v1::Beat { node: me.node.to_string(), incarnation: me.incarnation.to_string(), sequence };
                if sender.send(Ok(beat)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(beats))
    }

    async fn status(
        &self,
        request: Request<v1::PeerStatusRequest>,
    ) -> Result<Response<v1::PeerStatusResponse>, Status> {
        let names = request.into_inner().pipelines;
        let node = &self.0.node;
        let statuses = if names.is_empty() {
            self.0.figures.all(node)
        } else {
            let known = names.iter().filter_map(|name| name.parse().ok());
            known.filter_map(|name| self.0.figures.status(node, &name)).collect()
        };
        let (id, incarnation) = (node.record.id.to_string(), node.record.incarnation.to_string());
        Ok(Response::new(v1::PeerStatusResponse { node: id, incarnation, statuses }))
    }
}

/// # Errors
/// Not 16 hexadecimal digits.
fn incarnation(text: &str) -> Result<Incarnation, Status> {
    let is_form = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_form);
    let message = "expected_incarnation is none: give the 16 hexadecimal digits that Cluster/Get shows";
    number.map(Incarnation).ok_or_else(|| refuse::field("expected_incarnation", message, "INCARNATION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_read_as_it_is_written() {
        let written = Incarnation(0xab);
        assert_eq!(incarnation(&written.to_string()).ok(), Some(written));
        for wrong in ["", "ab", "+00000000000000a", "00000000000000zz", "00000000000000000ab"] {
            assert_eq!(incarnation(wrong).expect_err(wrong).code(), Code::InvalidArgument);
        }
    }
}
