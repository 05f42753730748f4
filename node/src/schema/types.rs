use std::collections::HashMap;

/// How a value can cross between servers byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The binary format is exact and holds no OID that means something else in another database.
    Binary,
    Text,
}

/// pg_type.typtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    Base,
    Composite,
    Domain,
    Enum,
    Range,
    Multirange,
    Pseudo,
}

/// The part of a pg_type row that decides how its values cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub kind: TypeKind,
    /// pg_type.typcategory.
    pub category: char,
    /// A true array: its binary form is array_send's, which names the element by OID.
    pub is_array: bool,
    /// The element of an array; 0 for none.
    pub element: u32,
    /// What a domain is over; 0 for none.
    pub base: u32,
    /// The subtype of a range or multirange; 0 for none.
    pub subtype: u32,
    /// pg_type.typarray; 0 for none.
    pub array: u32,
    /// Whether the type has a send function.
    pub has_send: bool,
    /// The extension that the type belongs to.
    pub extension: Option<String>,
}

/// Types by OID, with all that they are made of.
#[derive(Clone, Debug, Default)]
pub struct Types(pub HashMap<u32, TypeInfo>);

/// OIDs below are assigned by hand and for good (PostgreSQL, access/transam.h: FirstGenbkiObjectId); those
/// from here to 16383 differ between major versions.
const FIRST_UNSTABLE_OID: u32 = 10_000;
/// PostgreSQL, access/transam.h: FirstNormalObjectId.
const FIRST_USER_OID: u32 = 16_384;
/// `"char"`, of category Z like the internal types, but with a plain value.
const CHAR: u32 = 18;

/// Built-in types whose binary value is an OID of this very database, or is not read back as it was written.
const NOT_PORTABLE: [&str; 14] = [
    "regclass",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regtype",
    "regrole",
    "regnamespace",
    "regconfig",
    "regdictionary",
    "regcollation",
    "regdatabase", // from PostgreSQL 19
    "tsquery",     // tsqueryrecv refuses the empty query that tsquerysend sends
    "xml",         // xml_recv re-reads the encoding declaration that xml_send rewrites
];

/// Extension types whose binary form holds nothing of its database: (extension, type).
const PORTABLE_EXTENSION_TYPES: [(&str, &str); 7] = [
    ("citext", "citext"),
    ("hstore", "hstore"),
    ("ltree", "ltree"),
    ("ltree", "lquery"),
    ("ltree", "ltxtquery"),
    ("vector", "vector"),
    ("vector", "halfvec"),
];

impl Types {
    /// How values of the type cross. A type that is not known crosses as text.
    pub fn transfer(&self, oid: u32) -> Transfer {
        self.0.get(&oid).map_or(Transfer::Text, |found| self.transfer_of(found))
    }

    fn transfer_of(&self, found: &TypeInfo) -> Transfer {
        match found.kind {
            TypeKind::Base if found.is_array => self.transfer_of_array(found),
            TypeKind::Base if is_portable_base(found) => Transfer::Binary,
            TypeKind::Enum => Transfer::Binary, // enum_send sends the label
            TypeKind::Domain => self.transfer(found.base),
            TypeKind::Range | TypeKind::Multirange => self.transfer(found.subtype),
            // record_send names each column's type by OID.
            TypeKind::Base | TypeKind::Composite | TypeKind::Pseudo => Transfer::Text,
        }
    }

    fn transfer_of_array(&self, array: &TypeInfo) -> Transfer {
        match self.0.get(&array.element) {
            Some(element) if element.oid < FIRST_UNSTABLE_OID => self.transfer_of(element),
            Some(_) | None => Transfer::Text,
        }
    }
}

