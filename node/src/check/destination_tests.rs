use super::*;
use crate::{
    check::{
        report::Level,
        samples::{column, table},
    },
    config::Publish,
    schema::UniqueIndex,
};

fn good() -> DestinationFacts {
    DestinationFacts {
        version: 15,
        database: "copy".to_owned(),
        role: "me".to_owned(),
        can_create: true,
        can_set_replication_role: true,
        schemas: [("public".to_owned(), SchemaRights::UseAndCreate)].into(),
        ..DestinationFacts::default()
    }
}

fn keyed(table: Table) -> Table {
    let columns = table.primary_key.clone();
    let index = UniqueIndex { name: "key".to_owned(), columns, is_primary: true, is_replica_identity: false };
    Table { unique_indexes: vec![index], ..table }
}

fn found(facts: &DestinationFacts) -> Vec<String> {
    let table = table(1, "orders");
    let route = Route { destination: "d".to_owned(), target: table.table_name(), columns: None };
    let selected = Selected { table, routes: vec![route.clone()], filter: None, publish: Publish::All };
    let mut findings = server_findings("d", facts);
    findings.extend(route_findings("p", &route, &selected, facts));
    findings.into_iter().filter(|finding| finding.level != Level::Ok).map(|finding| finding.what).collect()
}

#[test]
fn a_good_destination_has_no_problem() {
    assert_eq!(found(&good()), [""; 0]);
    assert_eq!(found(&DestinationFacts { tables: vec![keyed(table(5, "orders"))], ..good() }), [""; 0]);
}

#[test]
fn each_right_is_looked_at() {
    let bad = DestinationFacts {
        is_read_only: true,
        can_create: false,
        can_set_replication_role: false,
        schemas: [("public".to_owned(), SchemaRights::Use)].into(),
        ..good()
    };
    assert_eq!(
        found(&bad),
        [
            "transactions are read-only",
            "role me may not create schema rosetta",
            "role me may not set session_replication_role: triggers and foreign keys fire at the destination",
            "role me may not create tables in schema public",
        ]
    );
}

#[test]
fn an_existing_table_must_fit() {
    let mut target = table(5, "orders");
    target.columns = vec![column("id"), crate::schema::Column { not_null: true, ..column("note") }];
    let lacking = [(5, vec!["UPDATE".to_owned(), "TRUNCATE".to_owned()])].into();
    let schemas = [("public".to_owned(), SchemaRights::None)].into();
    let facts = DestinationFacts { tables: vec![target], lacking, schemas, ..good() };
    assert_eq!(
        found(&facts),
        [
            "role me may not use schema public",
            "role me lacks UPDATE, TRUNCATE on table public.orders",
            "table public.orders lacks column total at the destination",
            "table public.orders has column note NOT NULL without a default at the destination, and the source does not send it",
            "table public.orders has no unique index on the source's key (id) at the destination",
        ]
    );
}
