//! Ties a SCRAM login to the TLS connection that carries it, so that nobody in between can hand it on
//! (RFC 5929, tls-server-end-point; PostgreSQL docs, "SASL Authentication").

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};

/// DER of 1.2.840.113549.1.1, the RSA signatures.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
/// DER of 1.2.840.10045.4, the ECDSA signatures.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 6;

/// The hash of a server's certificate (DER) that both ends put into the login; None where the certificate's signature
/// has no hash of its own, for which no binding is defined.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let hash = signature_hash(certificate)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The hash of the certificate's signature algorithm; SHA-256 in place of MD5 and SHA-1 (RFC 5929, section 4.1).
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (parts, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(parts, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (name, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    match (name.strip_prefix(RSA), name.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(&SHA512),
        _ => None,
    }
}

/// The content of the DER element that `bytes` begins with, and what follows it; None when it is not a `tag`.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The length's own length, then the length, big end first.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag, 0x82];
        out.extend_from_slice(&u16::try_from(content.len()).unwrap().to_be_bytes());
        out.extend_from_slice(content);
        out
    }

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let name = [&[OBJECT_IDENTIFIER, u8::try_from(algorithm.len()).unwrap()], algorithm].concat();
        der(SEQUENCE, &[der(SEQUENCE, &[7; 300]), der(SEQUENCE, &name), vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let hash = |prefix: &[u8], rest: &[u8]| signature_hash(&certificate(&[prefix, rest].concat()));
        assert_eq!(hash(RSA, &[5]), Some(&SHA256), "SHA-1 is replaced");
        assert_eq!(hash(RSA, &[11]), Some(&SHA256));
        assert_eq!(hash(RSA, &[13]), Some(&SHA512));
        assert_eq!(hash(ECDSA, &[3, 3]), Some(&SHA384));
        assert_eq!(hash(RSA, &[10]), None, "RSA-PSS names its hash elsewhere");
        assert_eq!(hash(&[0x2b, 0x65, 0x70], &[]), None, "Ed25519 has none");
    }

    #[test]
    fn what_is_cut_short_has_none() {
        let whole = certificate(&[RSA, &[11]].concat());
        assert_eq!(server_end_point(&whole).map(|hash| hash.len()), Some(32));
        for length in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..length]), None);
        }
    }
}
