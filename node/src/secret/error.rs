//! What can be wrong with a secret or a key. No text of either is in a message.

use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Something must be encrypted, and no key is given.
    #[error(
        "{place} holds a password, and no key is given to encrypt it; set ROSETTA_SECRET_KEY or \
         ROSETTA_SECRET_KEY_FILE on every node (make a key with: openssl rand -base64 32)"
    )]
    NoKey { place: String },
    /// It was encrypted with a key that this process does not have.
    #[error(
        "{place} is encrypted with the key '{id}', which is not given; add its line to ROSETTA_SECRET_KEY_FILE, or \
         define it anew"
    )]
    UnknownKey { place: String, id: String },
    /// It was changed, moved from elsewhere, or encrypted with another key of the same id.
    #[error("{place} does not open with the key '{id}': the text, its place or the key was changed; define it anew")]
    Damaged { place: String, id: String },
    /// It begins like an encrypted text and is none.
    #[error("{place} is not of the form enc:v1:KEY:TEXT; define it anew")]
    Malformed { place: String },
    /// `***` stands for a password in answers.
    #[error("{place} has the password ***, which only hides one in an answer; write the password itself")]
    Redacted { place: String },
    #[error(
        "{variable}, line {line}: {reason}; write ID:KEY, where KEY is base64 of 32 bytes (openssl rand -base64 32)"
    )]
    Key { variable: &'static str, line: usize, reason: String },
    #[error("cannot read ROSETTA_SECRET_KEY_FILE '{}': {cause}; check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("ROSETTA_SECRET_KEY and ROSETTA_SECRET_KEY_FILE are both set; keep one")]
    TwoSources,
    #[error("the system gives no random numbers: {cause}")]
    NoRandomness { cause: String },
}