fn is_portable_base(found: &TypeInfo) -> bool {
    if !found.has_send {
        return false;
    }
    if found.oid >= FIRST_USER_OID {
        let extension = found.extension.as_deref().unwrap_or_default();
        return PORTABLE_EXTENSION_TYPES.contains(&(extension, found.name.as_str()));
    }
    let is_internal = found.category == 'Z' && found.oid != CHAR;
    !is_internal && !NOT_PORTABLE.contains(&found.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT4: u32 = 23;
    const TEXT: u32 = 25;
    const REGCLASS: u32 = 2205;

    fn base(oid: u32, name: &str) -> TypeInfo {
        TypeInfo {
            oid,
            schema: "pg_catalog".to_owned(),
            name: name.to_owned(),
            kind: TypeKind::Base,
            category: 'U',
            is_array: false,
            element: 0,
            base: 0,
            subtype: 0,
            array: 0,
            has_send: true,
            extension: None,
        }
    }

    fn user(oid: u32, kind: TypeKind) -> TypeInfo {
        TypeInfo { kind, schema: "public".to_owned(), ..base(oid, "mine") }
    }

    fn array(oid: u32, element: u32) -> TypeInfo {
        TypeInfo { is_array: true, element, category: 'A', ..base(oid, "_x") }
    }

    fn transfer(found: TypeInfo) -> Transfer {
        let built_in = [base(INT4, "int4"), base(TEXT, "text"), base(REGCLASS, "regclass")];
        let others = [user(20_000, TypeKind::Enum), user(20_001, TypeKind::Composite), array(1007, INT4)];
        let domains = [TypeInfo { base: REGCLASS, ..user(20_002, TypeKind::Domain) }];
        let information_schema = [TypeInfo { base: TEXT, ..user(13_000, TypeKind::Domain) }];
        let all = built_in.into_iter().chain(others).chain(domains).chain(information_schema);
        let mut types = Types(all.map(|t| (t.oid, t)).collect());
        let oid = found.oid;
        types.0.insert(oid, found);
        types.transfer(oid)
    }

    #[test]
    fn built_in_types_are_binary_unless_they_name_objects() {
        assert_eq!(transfer(base(INT4, "int4")), Transfer::Binary);
        assert_eq!(transfer(base(REGCLASS, "regclass")), Transfer::Text);
        assert_eq!(transfer(base(142, "xml")), Transfer::Text);
        assert_eq!(transfer(base(3615, "tsquery")), Transfer::Text);
        assert_eq!(transfer(TypeInfo { has_send: false, ..base(1033, "aclitem") }), Transfer::Text);
    }

    #[test]
    fn internal_types_are_text_but_char_is_not_internal() {
        assert_eq!(transfer(TypeInfo { category: 'Z', ..base(CHAR, "char") }), Transfer::Binary);
        assert_eq!(transfer(TypeInfo { category: 'Z', ..base(194, "pg_node_tree") }), Transfer::Text);
    }

    #[test]
    fn arrays_name_their_element_so_it_must_be_the_same_everywhere() {
        assert_eq!(transfer(array(1007, INT4)), Transfer::Binary);
        assert_eq!(transfer(array(2210, REGCLASS)), Transfer::Text);
        assert_eq!(transfer(array(20_010, 20_000)), Transfer::Text, "of an enum");
        assert_eq!(transfer(array(13_001, 13_000)), Transfer::Text, "of a domain in information_schema");
    }

    #[test]
    fn made_up_types_are_as_portable_as_their_parts() {
        assert_eq!(transfer(user(20_000, TypeKind::Enum)), Transfer::Binary);
        assert_eq!(transfer(user(20_001, TypeKind::Composite)), Transfer::Text);
        assert_eq!(transfer(TypeInfo { base: 1007, ..user(20_011, TypeKind::Domain) }), Transfer::Binary);
        assert_eq!(transfer(TypeInfo { base: 20_002, ..user(20_011, TypeKind::Domain) }), Transfer::Text);
        assert_eq!(transfer(TypeInfo { subtype: TEXT, ..user(20_011, TypeKind::Range) }), Transfer::Binary);
        assert_eq!(transfer(TypeInfo { subtype: 20_001, ..user(20_011, TypeKind::Multirange) }), Transfer::Text);
    }

    #[test]
    fn extension_types_are_binary_only_when_known() {
        let of = |extension: &str, name: &str| TypeInfo {
            extension: Some(extension.to_owned()),
            name: name.to_owned(),
            ..user(20_020, TypeKind::Base)
        };
        assert_eq!(transfer(of("citext", "citext")), Transfer::Binary);
        assert_eq!(transfer(of("postgis", "geometry")), Transfer::Text);
        assert_eq!(transfer(TypeInfo { has_send: false, ..of("ltree", "ltree") }), Transfer::Text, "an old version");
        assert_eq!(transfer(user(20_020, TypeKind::Base)), Transfer::Text);
    }
}
