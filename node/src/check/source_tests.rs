use super::*;
use crate::check::{
    report::Level,
    samples::{definitions, table},
    source_facts::Reader,
};
use crate::{config::Publish, pipeline::selection::select};

fn good() -> SourceFacts {
    SourceFacts {
        version: 15,
        wal_level: "logical".to_owned(),
        database: "shop".to_owned(),
        role: "me".to_owned(),
        can_replicate: true,
        can_create: true,
        max_slots: 10,
        max_senders: 10,
        tables: vec![table(1, "orders")],
        owned: [1].into(),
        ..SourceFacts::default()
    }
}

fn found(pipeline: &str, facts: &SourceFacts) -> Vec<String> {
    let definitions = definitions(&format!("tables = [\"public.*\"]\n{pipeline}"));
    let pipelines: Vec<&Pipeline> = definitions.pipelines.iter().collect();
    let mut findings = server_findings("s", &pipelines, facts);
    findings.extend(pipelines.iter().flat_map(|pipeline| {
        let selection = select(pipeline, &facts.tables, Publish::All);
        pipeline_findings(pipeline, &selection, facts)
    }));
    findings.into_iter().filter(|finding| finding.level != Level::Ok).map(|finding| finding.what).collect()
}

#[test]
fn a_good_source_has_no_problem() {
    assert_eq!(found("", &good()), [""; 0]);
}

#[test]
fn each_setting_is_looked_at() {
    let bad = SourceFacts {
        version: 13,
        wal_level: "replica".to_owned(),
        can_replicate: false,
        can_create: false,
        max_slots: 0,
        owned: HashSet::new(),
        ..good()
    };
    assert_eq!(
        found("", &bad),
        [
            "PostgreSQL 13 is not supported",
            "wal_level is replica, which carries no row changes",
            "role me may not replicate",
            "max_replication_slots is 0, 0 are in use, and the pipelines need 1 more",
            "role me may not create publication rosetta_s",
            "role me does not own 1 of the tables, such as public.orders, and cannot publish them",
        ]
    );
}

#[test]
fn an_existing_slot_must_be_ours() {
    let ours = Slot {
        name: "rosetta_p".to_owned(),
        plugin: Some("pgoutput".to_owned()),
        database: Some("shop".to_owned()),
        ..Slot::default()
    };
    let reader = |name: &str| Some(Reader { pid: 7, application_name: Some(name.to_owned()) });
    let cases = [
        (ours.clone(), None),
        (Slot { reader: reader("rosetta:p"), ..ours.clone() }, None),
        (Slot { reader: reader("psql"), ..ours.clone() }, Some("slot rosetta_p is being read by psql (process 7)")),
        (Slot { plugin: None, ..ours.clone() }, Some("slot rosetta_p is physical, not of pgoutput")),
        (Slot { database: Some("b".to_owned()), ..ours.clone() }, Some("slot rosetta_p belongs to database b")),
        (
            Slot { is_lost: true, ..ours.clone() },
            Some("slot rosetta_p is lost: the server removed log that it had not read"),
        ),
    ];
    for (slot, expected) in cases {
        let facts = SourceFacts { slots: vec![slot], max_slots: 1, ..good() };
        assert_eq!(found("", &facts), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_given_publication_must_hold_the_tables() {
    let named = "publication = \"mine\"";
    assert_eq!(found(named, &good()), ["publication \"mine\" does not exist"]);
    let empty = Publication { name: "mine".to_owned(), left_out: vec!["truncate"], ..Publication::default() };
    let facts = SourceFacts { publications: vec![empty.clone()], owned: HashSet::new(), ..good() };
    assert_eq!(
        found(named, &facts),
        [
            "publication \"mine\" does not hold table public.orders",
            "publication \"mine\" leaves out truncate, so the copies will not follow these",
        ]
    );
    let full = Publication { tables: [TableName::new("public", "orders")].into(), left_out: Vec::new(), ..empty };
    let facts = SourceFacts { publications: vec![full], ..facts };
    assert_eq!(found(named, &facts), [""; 0]);
}
