//! Request ids: a repeated request is answered as before and does nothing.

use tokio_postgres::{Error, Transaction};

use super::{Answer, CatalogError, Command};
use crate::secret::{Keyring, Place, SecretError, is_sealed};

const MAX_ID_LENGTH: usize = 64;

/// 1 to 64 visible ASCII characters.
pub(super) fn check_id(id: &str) -> Result<(), CatalogError> {
    if (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let reason = "request_id is not usable; use 1 to 64 visible ASCII characters, best a UUID";
    Err(CatalogError::invalid("request_id", reason))
}

/// What a request is recognised by: all of it, and therefore encrypted where there is a key. Without one it holds no
/// password, for such a request has been refused.
pub(super) fn fingerprint(command: &Command, id: &str, keys: &Keyring) -> Result<String, CatalogError> {
    let text = text_of(command)?;
    if keys.is_empty() { Ok(text) } else { Ok(keys.seal(&text, place(id))?) }
}

/// The answer that was given to this request, if it was; another request with its id is an error.
pub(super) fn recognise(
    command: &Command,
    id: &str,
    keys: &Keyring,
    (fingerprint, answer): (String, String),
) -> Result<Answer, CatalogError> {
    let reused = || {
        let reason = format!("request_id {id} was used for another request; give each request an id of its own");
        CatalogError::invalid("request_id", reason)
    };
    let earlier = if is_sealed(&fingerprint) { keys.open(&fingerprint, place(id))? } else { fingerprint };
    if earlier != text_of(command)? {
        return Err(reused());
    }
    serde_json::from_str(&answer).map_err(|_| reused())
}

fn text_of(command: &Command) -> Result<String, CatalogError> {
    serde_json::to_string(command).map_err(|error| CatalogError::invalid("", error.to_string()))
}

fn place(id: &str) -> Place<'_> {
    Place { table: "requests", name: id, field: "fingerprint" }
}

pub(super) async fn earlier(transaction: &Transaction<'_>, id: &str) -> Result<Option<(String, String)>, Error> {
    let query = "select fingerprint, answer::text from rosetta.requests where id = $1";
    let row = transaction.query_opt(query, &[&id]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Remembers an answer, and forgets those of the day before yesterday.
pub(super) async fn remember(
    transaction: &Transaction<'_>,
    id: &str,
    fingerprint: &str,
    answer: &str,
) -> Result<(), Error> {
    transaction.execute("delete from rosetta.requests where at < now() - interval '2 days'", &[]).await?;
    let statement = "insert into rosetta.requests (id, fingerprint, answer) values ($1, $2, $3::text::jsonb)";
    transaction.execute(statement, &[&id, &fingerprint, &answer]).await.map(drop)
}

/// Encrypts what is remembered with the first key; what does not open is forgotten.
pub(super) async fn rotate(transaction: &Transaction<'_>, keys: &Keyring) -> Result<(), Error> {
    for row in transaction.query("select id, fingerprint from rosetta.requests", &[]).await? {
        let (id, fingerprint): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let opened = if is_sealed(&fingerprint) { keys.open(&fingerprint, place(&id)) } else { Ok(fingerprint) };
        let sealed: Result<String, SecretError> = opened.and_then(|text| keys.seal(&text, place(&id)));
        match sealed {
            Ok(sealed) => {
                let statement = "update rosetta.requests set fingerprint = $2 where id = $1";
                transaction.execute(statement, &[&id, &sealed]).await?;
            }
            Err(_) => {
                transaction.execute("delete from rosetta.requests where id = $1", &[&id]).await?;
            }
        }
    }
    Ok(())
}
