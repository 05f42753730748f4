use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::frontend,
};

use super::{PgError, PgUrl, ServerError, connection::Connection};

/// Answers the server's authentication requests until it accepts us (PostgreSQL docs, "Message Flow: Start-up").
pub(super) async fn log_in(connection: &mut Connection, url: &PgUrl) -> Result<(), PgError> {
    let refused = |reason: String| PgError::Login { server: url.server(), reason };
    let mut scram: Option<ScramSha256> = None;
    loop {
        let (tag, body) = connection.read_message().await?;
        match tag {
            b'E' => return Err(login_error(url, ServerError::parse(&body))),
            b'R' => {}
            b'v' | b'N' => continue,
            _ => return Err(PgError::protocol(format!("message '{}' while logging in", char::from(tag)))),
        }
        let (kind, rest) = body.split_first_chunk::<4>().ok_or_else(|| PgError::protocol("a short login request"))?;
        let password =
            || url.password.as_deref().ok_or_else(|| refused("it asks for a password and the URL has none".to_owned()));
        let mut answer = BytesMut::new();
        match i32::from_be_bytes(*kind) {
            0 => return Ok(()),
            3 => frontend::password_message(password()?.as_bytes(), &mut answer)?,
            5 => {
                let salt = rest.first_chunk::<4>().ok_or_else(|| PgError::protocol("a short salt"))?;
                let hash = md5_hash(url.user.as_bytes(), password()?.as_bytes(), *salt);
                frontend::password_message(hash.as_bytes(), &mut answer)?;
            }
            10 => {
                if !rest.split(|b| *b == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                    return Err(refused("it offers no SCRAM-SHA-256".to_owned()));
                }
                let client = ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, client.message(), &mut answer)?;
                scram = Some(client);
            }
            11 => {
                let client = scram.as_mut().ok_or_else(|| PgError::protocol("SASL out of order"))?;
                client.update(rest).map_err(|e| refused(e.to_string()))?;
                frontend::sasl_response(client.message(), &mut answer)?;
            }
            12 => {
                let client = scram.as_mut().ok_or_else(|| PgError::protocol("SASL out of order"))?;
                client.finish(rest).map_err(|e| refused(e.to_string()))?;
                continue;
            }
            kind => {
                return Err(refused(format!(
                    "it asks for login method {kind}, which Rosetta does not know (it knows SCRAM, md5 and password)"
                )));
            }
        }
        connection.out().extend_from_slice(&answer);
        connection.flush().await?;
    }
}

/// A server that is starting up or full refuses the login, too: that passes.
fn login_error(url: &PgUrl, error: ServerError) -> PgError {
    let error = PgError::Server(Box::new(error));
    let lasting = error.code().is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501");
    if lasting { PgError::Login { server: url.server(), reason: error.to_string() } } else { error }
}
