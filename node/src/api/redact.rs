/// What stands in a URL where its password was.
pub(super) const REDACTED: &str = "***";

/// The URL without its password, wherever PostgreSQL takes one from.
pub(super) fn redact(url: &str) -> String {
    let (main, query) = url.split_once('?').map_or((url, None), |(main, query)| (main, Some(query)));
    let main = match main.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", redact_login(rest)),
        None => redact_login(main),
    };
    match query {
        Some(query) => format!("{main}?{}", query.split('&').map(redact_parameter).collect::<Vec<_>>().join("&")),
        None => main,
    }
}

/// `user:password@host…`: the last @ before the path ends the login, as the parser of URLs has it.
fn redact_login(rest: &str) -> String {
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let Some((login, address)) = authority.rsplit_once('@') else { return rest.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{user}:{REDACTED}@{address}{path}"),
        None => rest.to_owned(),
    }
}

fn redact_parameter(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key @ "password", _)) => format!("{key}={REDACTED}"),
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left() {
        let cases = [
            ("postgres://u:p@h:1/d", "postgres://u:***@h:1/d"),
            ("postgres://u:p:q@r@h/d?sslmode=require", "postgres://u:***@h/d?sslmode=require"),
            ("postgres://u@h/d?password=p&user=v", "postgres://u@h/d?password=***&user=v"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("u:p@h", "u:***@h"),
        ];
        for (url, expected) in cases {
            assert_eq!(redact(url), expected);
        }
    }
}
