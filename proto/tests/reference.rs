//! The .proto files are the API's reference: what is not described there is not described.

use std::collections::HashMap;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, source_code_info::Location};
use rosetta_proto::v1::FILE_DESCRIPTOR_SET;

/// Field numbers of descriptor.proto, of which paths into a file are made.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// Calls that change nothing, and therefore need no request id.
const READS: [&str; 13] = [
    "Pipelines.Validate",
    "Pipelines.Get",
    "Pipelines.List",
    "Pipelines.Watch",
    "Cluster.Get",
    "Cluster.Watch",
    "Cluster.ListEvents",
    "DeadLetters.List",
    "DeadLetters.Get",
    "DeadLetters.Export",
    "Backfills.List",
    "Peers.Hold",
    "Peers.Status",
];

fn files() -> Vec<FileDescriptorProto> {
    let Ok(set) = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET) else { panic!("the descriptors are not readable") };
    set.file.into_iter().filter(|file| file.package() == "rosetta.v1").collect()
}

#[test]
fn every_service_and_call_is_described() {
    let mut calls = 0;
    for file in files() {
        for (s, service) in (0..).zip(&file.service) {
            assert!(is_described(&file, &[SERVICE, s]), "{}", service.name());
            for (m, method) in (0..).zip(&service.method) {
                assert!(is_described(&file, &[SERVICE, s, METHOD, m]), "{}.{}", service.name(), method.name());
                calls += 1;
            }
        }
    }
    assert_eq!(calls, 34, "a call was added: say in READS whether it changes something");
}

#[test]
fn requests_that_change_something_begin_with_the_request_id() {
    let files = files();
    let messages: HashMap<String, _> =
        files.iter().flat_map(|file| &file.message_type).map(|m| (format!(".rosetta.v1.{}", m.name()), m)).collect();
    for service in files.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            let call = format!("{}.{}", service.name(), method.name());
            let first = messages[method.input_type()].field.first();
            let has_id = first.is_some_and(|field| field.name() == "request_id" && field.number() == 1);
            assert_eq!(has_id, !READS.contains(&call.as_str()), "{call}");
        }
    }
}

fn is_described(file: &FileDescriptorProto, path: &[i32]) -> bool {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let mut comments = locations.filter(|location| location.path == path).map(Location::leading_comments);
    comments.any(|comment| !comment.trim().is_empty())
}
