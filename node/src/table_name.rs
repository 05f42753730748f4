//! Table names, and the grammar that they share with the patterns of a file.

use std::fmt;
use std::str::FromStr;

use crate::postgres::qualified;

/// A table's schema and name, exactly as PostgreSQL stores them.
///
/// Written `schema.table`, or `table` for one in `public`. Characters are taken as they stand, without case folding:
/// `My Schema.We"ird`. A part that begins with a double quote lasts to the closing one, so that it may hold dots and
/// wildcards; a double quote inside is doubled: `"My.Schema"."a*b""c"`. [`fmt::Display`] writes what [`FromStr`] reads
/// back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// `"schema"."name"`, for SQL.
    pub fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

/// The schema of a table that is written without one.
const DEFAULT_SCHEMA: &str = "public";

/// Why a text is no table name or no pattern. Its text completes "… is not a table name: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableNameError {
    #[error("a part is empty; write schema.table")]
    EmptyPart,
    #[error("it has more than two parts; write schema.table, and quote a part that holds a dot")]
    TooManyParts,
    #[error("a double quote is not closed; write a double quote inside quotes twice")]
    UnclosedQuote,
    #[error("{0:?} stands outside of double quotes; quote the part that holds it")]
    Unquoted(char),
    #[error("{0:?} is a wildcard, and one table is meant; put patterns into tables, or quote the part")]
    Wildcard(char),
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (schema, name) = parse_parts(text)?;
        Ok(Self { schema: literal(&schema)?, name: literal(&name)? })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_part(f, &self.schema)?;
        f.write_str(".")?;
        write_part(f, &self.name)
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    if is_plain(part) {
        return f.write_str(part);
    }
    write!(f, "\"{}\"", part.replace('"', "\"\""))
}

/// Whether a part means itself without quotes.
fn is_plain(part: &str) -> bool {
    let is_special = |c: char| matches!(c, '.' | '*' | '?') || c.is_control();
    let may_not_begin = |c: char| matches!(c, '"' | '!') || c.is_whitespace();
    !part.is_empty()
        && !part.contains(is_special)
        && !part.starts_with(may_not_begin)
        && !part.ends_with(char::is_whitespace)
}

/// One character of a part, or what may stand for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    AnyRun,
}

pub(crate) fn literal(tokens: &[Token]) -> Result<String, TableNameError> {
    tokens
        .iter()
        .map(|token| match token {
            Token::Literal(character) => Ok(*character),
            Token::One => Err(TableNameError::Wildcard('?')),
            Token::AnyRun => Err(TableNameError::Wildcard('*')),
        })
        .collect()
}

/// Splits `schema.table`; a single part is a table of the default schema.
pub(crate) fn parse_parts(text: &str) -> Result<(Vec<Token>, Vec<Token>), TableNameError> {
    let (first, rest) = parse_part(text)?;
    let Some(rest) = rest else {
        return Ok((DEFAULT_SCHEMA.chars().map(Token::Literal).collect(), first));
    };
    match parse_part(rest)? {
        (second, None) => Ok((first, second)),
        (_, Some(_)) => Err(TableNameError::TooManyParts),
    }
}

/// Reads up to a dot outside of quotes. The rest is `None` where no dot follows.
fn parse_part(text: &str) -> Result<(Vec<Token>, Option<&str>), TableNameError> {
    let mut tokens = Vec::new();
    let mut characters = text.chars();
    let is_quoted = text.starts_with('"');
    if is_quoted {
        characters.next();
        parse_quoted(&mut characters, &mut tokens)?;
    } else if let Some(first) = text.chars().next().filter(|first| *first == '!' || first.is_whitespace()) {
        return Err(TableNameError::Unquoted(first));
    }
    let unquoted = characters.as_str();
    let (unquoted, rest) = match unquoted.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (unquoted, None),
    };
    let last = unquoted.chars().next_back().filter(|last| last.is_whitespace());
    if let Some(stray) = unquoted.chars().find(|c| c.is_control()).or(last) {
        return Err(TableNameError::Unquoted(stray));
    }
    tokens.extend(unquoted.chars().map(|character| match character {
        '*' => Token::AnyRun,
        '?' => Token::One,
        other => Token::Literal(other),
    }));
    if tokens.is_empty() && !is_quoted { Err(TableNameError::EmptyPart) } else { Ok((tokens, rest)) }
}

