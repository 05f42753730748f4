use std::{collections::BTreeSet, fmt::Write, path::Path};

use rosetta_proto::Lsn;
use tokio::time::Instant;

use super::{
    Sheet,
    names::{ALL, Kind},
    tell_pipelines, tell_process,
};
use crate::pipeline::status::{Figures, SlotUse, State, Status};

const BEGIN: &str = "<!-- from node/src/metrics/names.rs -->\n";

/// The table of docs/METRICS.md.
fn table() -> String {
    let mut table = String::from("| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n");
    for metric in ALL {
        let labels = if metric.labels.is_empty() { String::new() } else { format!("`{}`", metric.labels.join("`, `")) };
        let _ = writeln!(table, "| `{}` | {} | {labels} | {} |", metric.name, metric.kind.name(), metric.help);
    }
    table
}

#[test]
fn the_documentation_has_every_metric_as_it_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let documented = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once("\n\n")).map(|(table, _)| table);
    let table = table();
    assert_eq!(documented, Some(table.trim_end()), "put this below {BEGIN}{table}");
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len(), "a name is there twice");
    for metric in ALL {
        let name = metric.name;
        assert!(name.starts_with("rosetta_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert!(!metric.help.contains('|') && !metric.help.ends_with('.'), "{name}");
    }
}

fn figures() -> Figures {
    let mut figures = Status::new("orders").figures();
    figures.state = State::Running;
    figures.dead_letters = 3;
    figures.changes = 7;
    figures.write_micros = 1_500_000;
    (figures.committed_lsn, figures.source_lsn, figures.lag_ms) = (Lsn(100), Lsn(350), 1250);
    figures.failures.fenced = 2;
    figures.latency.record(900, 4);
    figures.latency.record(2_500_000, 1);
    figures.slot = Some(SlotUse { retained: 4096, safe: None, seen: Instant::now() });
    figures
}

#[test]
fn a_pipeline_is_told_with_all_its_figures() {
    let mut sheet = Sheet::blank();
    tell_pipelines(&mut sheet, &[("orders".to_owned(), figures()), ("x\"y".to_owned(), Status::new("x").figures())]);
    let text = sheet.render();
    for line in [
        "# TYPE rosetta_pipeline_changes_total counter",
        "rosetta_pipeline_up{pipeline=\"orders\"} 1",
        "rosetta_pipeline_up{pipeline=\"x\\\"y\"} 0",
        "rosetta_pipeline_state{pipeline=\"orders\",state=\"degraded\"} 1",
        "rosetta_pipeline_state{pipeline=\"orders\",state=\"running\"} 0",
        "rosetta_pipeline_changes_total{pipeline=\"orders\"} 7",
        "rosetta_pipeline_lag_bytes{pipeline=\"orders\"} 250",
        "rosetta_pipeline_lag_seconds{pipeline=\"orders\"} 1.25",
        "rosetta_pipeline_errors_total{pipeline=\"orders\",class=\"fenced\"} 2",
        "rosetta_pipeline_dead_letters{pipeline=\"orders\"} 3",
        "rosetta_slot_retained_wal_bytes{pipeline=\"orders\"} 4096",
        "rosetta_pipeline_batch_write_seconds_total{pipeline=\"orders\"} 1.5",
        "# TYPE rosetta_pipeline_commit_latency_seconds histogram",
        "rosetta_pipeline_commit_latency_seconds_bucket{pipeline=\"orders\",le=\"0.001\"} 4",
        "rosetta_pipeline_commit_latency_seconds_bucket{pipeline=\"orders\",le=\"2\"} 4",
        "rosetta_pipeline_commit_latency_seconds_bucket{pipeline=\"orders\",le=\"3\"} 5",
        "rosetta_pipeline_commit_latency_seconds_bucket{pipeline=\"orders\",le=\"+Inf\"} 5",
        "rosetta_pipeline_commit_latency_seconds_count{pipeline=\"orders\"} 5",
        "rosetta_pipeline_commit_latency_seconds_sum{pipeline=\"orders\"} 2.5036",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    assert!(!text.contains("rosetta_slot_safe_wal_bytes{"), "no limit, no figure: {text}");
    assert!(!text.contains("rosetta_pipeline_lag_bytes{pipeline=\"x"), "no position, no lag: {text}");
}

#[test]
fn every_metric_is_described_once() {
    let mut sheet = Sheet::blank();
    tell_pipelines(&mut sheet, &[("a".to_owned(), figures()), ("b".to_owned(), figures())]);
    tell_process(&mut sheet);
    let text = sheet.render();
    let described: Vec<_> = text.lines().filter(|line| line.starts_with("# HELP ")).collect();
    let distinct: BTreeSet<_> = described.iter().collect();
    assert_eq!(distinct.len(), described.len(), "{text}");
    assert!(text.contains("# HELP process_cpu_seconds_total "), "{text}");
}
