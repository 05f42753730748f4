//! `${NAME}` in string values.
//!
//! The environment is read after TOML has been parsed, so that no value, whatever quotes or line breaks it has, can
//! change the meaning of the file. `$$` stands for one `$`; any other `$` stands for itself.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::ops::Range;

/// All but the characters that RFC 3986 calls unreserved.
const USERINFO: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotSet(String),
    NotAName(String),
    Unclosed,
}

/// Replaces each `${NAME}` by the variable's value, as it is.
pub(super) fn expand(template: &str, environment: Lookup<'_>) -> Result<String, Fault> {
    expand_with(template, environment, |_, value| value)
}

/// As [`expand`], but a value that lands in the user or the password of a URL is percent-encoded, so that any password
/// can be given as it is. Values elsewhere, and a URL that is one whole `${NAME}`, are taken as they are.
pub(super) fn expand_url(template: &str, environment: Lookup<'_>) -> Result<String, Fault> {
    let userinfo = userinfo(template);
    expand_with(template, environment, |offset, value| match &userinfo {
        Some(userinfo) if userinfo.contains(&offset) => utf8_percent_encode(&value, USERINFO).to_string(),
        Some(_) | None => value,
    })
}

/// What stands between `//` and the last `@` of the authority, as byte offsets.
fn userinfo(template: &str) -> Option<Range<usize>> {
    let start = template.find("//")? + 2;
    let authority = template.get(start..)?.split(['/', '?', '#']).next()?;
    Some(start..start + authority.rfind('@')?)
}

fn expand_with(
    template: &str,
    environment: Lookup<'_>,
    place_value: impl Fn(usize, String) -> String,
) -> Result<String, Fault> {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(reference) = after.strip_prefix('{') {
            let (name, after) = reference.split_once('}').ok_or(Fault::Unclosed)?;
            let offset = template.len() - after.len();
            expanded.push_str(&place_value(offset - 1, variable(name, environment)?));
            after
        } else {
            expanded.push('$');
            after
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(name: &str, environment: Lookup<'_>) -> Result<String, Fault> {
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name {
        return Err(Fault::NotAName(name.to_owned()));
    }
    environment(name).ok_or_else(|| Fault::NotSet(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "USER" => Some("me".to_owned()),
            "PASSWORD" => Some("p@ss:w/o?r#d%\"$x é".to_owned()),
            "EMPTY" => Some(String::new()),
            "URL" => Some("postgres://a:b%40@h/d".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_and_dollars() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("${USER}", "me"),
            ("<${USER}${USER}>${EMPTY}", "<meme>"),
            ("$${USER}", "${USER}"),
            ("$$${USER}", "$me"),
            ("name ~ '^a$'", "name ~ '^a$'"),
            ("$USER", "$USER"),
            ("é${PASSWORD}", "ép@ss:w/o?r#d%\"$x é"),
        ];
        for (template, expected) in cases {
            assert_eq!(expand(template, &environment).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn faults() {
        assert_eq!(expand("${NONE}", &environment), Err(Fault::NotSet("NONE".to_owned())));
        assert_eq!(expand("${}", &environment), Err(Fault::NotAName(String::new())));
        assert_eq!(expand("${USER:-x}", &environment), Err(Fault::NotAName("USER:-x".to_owned())));
        assert_eq!(expand("${1A}", &environment), Err(Fault::NotAName("1A".to_owned())));
        assert_eq!(expand("a${USER", &environment), Err(Fault::Unclosed));
    }

    #[test]
    fn only_the_userinfo_of_a_url_is_encoded() {
        let encoded = "p%40ss%3Aw%2Fo%3Fr%23d%25%22%24x%20%C3%A9";
        let cases = [
            ("postgres://${USER}:${PASSWORD}@h/d", format!("postgres://me:{encoded}@h/d")),
            ("postgres://${PASSWORD}@h", format!("postgres://{encoded}@h")),
            ("postgres://u@x:${PASSWORD}@h/d", format!("postgres://u@x:{encoded}@h/d")),
            ("postgres://h/d?user=@${URL}", "postgres://h/d?user=@postgres://a:b%40@h/d".to_owned()),
            ("postgres://u:p%40@${USER}/${USER}?a=@b", "postgres://u:p%40@me/me?a=@b".to_owned()),
            ("${URL}", "postgres://a:b%40@h/d".to_owned()),
            ("${URL}?sslmode=require", "postgres://a:b%40@h/d?sslmode=require".to_owned()),
        ];
        for (template, expected) in cases {
            assert_eq!(expand_url(template, &environment), Ok(expected), "{template}");
        }
    }
}
