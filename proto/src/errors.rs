//! Errors of the API: a code, one line of text, and details that a program can read, as google.rpc.Status has them.

use prost::Message;
use tonic::{Code, Status};

use crate::rpc::{self, Any, BadRequest, ErrorInfo};

/// Whose reasons these are; `google.rpc.ErrorInfo.domain`.
pub const ERROR_DOMAIN: &str = "rosetta";

/// What a program can read from an error. Empty for errors that carry no details, or none that are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorDetails {
    /// The fields of the request that are at fault.
    pub fields: Vec<FieldError>,
    /// A constant word such as `REVISION_MISMATCH`; `None` where the code says enough.
    pub reason: Option<String>,
}

/// A field of a request that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its path, such as `pipeline.destinations`.
    pub field: String,
    /// What is wrong with it, in one line.
    pub description: String,
}

/// An error with details. `message` is one line: the cause, the place, the remedy. `field` is the path of the field
/// at fault and `reason` a constant word in capitals; either may be empty.
pub fn error_status(code: Code, message: impl Into<String>, field: &str, reason: &str) -> Status {
    let message = message.into();
    let mut details = Vec::new();
    if !reason.is_empty() {
        let info = ErrorInfo { reason: reason.to_owned(), domain: ERROR_DOMAIN.to_owned() };
        details.push(Any::pack(ErrorInfo::TYPE, &info));
    }
    if !field.is_empty() {
        let violation = rpc::FieldViolation { field: field.to_owned(), description: message.clone() };
        details.push(Any::pack(BadRequest::TYPE, &BadRequest { field_violations: vec![violation] }));
    }
    if details.is_empty() {
        return Status::new(code, message);
    }
    let encoded = rpc::Status { code: code as i32, message: message.clone(), details }.encode_to_vec();
    Status::with_details(code, message, encoded.into())
}

/// The details of an error that [`error_status`], or any server that follows google.rpc.Status, has made.
pub fn error_details(status: &Status) -> ErrorDetails {
    let mut found = ErrorDetails::default();
    let Ok(decoded) = rpc::Status::decode(status.details()) else { return found };
    for detail in &decoded.details {
        if let Some(info) = detail.unpack::<ErrorInfo>(ErrorInfo::TYPE) {
            found.reason = Some(info.reason);
        } else if let Some(request) = detail.unpack::<BadRequest>(BadRequest::TYPE) {
            let fields = request.field_violations.into_iter();
            found
                .fields
                .extend(fields.map(|rpc::FieldViolation { field, description }| FieldError { field, description }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_wire() {
        let sent = error_status(Code::InvalidArgument, "name is empty; give one", "pipeline.name", "NAME_EMPTY");
        let headers = http_headers(&sent);
        let received = Status::from_header_map(&headers).unwrap();
        assert_eq!((received.code(), received.message()), (Code::InvalidArgument, "name is empty; give one"));
        let field = FieldError { field: "pipeline.name".into(), description: "name is empty; give one".into() };
        let expected = ErrorDetails { fields: vec![field], reason: Some("NAME_EMPTY".into()) };
        assert_eq!(error_details(&received), expected);
    }

    #[test]
    fn bytes_are_those_of_google_rpc() {
        let status = error_status(Code::Aborted, "m", "", "R");
        let any = b"\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x0c\x0a\x01R\x12\x07rosetta";
        let mut expected = b"\x08\x0a\x12\x01m\x1a".to_vec();
        expected.push(any.len() as u8);
        expected.extend(any);
        assert_eq!(status.details(), expected);
    }

    #[test]
    fn no_details_and_strange_details_are_none() {
        assert!(error_status(Code::NotFound, "m", "", "").details().is_empty());
        assert_eq!(error_details(&Status::not_found("m")), ErrorDetails::default());
        let strange = Status::with_details(Code::Internal, "m", b"\xff\xff".to_vec().into());
        assert_eq!(error_details(&strange), ErrorDetails::default());
    }

    fn http_headers(status: &Status) -> tonic::codegen::http::HeaderMap {
        let mut headers = tonic::codegen::http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers
    }
}
