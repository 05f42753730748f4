//! Whatever a file holds: reading it never panics, an error is one line, and what is accepted keeps its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rosetta_node::config::Definitions;

fuzz_target!(|text: &str| {
    let environment = |name: &str| (name.len() % 3 != 0).then(|| "p@ss \"word\"\n${X}".to_owned());
    match Definitions::parse(text, &environment) {
        Ok(definitions) => check(&definitions),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line:?}");
        }
    }
});

fn check(definitions: &Definitions) {
    assert!(!definitions.pipelines.is_empty());
    for pipeline in &definitions.pipelines {
        assert!(definitions.source(&pipeline.source).is_some());
        assert!(!pipeline.destinations.is_empty() && (1..=64).contains(&pipeline.apply_workers));
        for name in pipeline.tables.exact_names() {
            assert!(pipeline.tables.matches(name));
            assert_eq!(name.to_string().parse().as_ref(), Ok(name));
        }
        for entry in &pipeline.entries {
            let names = entry.destinations.as_ref().unwrap_or(&pipeline.destinations);
            assert!(names.iter().all(|name| definitions.destination(name).is_some()));
        }
    }
}
