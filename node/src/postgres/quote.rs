/// A name as an SQL identifier, always quoted.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A text as an SQL literal that reads the same under either setting of standard_conforming_strings.
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_could_break_out() {
        assert_eq!(qualified("a\"b", "c.d"), "\"a\"\"b\".\"c.d\"");
        assert_eq!(literal("o'k"), "'o''k'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }
}
