use std::collections::{BTreeSet, HashSet};

use super::{
    SchemaError,
    create::Statement,
    definition::{Attribute, Collation, Definition, Domain, Range, TypeDefinition},
    read::array_literal,
};
use crate::postgres::{Connection, PgError, ident, literal, qualified};

/// What a destination has of the types and collations that a source uses.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// Schema and name of types.
    pub(super) types: HashSet<(String, String)>,
    /// An extension's types that live in another schema than at the source: SQL name there, SQL name here.
    pub(super) moved: Vec<(String, String)>,
    pub(super) collations: HashSet<Collation>,
    pub(super) schemas: HashSet<String>,
}

impl Present {
    /// A type as the source writes it, as the destination must.
    pub(super) fn type_sql(&self, sql: &str) -> String {
        let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['(', '[']);
        let moved = self.moved.iter().find_map(|(from, to)| {
            let rest = sql.strip_prefix(from.as_str()).filter(|rest| is_end(rest))?;
            Some(format!("{to}{rest}"))
        });
        moved.unwrap_or_else(|| sql.to_owned())
    }

    /// An expression as the source writes it, unless it names a type that lives elsewhere here.
    pub(super) fn expression<'a>(&self, sql: Option<&'a str>) -> Option<&'a str> {
        sql.filter(|sql| !self.moved.iter().any(|(from, _)| sql.contains(from.as_str())))
    }

    /// A COLLATE clause, if the collation exists here.
    pub(super) fn collate(&self, collation: Option<&Collation>) -> String {
        let known = collation.filter(|collation| self.collations.contains(collation));
        known.map(|(schema, name)| format!(" COLLATE {}", qualified(schema, name))).unwrap_or_default()
    }
}

/// # Errors
/// What the server says.
pub(super) async fn read_present(destination: &mut Connection, needed: &[TypeDefinition]) -> Result<Present, PgError> {
    let mut present = Present::default();
    for row in destination.simple("SELECT nspname FROM pg_namespace").await? {
        present.schemas.insert(row.text(0)?.to_owned());
    }
    let collations = "SELECT n.nspname, c.collname FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace \
         WHERE c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))";
    for row in destination.simple(collations).await? {
        present.collations.insert((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    }
    let types = "SELECT n.nspname, t.typname, e.extname, format('%I.%I', n.nspname, t.typname) \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
         LEFT JOIN pg_depend m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid AND m.deptype = 'e' \
         LEFT JOIN pg_extension e ON e.oid = m.refobjid WHERE t.typname = ANY ($1::text[])";
    let names = array_literal(needed.iter().map(|needed| needed.name.name.as_str()));
    for row in destination.query(types, &[Some(&names)]).await? {
        let (schema, name, sql) = (row.text(0)?, row.text(1)?, row.text(3)?);
        present.types.insert((schema.to_owned(), name.to_owned()));
        let of_extension = |needed: &&TypeDefinition| {
            let Definition::Extension { name: extension, .. } = &needed.definition else { return false };
            row.get(2) == Some(extension) && needed.name.name == name && needed.name.schema != schema
        };
        for needed in needed.iter().filter(of_extension) {
            present.types.insert((needed.name.schema.clone(), needed.name.name.clone()));
            present.moved.push((needed.sql.clone(), sql.to_owned()));
        }
    }
    Ok(present)
}

/// The types that are not there, and the schemas that they need.
pub(super) fn missing<'a>(needed: &'a [TypeDefinition], present: &Present) -> Vec<&'a TypeDefinition> {
    let is_present = |name: &super::TableName| present.types.contains(&(name.schema.clone(), name.name.clone()));
    needed.iter().filter(|needed| needed.definition != Definition::Derived && !is_present(&needed.name)).collect()
}

/// The schemas that the types are created in.
pub(super) fn schemas(missing: &[&TypeDefinition]) -> BTreeSet<String> {
    let schema = |needed: &&TypeDefinition| match &needed.definition {
        Definition::Extension { schema, .. } => schema.clone(),
        Definition::Enum { .. }
        | Definition::Domain(_)
        | Definition::Composite { .. }
        | Definition::Range(_)
        | Definition::Derived
        | Definition::Other { .. } => needed.name.schema.clone(),
    };
    missing.iter().map(schema).collect()
}

/// # Errors
/// A type that SQL alone cannot make.
pub(super) fn create_type(needed: &TypeDefinition, present: &Present) -> Result<Statement, SchemaError> {
    let name = needed.name.sql();
    let sql = match &needed.definition {
        Definition::Extension { name, schema } => {
            let sql = format!("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE", ident(name), ident(schema));
            let extension = Some((needed.name.to_string(), name.clone()));
            return Ok(Statement { what: format!("extension {name}"), sql, extension });
        }
        Definition::Enum { labels } => {
            let labels = labels.iter().map(|label| literal(label)).collect::<Vec<_>>().join(", ");
            format!("CREATE TYPE {name} AS ENUM ({labels})")
        }
        Definition::Domain(domain) => create_domain(&name, domain, present),
        Definition::Composite { attributes } => {
            let attributes = attributes.iter().map(|attribute| attribute_sql(attribute, present));
            format!("CREATE TYPE {name} AS ({})", attributes.collect::<Vec<_>>().join(", "))
        }
        Definition::Range(range) => create_range(&name, range, present),
        Definition::Derived => return Err(not_creatable(needed, "made with another")),
        Definition::Other { what } => return Err(not_creatable(needed, what)),
    };
    Ok(Statement { what: format!("type {}", needed.name), sql, extension: None })
}

