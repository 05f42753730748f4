//! `Debug` of the messages that hold secrets or values of rows: what is logged by accident must not show them.

use std::fmt;

use crate::v1::{ColumnValue, DeadLetter, Destination, Source};

const HIDDEN: &str = "***";

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("url", &HIDDEN).finish()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { name, kind, url: _ } = self;
        f.debug_struct("Destination").field("name", name).field("kind", kind).field("url", &HIDDEN).finish()
    }
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("pipeline", &self.pipeline)
            .field("destination", &self.destination)
            .field("table", &self.table)
            .field("lsn", &self.lsn)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ColumnValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnValue").field("name", &self.name).field("value", &HIDDEN).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{CreatePipelineRequest, ListDeadLettersResponse};

    const SECRET: &str = "hunter2";

    #[test]
    fn neither_secrets_nor_values_are_shown() {
        let url = format!("postgres://u:{SECRET}@h/d");
        let request = CreatePipelineRequest {
            source: Some(Source { name: "shop".to_owned(), url: url.clone() }),
            destinations: vec![Destination { name: "mirror".to_owned(), kind: "postgres".to_owned(), url }],
            ..CreatePipelineRequest::default()
        };
        let value = ColumnValue { name: "note".to_owned(), value: Some(SECRET.to_owned()), is_unchanged: false };
        let letter = DeadLetter { key: SECRET.to_owned(), values: vec![value.clone()], ..DeadLetter::default() };
        let letters = ListDeadLettersResponse { dead_letters: vec![letter], ..ListDeadLettersResponse::default() };
        let shown = format!("{request:?} {letters:?} {value:?}");
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(shown.contains("shop") && shown.contains("mirror") && shown.contains("note"), "{shown}");
    }
}
