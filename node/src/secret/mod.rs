//! Secrets at rest: passwords in the config database and in etcd are encrypted with keys that only the nodes have.
//!
//! `postgres://user:enc:v1:<key id>:<nonce and ciphertext>@host/db`: only the password is encrypted, so that a person
//! still sees where a definition leads.

mod error;
mod keyring;
mod url;

pub use error::SecretError;
pub use keyring::{Keyring, Place, is_sealed, key_id};
pub use url::{PasswordForm, is_redacted, open_url, password_forms, redacted_url, seal_url};