fn not_creatable(needed: &TypeDefinition, what: &str) -> SchemaError {
    SchemaError::Type { name: needed.name.to_string(), what: what.to_owned() }
}

fn create_domain(name: &str, domain: &Domain, present: &Present) -> String {
    let collate = present.collate(domain.collation.as_ref());
    let mut sql = format!("CREATE DOMAIN {name} AS {}{collate}", present.type_sql(&domain.base));
    if let Some(default) = present.expression(domain.default.as_deref()) {
        sql += &format!(" DEFAULT {default}");
    }
    if domain.not_null {
        sql += " NOT NULL";
    }
    for (name, check) in &domain.checks {
        if let Some(check) = present.expression(Some(check)) {
            sql += &format!(" CONSTRAINT {} {check}", ident(name));
        }
    }
    sql
}

fn attribute_sql(attribute: &Attribute, present: &Present) -> String {
    let collate = present.collate(attribute.collation.as_ref());
    format!("{} {}{collate}", ident(&attribute.name), present.type_sql(&attribute.r#type))
}

fn create_range(name: &str, range: &Range, present: &Present) -> String {
    let mut sql = format!("CREATE TYPE {name} AS RANGE (SUBTYPE = {}", present.type_sql(&range.subtype));
    if let Some(opclass) = &range.opclass {
        sql += &format!(", SUBTYPE_OPCLASS = {opclass}");
    }
    if let Some((schema, name)) = range.collation.as_ref().filter(|known| present.collations.contains(known)) {
        sql += &format!(", COLLATION = {}", qualified(schema, name));
    }
    if let Some(difference) = &range.difference {
        sql += &format!(", SUBTYPE_DIFF = {difference}");
    }
    sql + &format!(", MULTIRANGE_TYPE_NAME = {})", range.multirange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TableName;

    fn definition(name: &str, definition: Definition) -> TypeDefinition {
        let (name, sql) = (TableName::new("s", name), format!("s.{name}"));
        TypeDefinition { oid: 1, name, sql, parts: vec![], definition }
    }

    fn sql(needed: Definition, present: &Present) -> String {
        create_type(&definition("t", needed), present).map(|statement| statement.sql).unwrap_or_default()
    }

    #[test]
    fn types_are_made_as_they_are() {
        let present = Present { collations: [("pg_catalog".to_owned(), "C".to_owned())].into(), ..Present::default() };
        let labels = vec!["o'k".to_owned(), "b".to_owned()];
        assert_eq!(sql(Definition::Enum { labels }, &present), "CREATE TYPE \"s\".\"t\" AS ENUM ('o''k', 'b')");
        let domain = Domain {
            base: "text".to_owned(),
            collation: Some(("pg_catalog".to_owned(), "C".to_owned())),
            not_null: true,
            default: Some("'x'::text".to_owned()),
            checks: vec![("short".to_owned(), "CHECK ((length(VALUE) < 9))".to_owned())],
        };
        let expected = "CREATE DOMAIN \"s\".\"t\" AS text COLLATE \"pg_catalog\".\"C\" DEFAULT 'x'::text NOT NULL \
             CONSTRAINT \"short\" CHECK ((length(VALUE) < 9))";
        assert_eq!(sql(Definition::Domain(domain), &present), expected);
        let range = Range {
            subtype: "float8".to_owned(),
            opclass: None,
            difference: Some("pg_catalog.float8mi".to_owned()),
            multirange: "s.tm".to_owned(),
            collation: Some(("public".to_owned(), "unknown".to_owned())),
        };
        let expected = "CREATE TYPE \"s\".\"t\" AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = pg_catalog.float8mi, \
             MULTIRANGE_TYPE_NAME = s.tm)";
        assert_eq!(sql(Definition::Range(range), &present), expected);
    }

    #[test]
    fn an_extension_that_lives_elsewhere_is_found_there() {
        let moved = vec![("public.vector".to_owned(), "extensions.vector".to_owned())];
        let present = Present { moved, ..Present::default() };
        assert_eq!(present.type_sql("public.vector(3)[]"), "extensions.vector(3)[]");
        assert_eq!(present.type_sql("public.vectors"), "public.vectors");
        assert_eq!(present.expression(Some("'[1]'::public.vector")), None);
        assert_eq!(present.expression(Some("1")), Some("1"));
    }

    #[test]
    fn what_sql_cannot_make_is_refused() {
        let needed = definition("t", Definition::Other { what: "the row type of a table".to_owned() });
        let error = create_type(&needed, &Present::default()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("s.t is the row type of a table")));
    }
}
