//! The messages, clients and servers of `rosetta.v1`, generated from proto/rosetta/v1/*.proto.

// Generated code follows its generator's rules.
#![allow(clippy::clone_on_ref_ptr, clippy::unwrap_used, clippy::large_futures, rustdoc::all)]

tonic::include_proto!("rosetta.v1");

/// The descriptors of the package, with comments: what server reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("rosetta_v1");
