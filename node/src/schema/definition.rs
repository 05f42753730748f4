use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::{
    TableName,
    read::{json, oid_array},
};
use crate::postgres::{Connection, PgError, Row};

/// A user's type at the source: what it takes to create it elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TypeDefinition {
    pub(super) oid: u32,
    pub(super) name: TableName,
    /// `schema.name` as format_type quotes it.
    pub(super) sql: String,
    /// The user's types that this one is made of.
    pub(super) parts: Vec<u32>,
    pub(super) definition: Definition,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Definition {
    /// Made by CREATE EXTENSION.
    Extension {
        name: String,
        schema: String,
    },
    Enum {
        labels: Vec<String>,
    },
    Domain(Domain),
    Composite {
        attributes: Vec<Attribute>,
    },
    Range(Range),
    /// An array or multirange: made together with its element or range.
    Derived,
    /// Not to be made by plain SQL; says what it is.
    Other {
        what: String,
    },
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Domain {
    pub(super) base: String,
    pub(super) collation: Option<Collation>,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    /// Names and definitions of the checks that hold for all values and call no user's function.
    pub(super) checks: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) r#type: String,
    pub(super) collation: Option<Collation>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Range {
    pub(super) subtype: String,
    /// Qualified SQL names, where they are not the defaults.
    pub(super) opclass: Option<String>,
    pub(super) difference: Option<String>,
    pub(super) multirange: String,
    pub(super) collation: Option<Collation>,
}

/// Schema and name.
pub(super) type Collation = (String, String);

/// The types that each type is made of.
const PARTS: &str = "\
    SELECT t.typelem UNION SELECT t.typbasetype \
     UNION SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid \
     UNION SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid \
     UNION SELECT a.atttypid FROM pg_attribute a \
            WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped";

const DOMAIN: &str = "\
    json_build_object('kind', 'domain', 'base', format_type(t.typbasetype, t.typtypmod), \
        'not_null', t.typnotnull, 'collation', (SELECT json_build_array(cn.nspname, co.collname) \
            FROM pg_type b JOIN pg_collation co ON co.oid = t.typcollation \
            JOIN pg_namespace cn ON cn.oid = co.collnamespace \
           WHERE b.oid = t.typbasetype AND b.typcollation <> t.typcollation), \
        'default', CASE WHEN t.typdefault !~ 'nextval\\(' AND NOT EXISTS (SELECT FROM pg_depend p \
            WHERE p.classid = 'pg_type'::regclass AND p.objid = t.oid AND p.deptype = 'n' \
              AND p.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)) \
            THEN pg_get_expr(t.typdefaultbin, 0) END, \
        'checks', (SELECT coalesce(json_agg(json_build_array(k.conname, pg_get_constraintdef(k.oid)) ORDER BY k.oid), \
            '[]') FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c' AND k.convalidated \
             AND NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_constraint'::regclass \
                 AND p.objid = k.oid AND p.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))))";

const COMPOSITE: &str = "\
    json_build_object('kind', 'composite', 'attributes', (SELECT coalesce(json_agg(json_build_object( \
            'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), \
            'collation', CASE WHEN co.oid IS NOT NULL THEN json_build_array(cn.nspname, co.collname) END) \
            ORDER BY a.attnum), '[]') \
        FROM pg_attribute a JOIN pg_type b ON b.oid = a.atttypid \
        LEFT JOIN pg_collation co ON co.oid = a.attcollation AND a.attcollation <> b.typcollation \
        LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace \
       WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))";

/// A user's subtype_diff is left out: it serves only indexes.
const RANGE: &str = "\
    (SELECT json_build_object('kind', 'range', 'subtype', format_type(r.rngsubtype, NULL), \
        'opclass', (SELECT format('%I.%I', s.nspname, o.opcname) FROM pg_opclass o \
            JOIN pg_namespace s ON s.oid = o.opcnamespace WHERE o.oid = r.rngsubopc AND NOT o.opcdefault), \
        'difference', (SELECT format('%I.%I', s.nspname, f.proname) FROM pg_proc f \
            JOIN pg_namespace s ON s.oid = f.pronamespace \
           WHERE f.oid = r.rngsubdiff AND s.nspname = 'pg_catalog'), \
        'multirange', (SELECT format('%I.%I', s.nspname, m.typname) FROM pg_type m \
            JOIN pg_namespace s ON s.oid = m.typnamespace WHERE m.oid = r.rngmultitypid), \
        'collation', (SELECT json_build_array(s.nspname, co.collname) FROM pg_type b \
            JOIN pg_collation co ON co.oid = r.rngcollation JOIN pg_namespace s ON s.oid = co.collnamespace \
           WHERE b.oid = r.rngsubtype AND b.typcollation <> r.rngcollation)) \
       FROM pg_range r WHERE r.rngtypid = t.oid)";

/// The user's types that the given types are made of, themselves included, each after its parts.
///
/// # Errors
/// What the server says.
pub(super) async fn read_definitions(
    source: &mut Connection,
    oids: impl Iterator<Item = u32>,
) -> Result<Vec<TypeDefinition>, PgError> {
    let oids = oid_array(oids.collect::<HashSet<_>>().into_iter());
    let kinds = kinds();
    let sql = format!(
        "WITH RECURSIVE used(oid) AS ( \
            SELECT o FROM unnest($1::oid[]) o WHERE o >= 16384 UNION \
            SELECT p.part FROM used u JOIN pg_type t ON t.oid = u.oid \
             CROSS JOIN LATERAL ({PARTS}) p(part) WHERE p.part >= 16384) \
         SELECT t.oid, n.nspname, t.typname, format('%I.%I', n.nspname, t.typname), \
            (SELECT coalesce(json_agg(p.part::int8), '[]') FROM ({PARTS}) p(part) WHERE p.part >= 16384), \
            {kinds} \
           FROM used u JOIN pg_type t ON t.oid = u.oid JOIN pg_namespace n ON n.oid = t.typnamespace \
           LEFT JOIN pg_class c ON c.oid = t.typrelid \
           LEFT JOIN pg_depend m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid AND m.deptype = 'e' \
           LEFT JOIN pg_extension e ON e.oid = m.refobjid LEFT JOIN pg_namespace s ON s.oid = e.extnamespace"
    );
    let rows = source.query(&sql, &[Some(&oids)]).await?;
    let found = rows.iter().map(|row| definition(row).map(|found| (found.oid, found)));
    Ok(parts_first(found.collect::<Result<_, _>>()?))
}

/// A type's `Definition`, as an SQL expression.
fn kinds() -> String {
    format!(
        "CASE WHEN e.oid IS NOT NULL \
                THEN json_build_object('kind', 'extension', 'name', e.extname, 'schema', s.nspname) \
            WHEN t.typtype = 'e' THEN json_build_object('kind', 'enum', 'labels', \
                (SELECT coalesce(json_agg(l.enumlabel ORDER BY l.enumsortorder), '[]') \
                FROM pg_enum l WHERE l.enumtypid = t.oid)) \
            WHEN t.typtype = 'd' THEN {DOMAIN} \
            WHEN t.typtype = 'c' AND c.relkind = 'c' THEN {COMPOSITE} \
            WHEN t.typtype = 'c' THEN json_build_object('kind', 'other', 'what', 'the row type of a table') \
            WHEN t.typtype = 'r' AND EXISTS (SELECT FROM pg_range r WHERE r.rngtypid = t.oid \
                AND r.rngcanonical = 0) THEN {RANGE} \
            WHEN t.typtype = 'r' \
                THEN json_build_object('kind', 'other', 'what', 'a range with a canonical function') \
            WHEN t.typtype = 'm' OR t.typinput = 'array_in'::regproc \
                THEN json_build_object('kind', 'derived') \
            ELSE json_build_object('kind', 'other', 'what', 'a base type of no extension') END"
    )
}

fn definition(row: &Row) -> Result<TypeDefinition, PgError> {
    Ok(TypeDefinition {
        oid: row.parse(0)?,
        name: TableName::new(row.text(1)?, row.text(2)?),
        sql: row.text(3)?.to_owned(),
        parts: json(row, 4)?,
        definition: json(row, 5)?,
    })
}

/// The catalog allows no type to be part of itself, so that taking out what is placed ends the descent.
fn parts_first(mut found: BTreeMap<u32, TypeDefinition>) -> Vec<TypeDefinition> {
    let mut ordered = Vec::with_capacity(found.len());
    while let Some((_, next)) = found.pop_first() {
        place(next, &mut found, &mut ordered);
    }
    ordered
}

fn place(next: TypeDefinition, found: &mut BTreeMap<u32, TypeDefinition>, ordered: &mut Vec<TypeDefinition>) {
    for part in &next.parts {
        if let Some(part) = found.remove(part) {
            place(part, found, ordered);
        }
    }
    ordered.push(next);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_first() {
        let of = |oid: u32, parts: &[u32]| TypeDefinition {
            oid,
            name: TableName::new("s", "t"),
            sql: String::new(),
            parts: parts.to_vec(),
            definition: Definition::Derived,
        };
        let found = [of(1, &[3, 2]), of(2, &[4]), of(3, &[]), of(4, &[3]), of(5, &[1, 23])];
        let ordered = parts_first(found.into_iter().map(|t| (t.oid, t)).collect());
        assert_eq!(ordered.iter().map(|t| t.oid).collect::<Vec<_>>(), [3, 4, 2, 1, 5]);
    }
}
