use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::PgError;

/// libpq's sslmode (PostgreSQL docs, "SSL Mode Descriptions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// libpq's channel_binding: whether a login is tied to the TLS connection that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    Disable,
    /// Where the server offers it.
    Prefer,
    Require,
}

/// Where a server is and how to log in: a parsed `postgres://` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct PgUrl {
    /// A host name or address, or a folder that holds a Unix socket when it begins with '/'.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub database: String,
    pub ssl_mode: SslMode,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ssl_root_cert: Option<PathBuf>,
    pub channel_binding: Binding,
}

impl std::fmt::Debug for PgUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.server())
    }
}

impl PgUrl {
    /// Parses `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…&host=/folder&port=…`.
    ///
    /// # Errors
    /// A URL that is not of this form, or a parameter that is not known. The message holds no password.
    pub fn parse(url: &str) -> Result<PgUrl, PgError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| refused(url, "it must begin with postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decode(url, password)?)),
            None => (login, None),
        };
        let (host, port) = split_address(url, address)?;
        let mut parsed = PgUrl {
            host: decode(url, host)?,
            port,
            user: decode(url, user)?,
            password,
            database: decode(url, database)?,
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            channel_binding: Binding::Prefer,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| refused(url, &unreadable("a parameter has no value")))?;
            parsed.set(url, key, decode(url, value)?)?;
        }
        parsed.fill_defaults(url)
    }

    fn set(&mut self, url: &str, key: &str, value: String) -> Result<(), PgError> {
        match key {
            "host" => self.host = value,
            "port" => self.port = value.parse().map_err(|_| refused(url, &format!("'{value}' is not a port")))?,
            "user" => self.user = value,
            "password" => self.password = Some(value),
            "dbname" => self.database = value,
            "sslmode" => self.ssl_mode = ssl_mode(url, &value)?,
            "sslrootcert" => self.ssl_root_cert = Some(value.into()),
            "channel_binding" => self.channel_binding = binding(url, &value)?,
            // What Rosetta decides for itself: accepted, so that a URL made for psql can be used as it is.
            "application_name" | "connect_timeout" | "target_session_attrs" | "gssencmode" => {}
            _ => {
                let known = "host, port, user, password, dbname, sslmode, sslrootcert, channel_binding";
                return Err(refused(url, &format!("'{key}' is not a known parameter; known are {known}")));
            }
        }
        Ok(())
    }

    fn fill_defaults(mut self, url: &str) -> Result<PgUrl, PgError> {
        if self.host.is_empty() {
            self.host = "localhost".to_owned();
        }
        if self.user.is_empty() {
            return Err(refused(url, "it names no user (postgres://USER@HOST/DATABASE)"));
        }
        if self.database.is_empty() {
            self.database.clone_from(&self.user);
        }
        Ok(self)
    }

    /// The server and database as a person would name them; no secret in it.
    pub fn server(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.database)
    }

    pub fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

fn ssl_mode(url: &str, value: &str) -> Result<SslMode, PgError> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            let known = "disable, allow, prefer, require, verify-ca, verify-full";
            return Err(refused(url, &format!("sslmode '{value}' is not one of {known}")));
        }
    })
}

fn binding(url: &str, value: &str) -> Result<Binding, PgError> {
    match value {
        "disable" => Ok(Binding::Disable),
        "prefer" => Ok(Binding::Prefer),
        "require" => Ok(Binding::Require),
        _ => Err(refused(url, &format!("channel_binding '{value}' is not one of disable, prefer, require"))),
    }
}

/// Host and port of `host`, `host:port`, `[::1]:port`.
fn split_address<'a>(url: &str, address: &'a str) -> Result<(&'a str, u16), PgError> {
    let bad = || refused(url, &unreadable("what stands before the database is not host:port"));
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(bad)?;
        let port = port.strip_prefix(':').map_or(Ok(5432), str::parse).map_err(|_| bad())?;
        return Ok((host, port));
    }
    match address.split_once(':') {
        Some((host, port)) => Ok((host, port.parse().map_err(|_| bad())?)),
        None => Ok((address, 5432)),
    }
}

fn decode(url: &str, text: &str) -> Result<String, PgError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| refused(url, "it is not UTF-8 when decoded"))?;
    if decoded.contains('\0') {
        return Err(refused(url, "it holds a zero byte"));
    }
    Ok(decoded.into_owned())
}

/// What was taken for an address or a parameter may be a part of a password that was not encoded: it is not shown.
fn unreadable(cause: &str) -> String {
    format!("{cause}; in a user or a password write / as %2F, ? as %3F and @ as %40")
}

/// The error without the URL's password.
fn refused(url: &str, reason: &str) -> PgError {
    PgError::Url { url: without_password(url), reason: reason.to_owned() }
}

fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let shown = match rest.rsplit_once('@') {
        Some((login, rest)) => format!("{}@{rest}", login.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let shown = shown.split("password=").next().unwrap_or_default();
    if scheme.is_empty() { shown.to_owned() } else { format!("{scheme}://{shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url = PgUrl::parse("postgres://us%40er:p%3Aw@db.example:6543/sh%2Fop?sslmode=verify-full").unwrap();
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("us@er", Some("p:w")));
        assert_eq!((url.host.as_str(), url.port, url.database.as_str()), ("db.example", 6543, "sh/op"));
        assert_eq!(url.ssl_mode, SslMode::VerifyFull);
    }

    #[test]
    fn a_unix_socket_is_a_folder() {
        let url = PgUrl::parse("postgres://me@/db?host=/run/pg&port=5433").unwrap();
        assert!(url.is_unix_socket());
        assert_eq!((url.host.as_str(), url.port), ("/run/pg", 5433));
        assert_eq!(PgUrl::parse("postgresql://me@[::1]:7/db").unwrap().host, "::1");
    }

    #[test]
    fn errors_name_the_cause_and_hide_the_password() {
        for bad in [
            "mysql://a:secret@b/c",
            "postgres://a:secret@b:x/c",
            "postgres://a:secret@b/c?sslmode=maybe",
            "postgres://a:secret/more@b/c",
            "postgres://a:1?secret@b/c",
        ] {
            let message = PgUrl::parse(bad).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(PgUrl::parse("postgres://host/db").unwrap_err().to_string().contains("names no user"));
    }
}