/// Reads behind an opening quote, up to and including the closing one.
fn parse_quoted(characters: &mut std::str::Chars<'_>, tokens: &mut Vec<Token>) -> Result<(), TableNameError> {
    loop {
        match characters.next() {
            None => return Err(TableNameError::UnclosedQuote),
            Some('"') if characters.as_str().starts_with('"') => {
                characters.next();
                tokens.push(Token::Literal('"'));
            }
            Some('"') => return Ok(()),
            Some(character) => tokens.push(Token::Literal(character)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(schema: &str, name: &str) -> TableName {
        TableName::new(schema, name)
    }

    #[test]
    fn names_as_written() {
        let cases = [
            ("orders", table("public", "orders"), "public.orders"),
            ("Sales.Orders", table("Sales", "Orders"), "Sales.Orders"),
            (r#""My.Schema"."a.b""c""#, table("My.Schema", "a.b\"c"), r#""My.Schema"."a.b""c""#),
            (r#""My Schema".it's"#, table("My Schema", "it's"), "My Schema.it's"),
            (r#"We"ird Schéma.a "b""#, table("We\"ird Schéma", "a \"b\""), r#"We"ird Schéma.a "b""#),
            (r#"a."""b""#, table("a", "\"b"), r#"a."""b""#),
            (r#""public"."orders""#, table("public", "orders"), "public.orders"),
            (r#""a*".b"#, table("a*", "b"), r#""a*".b"#),
            (r#""a.b""#, table("public", "a.b"), r#"public."a.b""#),
            (r#"x."!y""#, table("x", "!y"), r#"x."!y""#),
            ("x.y!", table("x", "y!"), "x.y!"),
            (r#"é.$1-2"#, table("é", "$1-2"), "é.$1-2"),
        ];
        for (text, name, display) in cases {
            assert_eq!(text.parse(), Ok(name.clone()), "{text}");
            assert_eq!(name.to_string(), display);
        }
    }

    #[test]
    fn what_is_no_name() {
        let cases = [
            ("", "a part is empty; write schema.table"),
            (".a", "a part is empty; write schema.table"),
            ("a.", "a part is empty; write schema.table"),
            ("a.b.c", "it has more than two parts; write schema.table, and quote a part that holds a dot"),
            ("a.b.", "it has more than two parts; write schema.table, and quote a part that holds a dot"),
            ("a.\"b", "a double quote is not closed; write a double quote inside quotes twice"),
            ("a. b", "' ' stands outside of double quotes; quote the part that holds it"),
            ("a.b ", "' ' stands outside of double quotes; quote the part that holds it"),
            ("a.\"b\" ", "' ' stands outside of double quotes; quote the part that holds it"),
            ("a.b\nc", "'\\n' stands outside of double quotes; quote the part that holds it"),
            ("a.b\n", "'\\n' stands outside of double quotes; quote the part that holds it"),
            ("!a", "'!' stands outside of double quotes; quote the part that holds it"),
            ("a.*", "'*' is a wildcard, and one table is meant; put patterns into tables, or quote the part"),
            ("a?.b", "'?' is a wildcard, and one table is meant; put patterns into tables, or quote the part"),
        ];
        for (text, message) in cases {
            let error = text.parse::<TableName>().map_err(|error| error.to_string());
            assert_eq!(error, Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_is_read_back(schema in r#"[a-cA\.\"\*\?! \n\té]{0,6}|\PC{0,6}"#, name in r#"[a-cA\.\"\*\?! \n\té]{0,6}|\PC{0,6}"#) {
            let name = TableName { schema, name };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn what_is_read_keeps_its_meaning(text in r#"[ab\.\"]{0,8}"#) {
            if let Ok(name) = text.parse::<TableName>() {
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }
    }
}
