//! The messages in the trailer `grpc-status-details-bin`, field by field as google.rpc and google.protobuf number them.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldViolation {
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    #[prost(string, tag = "2")]
    pub(crate) description: String,
}

impl ErrorInfo {
    pub(crate) const TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";
}

impl BadRequest {
    pub(crate) const TYPE: &str = "type.googleapis.com/google.rpc.BadRequest";
}

impl Any {
    pub(crate) fn pack(type_url: &str, message: &impl Message) -> Any {
        Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
    }

    /// The message, if it is of that type; the host in front of the type does not count.
    pub(crate) fn unpack<M: Message + Default>(&self, type_url: &str) -> Option<M> {
        let name = |url: &str| url.rsplit('/').next().map(str::to_owned);
        let is_of_type = name(&self.type_url) == name(type_url);
        is_of_type.then(|| M::decode(self.value.as_slice()).ok()).flatten()
    }
}
