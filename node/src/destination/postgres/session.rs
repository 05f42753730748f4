use crate::postgres::{Connection, PgError, PgUrl, Session};

/// Settings of every session that writes.
///
/// A commit need not wait for the disk, because the source is told only what the destination has flushed.
/// Set operations find rows by key, whatever the statistics say: a generic plan, made once, must not scan.
/// Large values cost much less to compress by LZ4 (measured: docs/BENCHMARKS.md), which the server may lack; a method
/// that somebody chose stays.
const SETTINGS: &str = "SET synchronous_commit = off; SET plan_cache_mode = force_generic_plan; SET jit = off; \
     SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; \
     SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0; \
     SELECT pg_catalog.set_config(name, 'lz4', false) FROM pg_catalog.pg_settings \
     WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals)";

/// The schemas in which functions and operators of the destination's own are looked for, such as those that
/// a domain's check or an index on an expression uses.
const SEARCH_PATH: &str = "public";

/// Opens a session that writes as a replica does: triggers and foreign keys do not fire, when the role may say so.
///
/// # Errors
/// The destination's.
pub async fn open_session(url: &PgUrl, application_name: &str) -> Result<Connection, PgError> {
    let session = Session { search_path: SEARCH_PATH.to_owned(), ..Session::sql(application_name) };
    let mut connection = Connection::connect(url, &session).await?;
    connection.simple(SETTINGS).await?;
    if let Err(error) = connection.simple("SET session_replication_role = replica").await
        && error.code() != Some(crate::postgres::sqlstate::INSUFFICIENT_PRIVILEGE)
    {
        return Err(error);
    }
    Ok(connection)
}
