//! A thin PostgreSQL client: one connection, no background task, replication and COPY included.
//!
//! Why our own: docs/decisions/0001-own-postgres-client.md.

mod auth;
mod channel_binding;
mod connection;
mod error;
mod frame;
mod query;
mod quote;
mod silence;
mod stream;
mod tls;
mod url;

pub use connection::{Connection, Session};
pub use error::{PgError, ServerError, sqlstate};
pub use frame::{Frame, next_frame};
pub use query::{Row, command_rows};
pub use quote::{ident, literal, qualified};
pub(crate) use tls::client_config as tls_config;
pub use url::{PgUrl, SslMode};
