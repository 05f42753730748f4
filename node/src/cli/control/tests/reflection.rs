//! What grpcurl needs: descriptors that stand for themselves.

use rosetta_proto::v1::FILE_DESCRIPTOR_SET;
use tonic_reflection::server::Builder;

#[test]
fn the_descriptors_can_be_served() {
    let builder = || Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    assert!(builder().build_v1().is_ok());
    assert!(builder().build_v1alpha().is_ok());
}
