//! How values are written for people and programs.

use std::fmt::Display;

use rosetta_proto::v1::{MoveReason, NodeState, PipelineState};

/// An enum's value without its prefix, in lower case: `PIPELINE_STATE_RUNNING` is `running`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// A state that this version does not know is `unknown`, too.
pub(super) fn pipeline_state(state: PipelineState) -> String {
    match state {
        PipelineState::Unspecified => "unknown".to_owned(),
        known => word(known.as_str_name(), "PIPELINE_STATE_"),
    }
}

pub(super) fn node_state(state: NodeState) -> String {
    word(state.as_str_name(), "NODE_STATE_")
}

pub(super) fn move_reason(reason: MoveReason) -> String {
    word(reason.as_str_name(), "MOVE_REASON_")
}

/// A cell; `-` where there is nothing to show.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `None` for the empty text, which messages have in its place.
pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// 32 hexadecimal digits that no other request has.
pub(super) fn request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_lower_case_words() {
        assert_eq!(pipeline_state(PipelineState::NeedsResync), "needs_resync");
        assert_eq!(pipeline_state(PipelineState::Unspecified), "unknown");
        assert_eq!(node_state(NodeState::Drained), "drained");
    }

    #[test]
    fn request_ids_differ() {
        assert_ne!(request_id(), request_id());
        assert_eq!(request_id().len(), 32);
    }
}
