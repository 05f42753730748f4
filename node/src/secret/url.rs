//! The passwords of a `postgres://` URL, and nothing else of it, are secrets.

use super::keyring::is_sealed;
use super::{Keyring, Place, SecretError};

const HIDDEN: &str = "***";
const PARAMETER: &str = "password=";

/// How a password stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordForm<'a> {
    Plain,
    /// With the key of this id.
    Sealed(&'a str),
}

/// Encrypts the passwords of a URL, those that are encrypted already with the first key anew.
///
/// # Errors
/// There is a password and no key, or one that does not open.
pub fn seal_url(url: &str, place: Place<'_>, keys: &Keyring) -> Result<String, SecretError> {
    map_passwords(url, |password| {
        if password == HIDDEN {
            return Err(SecretError::Redacted { place: place.to_string() });
        }
        match is_sealed(password) {
            true => keys.seal(&keys.open(password, place)?, place),
            false => keys.seal(password, place),
        }
    })
}

/// Decrypts the passwords of a URL; what is not encrypted stays as it is.
///
/// # Errors
/// One does not open.
pub fn open_url(url: &str, place: Place<'_>, keys: &Keyring) -> Result<String, SecretError> {
    map_passwords(url, |password| match is_sealed(password) {
        true => keys.open(password, place),
        false => Ok(password.to_owned()),
    })
}

/// The URL as answers and messages show it.
pub fn redacted_url(url: &str) -> String {
    let hidden: Result<String, std::convert::Infallible> = map_passwords(url, |_| Ok(HIDDEN.to_owned()));
    match hidden {
        Ok(text) => text,
    }
}

/// Whether a password is the `***` of an answer.
pub fn is_redacted(url: &str) -> bool {
    passwords(url).into_iter().any(|(start, end)| url.get(start..end) == Some(HIDDEN))
}

/// How each password of a URL stands there.
pub fn password_forms(url: &str) -> Vec<PasswordForm<'_>> {
    let form = |password| super::key_id(password).map_or(PasswordForm::Plain, PasswordForm::Sealed);
    passwords(url).into_iter().filter_map(|(start, end)| url.get(start..end)).map(form).collect()
}

fn map_passwords<E>(url: &str, replace: impl Fn(&str) -> Result<String, E>) -> Result<String, E> {
    let mut mapped = String::with_capacity(url.len());
    let mut copied = 0;
    for (start, end) in passwords(url) {
        mapped.push_str(url.get(copied..start).unwrap_or_default());
        mapped.push_str(&replace(url.get(start..end).unwrap_or_default())?);
        copied = end;
    }
    mapped.push_str(url.get(copied..).unwrap_or_default());
    Ok(mapped)
}

/// Where the passwords stand, in order: the same reading as `postgres::PgUrl` has. Empty ones are none.
fn passwords(url: &str) -> Vec<(usize, usize)> {
    let authority_start = url.find("://").map_or(0, |colon| colon + 3);
    let query_start = url.find('?').map_or(url.len(), |mark| mark + 1);
    let before_query = url.get(authority_start..query_start).unwrap_or_default().trim_end_matches('?');
    let authority = before_query.split('/').next().unwrap_or_default();
    let mut found = Vec::new();
    if let Some(at) = authority.rfind('@')
        && let Some(colon) = authority.get(..at).and_then(|login| login.find(':'))
    {
        found.push((authority_start + colon + 1, authority_start + at));
    }
    let mut start = query_start;
    for pair in url.get(query_start..).unwrap_or_default().split('&') {
        if pair.starts_with(PARAMETER) {
            found.push((start + PARAMETER.len(), start + pair.len()));
        }
        start += pair.len() + 1;
    }
    found.retain(|(start, end)| start < end);
    found
}

#[cfg(test)]
mod tests {
    use super::super::keyring::tests::{SHOP, one_key};
    use super::*;
    use crate::postgres::PgUrl;

    const URLS: [&str; 6] = [
        "postgres://me:p%40ss@db:5/shop?sslmode=require",
        "postgres://me@db/shop?password=p%40ss&sslmode=require",
        "postgres://me:p:ss@x@db/shop",
        "postgres://me:p#s@/shop?host=/run/a:b@c&port=5",
        "postgres://me@db/shop?application_name=a:b@c",
        "postgres://me:@[::1]:5/shop",
    ];

    #[test]
    fn only_passwords_are_hidden() {
        let hidden = URLS.map(redacted_url);
        let expected = [
            "postgres://me:***@db:5/shop?sslmode=require",
            "postgres://me@db/shop?password=***&sslmode=require",
            "postgres://me:***@db/shop",
            "postgres://me:***@/shop?host=/run/a:b@c&port=5",
            "postgres://me@db/shop?application_name=a:b@c",
            "postgres://me:@[::1]:5/shop",
        ];
        assert_eq!(hidden, expected);
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_url_and_hides_what_the_client_would_send() {
        let keys = one_key();
        for url in URLS {
            let sealed = seal_url(url, SHOP, &keys).unwrap();
            assert_eq!(open_url(&sealed, SHOP, &keys).unwrap(), url);
            assert_eq!(open_url(&seal_url(&sealed, SHOP, &keys).unwrap(), SHOP, &keys).unwrap(), url);
            let (plain, sealed) = (PgUrl::parse(url).unwrap(), PgUrl::parse(&sealed).unwrap());
            assert_eq!((&plain.host, plain.port, &plain.user), (&sealed.host, sealed.port, &sealed.user));
            let password = plain.password.filter(|password| !password.is_empty());
            assert_eq!(password.is_some(), sealed.password.is_some_and(|password| is_sealed(&password)), "{url}");
        }
    }

    #[test]
    fn forms_and_refusals() {
        let keys = one_key();
        let sealed = seal_url(URLS[0], SHOP, &keys).unwrap();
        assert_eq!(password_forms(&sealed), [PasswordForm::Sealed("old")]);
        assert_eq!(password_forms(URLS[1]), [PasswordForm::Plain]);
        assert_eq!(password_forms(URLS[4]), []);
        assert!(matches!(seal_url(URLS[0], SHOP, &Keyring::default()), Err(SecretError::NoKey { .. })));
        assert_eq!(seal_url(URLS[4], SHOP, &Keyring::default()).unwrap(), URLS[4]);
        assert!(matches!(seal_url("postgres://a:***@h/d", SHOP, &keys), Err(SecretError::Redacted { .. })));
    }
}
