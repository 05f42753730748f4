//! Which tables a pipeline copies.

use crate::table_name::{TableName, TableNameError, Token, literal, parse_parts};
use std::fmt;
use std::str::FromStr;

/// The selection of a pipeline: `tables`, and the tables that have an entry of their own.
///
/// A pattern is a table name in which `*` stands for any run of characters and `?` for one, unless quoted; `!` in
/// front excludes. A table is selected by at least one inclusion and no exclusion, in whatever order they stand. A
/// pattern with a wildcard in either part never selects a table of PostgreSQL's own schemas, or of Rosetta's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablePatterns {
    inclusions: Vec<Pattern>,
    exclusions: Vec<Pattern>,
}

impl TablePatterns {
    pub(super) fn include(&mut self, table: TableName) {
        self.inclusions.push(Pattern::Exact(table));
    }

    pub(super) fn add(&mut self, pattern: &str) -> Result<(), TableNameError> {
        match pattern.strip_prefix('!') {
            Some(excluded) => self.exclusions.push(excluded.parse()?),
            None => self.inclusions.push(pattern.parse()?),
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inclusions.is_empty()
    }

    /// Whether the pipeline copies this table.
    pub fn matches(&self, table: &TableName) -> bool {
        self.inclusions.iter().any(|pattern| pattern.selects(table)) && !self.excludes(table)
    }

    /// The tables that are named in full and not excluded: these must exist in the source. Each comes once.
    pub fn exact_names(&self) -> Vec<&TableName> {
        let mut names: Vec<&TableName> = Vec::new();
        for pattern in &self.inclusions {
            if let Pattern::Exact(name) = pattern
                && !self.excludes(name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// The inclusions with a wildcard that select none of these tables, as they could be written.
    pub fn selecting_nothing<'a>(&self, tables: impl Iterator<Item = &'a TableName> + Clone) -> Vec<String> {
        let is_idle = |pattern: &&Pattern| {
            let selects_one = tables.clone().any(|table| pattern.selects(table));
            matches!(pattern, Pattern::Wildcard { .. }) && !selects_one
        };
        self.inclusions.iter().filter(is_idle).map(ToString::to_string).collect()
    }

    pub(super) fn excludes(&self, table: &TableName) -> bool {
        self.exclusions.iter().any(|pattern| pattern.covers(table))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(TableName),
    Wildcard { schema: Vec<Token>, name: Vec<Token> },
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |tokens: &[Token]| -> String {
            let character = |token: &Token| match token {
                Token::Literal(character) => *character,
                Token::One => '?',
                Token::AnyRun => '*',
            };
            tokens.iter().map(character).collect()
        };
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard { schema, name } => write!(f, "{}.{}", text(schema), text(name)),
        }
    }
}

impl FromStr for Pattern {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (schema, name) = parse_parts(text)?;
        Ok(match (literal(&schema), literal(&name)) {
            (Ok(schema), Ok(name)) => Self::Exact(TableName { schema, name }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Self::Wildcard { schema, name },
        })
    }
}

impl Pattern {
    fn covers(&self, table: &TableName) -> bool {
        match self {
            Self::Exact(name) => name == table,
            Self::Wildcard { schema, name } => is_like(schema, &table.schema) && is_like(name, &table.name),
        }
    }

    fn selects(&self, table: &TableName) -> bool {
        match self {
            Self::Exact(name) => name == table,
            Self::Wildcard { .. } => !is_reserved(&table.schema) && self.covers(table),
        }
    }
}

fn is_reserved(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "rosetta") || schema.starts_with("pg_toast")
}

/// Walks both sides once, and goes back to the last run only: earlier runs need not grow once a later one has begun,
/// so the cost is at most the product of both lengths.
fn is_like(tokens: &[Token], text: &str) -> bool {
    let (mut tokens, mut text) = (tokens, text.chars());
    let mut last_run = None;
    loop {
        let mut ahead = text.clone();
        match (tokens.split_first(), ahead.next()) {
            (Some((Token::AnyRun, after)), _) => {
                last_run = Some((after, text.clone()));
                tokens = after;
                continue;
            }
            (Some((Token::One, after)), Some(_)) => {
                (tokens, text) = (after, ahead);
                continue;
            }
            (Some((Token::Literal(wanted), after)), Some(found)) if *wanted == found => {
                (tokens, text) = (after, ahead);
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, Some(_) | None) => {}
        }
        let Some((after, mut longer)) = last_run.take() else { return false };
        if longer.next().is_none() {
            return false;
        }
        last_run = Some((after, longer.clone()));
        (tokens, text) = (after, longer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(texts: &[&str]) -> TablePatterns {
        let mut patterns = TablePatterns::default();
        for text in texts {
            assert_eq!(patterns.add(text), Ok(()), "{text}");
        }
        patterns
    }

    fn matches(texts: &[&str], table: &str) -> bool {
        patterns(texts).matches(&table.parse().expect("a table name"))
    }

    #[test]
    fn patterns_that_select_nothing_are_named() {
        let table: TableName = "public.orders".parse().expect("a table name");
        let patterns = patterns(&["public.*", "s?les.*", "public.gone", "!public.x*"]);
        assert_eq!(patterns.selecting_nothing([&table].into_iter()), ["s?les.*"]);
    }

    #[test]
    fn wildcards_quotes_and_exclusions() {
        assert!(matches(&["public.*", "!public.audit_*"], "orders"));
        assert!(!matches(&["public.*", "!public.audit_*"], "audit_log"));
        assert!(!matches(&["!public.audit_*", "public.*", "public.audit_log"], "audit_log"));
        assert!(matches(&["*"], "orders"));
        assert!(!matches(&["*"], "sales.orders"));
        assert!(matches(&["s*.o?d*s"], "sales.orders"));
        assert!(!matches(&["public.orders?"], "orders"));
        assert!(!matches(&["public.Orders"], "orders"));
        assert!(matches(&[r#"public."a*"*"#], r#""a*bc""#));
        assert!(!matches(&[r#"public."a*"*"#], "abc"));
        assert!(!matches(&[r#"public."*""#], "orders"));
        assert!(matches(&["?"], "é"));
        assert!(!matches(&["!public.a"], "b"));
        assert!(!matches(&[], "b"));
    }

    #[test]
    fn no_wildcard_selects_a_reserved_schema() {
        for schema in ["pg_catalog", "information_schema", "pg_toast", "pg_toast_temp_1", "rosetta"] {
            let table = format!("{schema}.thing");
            assert!(!matches(&["*.*"], &table), "{table}");
            assert!(!matches(&["*.thing"], &table), "{table}");
            assert!(!matches(&[&format!("{schema}.*")], &table), "{table}");
            assert!(matches(&[&table], &table), "{table}");
            assert!(!matches(&[&table, "!*.*"], &table), "{table}");
        }
        assert!(matches(&["*.*"], "rosetta_two.thing"));
    }

    #[test]
    fn exact_names_are_what_must_exist() {
        let mut patterns = patterns(&["b", "public.a*", "public.b", "x.gone", "!x.*", r#""*""#]);
        patterns.include("sales.c".parse().expect("a table name"));
        let names: Vec<String> = patterns.exact_names().into_iter().map(ToString::to_string).collect();
        assert_eq!(names, ["public.b", r#"public."*""#, "sales.c"]);
    }

    #[test]
    fn many_runs_do_not_explode() {
        let text = "a".repeat(5000);
        assert!(!matches(&[&format!("{}b", "*a".repeat(60))], &text));
    }

    fn naive(tokens: &[Token], text: &[char]) -> bool {
        match (tokens.first(), text.first()) {
            (None, None) => true,
            (Some(Token::AnyRun), _) => (0..=text.len()).any(|skipped| naive(&tokens[1..], &text[skipped..])),
            (Some(Token::One), Some(_)) => naive(&tokens[1..], &text[1..]),
            (Some(Token::Literal(wanted)), Some(found)) if wanted == found => naive(&tokens[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn wildcards_agree_with_the_naive_oracle(pattern in r"[abé\*\?]{1,8}", text in "[abé]{0,10}") {
            let (_, tokens) = parse_parts(&pattern).expect("a pattern");
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(is_like(&tokens, &text), naive(&tokens, &characters));
        }

        #[test]
        fn order_does_not_matter(mut texts in proptest::collection::vec(r"!?[ab\*\?]{1,3}", 0..6), name in "[ab]{1,3}") {
            let table = TableName { schema: "public".to_owned(), name };
            let borrowed = |texts: &[String]| patterns(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let forward = borrowed(&texts).matches(&table);
            texts.reverse();
            prop_assert_eq!(borrowed(&texts).matches(&table), forward);
        }

        #[test]
        fn a_displayed_name_is_a_pattern_for_itself_only(name in r#"[ab\*\?\."! ]{0,4}"#, other in r#"[ab\*\?\."! ]{0,4}"#) {
            let name = TableName { schema: "s".to_owned(), name };
            let other = TableName { schema: "s".to_owned(), name: other };
            let selection = patterns(&[&name.to_string()]);
            prop_assert!(selection.matches(&name));
            prop_assert_eq!(selection.matches(&other), name == other);
        }
    }
}
