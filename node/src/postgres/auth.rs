use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::frontend,
};

use super::{PgError, PgUrl, ServerError, channel_binding::server_end_point, connection::Connection, url::Binding};

/// Answers the server's authentication requests until it accepts us (PostgreSQL docs, "Message Flow: Start-up").
pub(super) async fn log_in(connection: &mut Connection, url: &PgUrl) -> Result<(), PgError> {
    let end_point = connection.certificate().and_then(server_end_point);
    let mut login = Login { url, is_tls: connection.certificate().is_some(), end_point, scram: None, is_bound: false };
    loop {
        let (tag, body) = connection.read_message().await?;
        match tag {
            b'E' => return Err(login_error(url, ServerError::parse(&body))),
            b'R' => {}
            b'v' | b'N' => continue,
            _ => return Err(PgError::protocol(format!("message '{}' while logging in", char::from(tag)))),
        }
        let (kind, rest) = body.split_first_chunk::<4>().ok_or_else(|| PgError::protocol("a short login request"))?;
        let answer = match i32::from_be_bytes(*kind) {
            0 => return login.accepted(),
            12 => {
                login.finish(rest)?;
                continue;
            }
            kind => login.answer(kind, rest)?,
        };
        connection.out().extend_from_slice(&answer);
        connection.flush().await?;
    }
}

struct Login<'a> {
    url: &'a PgUrl,
    is_tls: bool,
    /// What ties the login to the TLS connection; None without TLS.
    end_point: Option<Vec<u8>>,
    scram: Option<ScramSha256>,
    /// The server has proven that it knows the password, and that it holds the other end of the TLS connection.
    is_bound: bool,
}

impl Login<'_> {
    fn answer(&mut self, kind: i32, request: &[u8]) -> Result<BytesMut, PgError> {
        let mut answer = BytesMut::new();
        match kind {
            3 | 5 if self.url.channel_binding == Binding::Require => return Err(self.unbound()),
            3 => frontend::password_message(self.password()?, &mut answer)?,
            5 => {
                let salt = request.first_chunk::<4>().ok_or_else(|| PgError::protocol("a short salt"))?;
                let hash = md5_hash(self.url.user.as_bytes(), self.password()?, *salt);
                frontend::password_message(hash.as_bytes(), &mut answer)?;
            }
            10 => self.begin_scram(request, &mut answer)?,
            11 => {
                let client = self.scram.as_mut().ok_or_else(|| PgError::protocol("SASL out of order"))?;
                client.update(request).map_err(|e| refused(self.url, e.to_string()))?;
                frontend::sasl_response(client.message(), &mut answer)?;
            }
            kind => {
                let reason = format!(
                    "it asks for login method {kind}, which Rosetta does not know (it knows SCRAM, md5 and password)"
                );
                return Err(refused(self.url, reason));
            }
        }
        Ok(answer)
    }

    fn begin_scram(&mut self, offered: &[u8], answer: &mut BytesMut) -> Result<(), PgError> {
        let offers = |name: &str| offered.split(|b| *b == 0).any(|offer| offer == name.as_bytes());
        let end_point = self.end_point.take().filter(|_| self.url.channel_binding != Binding::Disable);
        let (method, binding) = match end_point {
            Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
            }
            // The server learns that we could, and refuses if somebody in between took its offer away.
            Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        if method != SCRAM_SHA_256_PLUS && self.url.channel_binding == Binding::Require {
            return Err(self.unbound());
        }
        if !offers(method) {
            return Err(refused(self.url, "it offers no SCRAM-SHA-256".to_owned()));
        }
        self.is_bound = method == SCRAM_SHA_256_PLUS;
        let client = ScramSha256::new(self.password()?, binding);
        frontend::sasl_initial_response(method, client.message(), answer)?;
        self.scram = Some(client);
        Ok(())
    }

    fn finish(&mut self, proof: &[u8]) -> Result<(), PgError> {
        let mut client = self.scram.take().ok_or_else(|| PgError::protocol("SASL out of order"))?;
        client.finish(proof).map_err(|e| refused(self.url, e.to_string()))
    }

    /// Whether the server may let us in: not before it has answered a SCRAM that we began.
    fn accepted(&self) -> Result<(), PgError> {
        if self.scram.is_some() {
            return Err(refused(self.url, "it did not prove that it knows the password".to_owned()));
        }
        if self.url.channel_binding == Binding::Require && !self.is_bound {
            return Err(self.unbound());
        }
        Ok(())
    }

    fn password(&self) -> Result<&[u8], PgError> {
        let missing = || refused(self.url, "it asks for a password and the URL has none".to_owned());
        Ok(self.url.password.as_ref().ok_or_else(missing)?.as_bytes())
    }

    fn unbound(&self) -> PgError {
        let why = if self.is_tls { "the server's login does not offer it" } else { "the connection has no TLS" };
        refused(self.url, format!("the URL says channel_binding=require, and {why}"))
    }
}

fn refused(url: &PgUrl, reason: String) -> PgError {
    PgError::Login { server: url.server(), reason }
}

/// A server that is starting up or full refuses the login, too: that passes.
fn login_error(url: &PgUrl, error: ServerError) -> PgError {
    let error = PgError::Server(Box::new(error));
    let lasting = error.code().is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501");
    if lasting { refused(url, error.to_string()) } else { error }
}
