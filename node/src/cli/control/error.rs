use rosetta_proto::error_details;
use tonic::{Code, Status};

use super::client::DEADLINE;

/// Why a command failed, in one line.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ControlError {
    #[error("'{0}' is not an endpoint: give http://HOST:PORT (without TLS), several separated by commas")]
    BadEndpoint(String),
    #[error("no node answers at {0}: start one with `rosetta node`, or give --endpoint")]
    NoNode(String),
    #[error("the node at {0} did not answer within {seconds} s; `rosetta status` shows whether it is done", seconds = DEADLINE.as_secs())]
    Silent(String),
    #[error("the connection to {0} broke before the answer came; look whether it is a node's gRPC port, and repeat it")]
    Broken(String),
    #[error("{message}")]
    Told { code: Code, message: String },
    /// Arguments that do not fit together, a file that cannot be used, something not reached in time.
    #[error("{0}")]
    Plain(String),
}

impl ControlError {
    /// What a node answered, or that the way to it broke.
    pub(super) fn from_status(endpoint: &str, status: &Status) -> ControlError {
        // Only what the transport reports has a cause behind it.
        if std::error::Error::source(status).is_some() {
            return ControlError::Broken(endpoint.to_owned());
        }
        // What a node itself says has a reason; without, there is no such call.
        let is_explained = error_details(status).reason.is_some();
        let message = match (status.code(), status.message()) {
            (Code::Unimplemented, _) if !is_explained => {
                format!("the node at {endpoint} does not know this call: it runs another version of rosetta")
            }
            (code, "") => format!("the node at {endpoint} refused: {code}"),
            (_, message) => one_line(message),
        };
        ControlError::Told { code: status.code(), message: with_field(message, status) }
    }

    /// Another node may answer better.
    pub(super) fn is_this_nodes(&self) -> bool {
        match self {
            ControlError::NoNode(_) | ControlError::Silent(_) | ControlError::Broken(_) => true,
            ControlError::Told { code, .. } => matches!(code, Code::Unavailable | Code::DeadlineExceeded),
            ControlError::BadEndpoint(_) | ControlError::Plain(_) => false,
        }
    }
}

impl From<String> for ControlError {
    fn from(message: String) -> ControlError {
        ControlError::Plain(message)
    }
}

/// Names the fields at fault where the message does not.
fn with_field(message: String, status: &Status) -> String {
    let fields: Vec<_> = error_details(status).fields.into_iter().map(|field| one_line(&field.field)).collect();
    let is_named = fields.iter().all(|field| message.contains(field.as_str()));
    if is_named { message } else { format!("{}: {message}", fields.join(", ")) }
}

/// A terminal must not be torn by what a server says.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use rosetta_proto::error_status;

    use super::*;

    #[test]
    fn a_refusal_names_its_field_once() {
        let shown = |message: &str| {
            let status = error_status(Code::InvalidArgument, message, "pipeline.tables", "");
            ControlError::from_status("http://a", &status).to_string()
        };
        assert_eq!(shown("selects nothing;\nadd one"), "pipeline.tables: selects nothing; add one");
        assert_eq!(shown("pipeline.tables selects nothing"), "pipeline.tables selects nothing");
    }

    #[test]
    fn a_call_that_is_not_made_yet_says_what_to_do_and_an_unknown_one_names_the_node() {
        let explained = error_status(Code::Unimplemented, "do it by hand: drop the slot", "", "BY_HAND");
        assert_eq!(ControlError::from_status("http://a", &explained).to_string(), "do it by hand: drop the slot");
        let unknown = ControlError::from_status("http://a", &Status::unimplemented("")).to_string();
        assert!(unknown.starts_with("the node at http://a does not know this call"), "{unknown}");
    }

    #[test]
    fn only_what_another_node_may_do_better_is_tried_again() {
        let told = |code| ControlError::from_status("http://a", &Status::new(code, "m")).is_this_nodes();
        assert!(told(Code::Unavailable));
        assert!(!told(Code::NotFound) && !told(Code::Aborted) && !told(Code::Internal));
    }
}
