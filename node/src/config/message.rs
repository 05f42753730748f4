//! The file as the message that is sent to a cluster: what is written, with the environment filled in.

use std::path::Path;

use rosetta_proto::v1;
use toml::Spanned;

use super::error::ConfigError;
use super::raw::{Document, RawDestination, RawEntry, RawFile, RawPipeline, RawSource, Text};
use super::{Definitions, Lookup, read, validate};

/// Reads a file, with the process's environment, and checks it: what it defines, and the same as the message.
///
/// # Errors
/// The first problem, with its place in the file; or that the file cannot be read.
pub fn load_with_message(path: &Path) -> Result<(Definitions, v1::DefinitionSet), ConfigError> {
    parse(&read(path)?, &|name| std::env::var(name).ok()).map_err(|error| error.in_file(path))
}

fn parse(text: &str, environment: Lookup<'_>) -> Result<(Definitions, v1::DefinitionSet), ConfigError> {
    let document = Document { text, environment };
    let raw = document.parse()?;
    // A cluster checks it again, but only here a problem has a line.
    Ok((validate::definitions(&document, &raw)?, document.set(&raw)?))
}

impl Document<'_> {
    fn set(&self, raw: &RawFile) -> Result<v1::DefinitionSet, ConfigError> {
        Ok(v1::DefinitionSet {
            sources: raw.sources.iter().map(|table| self.source(table.get_ref())).collect::<Result<_, _>>()?,
            destinations: raw
                .destinations
                .iter()
                .map(|table| self.destination(table.get_ref()))
                .collect::<Result<_, _>>()?,
            pipelines: raw.pipelines.iter().map(|table| self.pipeline(table.get_ref())).collect::<Result<_, _>>()?,
        })
    }

    fn source(&self, raw: &RawSource) -> Result<v1::Source, ConfigError> {
        Ok(v1::Source { name: self.text(&raw.name)?, url: self.address(&raw.url)? })
    }

    fn destination(&self, raw: &RawDestination) -> Result<v1::Destination, ConfigError> {
        let RawDestination { name, kind, url } = raw;
        Ok(v1::Destination { name: self.text(name)?, kind: self.text(kind)?, url: self.address(url)? })
    }

    fn pipeline(&self, raw: &RawPipeline) -> Result<v1::Pipeline, ConfigError> {
        let workers = raw.apply_workers.as_ref().map_or(0, |workers| *workers.get_ref());
        Ok(v1::Pipeline {
            name: self.text(&raw.name)?,
            source: self.text(&raw.source)?,
            destinations: self.list(&raw.destinations)?,
            tables: self.list(&raw.tables)?,
            snapshot: self.text(&raw.snapshot)?,
            // Checked to be 1 to 64.
            apply_workers: u32::try_from(workers).unwrap_or_default(),
            slot: self.text(&raw.slot)?,
            publication: self.text(&raw.publication)?,
            spill_after: self.text(&raw.spill_after)?,
            max_slot_wal: self.text(&raw.max_slot_wal)?,
            max_dead_letters: self.text(&raw.max_dead_letters)?,
            routes: raw.entries.iter().map(|entry| self.route(entry.get_ref())).collect::<Result<_, _>>()?,
        })
    }

    fn route(&self, raw: &RawEntry) -> Result<v1::TableRoute, ConfigError> {
        Ok(v1::TableRoute {
            name: self.text(&raw.name)?,
            target: self.text(&raw.target)?,
            columns: self.list(&raw.columns)?,
            filter: self.text(&raw.filter)?,
            destinations: self.list(&raw.destinations)?,
            publish: self.text(&raw.publish)?,
        })
    }

    /// Empty where the key is not written, as messages have it.
    fn text(&self, written: &Option<Text>) -> Result<String, ConfigError> {
        written.as_ref().map_or(Ok(String::new()), |text| self.string(text))
    }

    fn address(&self, written: &Option<Text>) -> Result<String, ConfigError> {
        written.as_ref().map_or(Ok(String::new()), |text| self.url(text))
    }

    fn list(&self, written: &Option<Spanned<Vec<Text>>>) -> Result<Vec<String>, ConfigError> {
        written.iter().flat_map(|list| list.get_ref()).map(|text| self.string(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[source]]
        name = "shop"
        url = "postgres://u:${PASSWORD}@h/d"
        [[destination]]
        name = "mirror"
        kind = "postgres"
        url = "postgres://h/m"
        [[destination]]
        name = "nowhere"
        kind = "null"
        [[pipeline]]
        name = "orders"
        source = "shop"
        destinations = ["mirror", "nowhere"]
        tables = ["public.*", "!public.audit_*"]
        snapshot = "never"
        apply_workers = 4
        slot = "s"
        publication = "p"
        spill_after = "10s"
        max_slot_wal = "1GB"
        max_dead_letters = "2GB"
        [[pipeline.table]]
        name = "public.orders"
        target = "sales.orders"
        columns = ["id", "total"]
        filter = "total > 0"
        destinations = ["mirror"]
        publish = "insert"
    "#;

    fn environment(name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "a/b".to_owned())
    }

    #[test]
    fn every_key_has_its_field() {
        let (_, set) = parse(FILE, &environment).unwrap();
        let text = serde_json::to_string(&(&set.sources, &set.destinations, &set.pipelines)).unwrap();
        let expected = r#"[[{"name":"shop","url":"postgres://u:a%2Fb@h/d"}],[{"name":"mirror","kind":"postgres","#
            .to_owned()
            + r#""url":"postgres://h/m"},{"name":"nowhere","kind":"null","url":""}],[{"name":"orders","source":"shop","#
            + r#""destinations":["mirror","nowhere"],"tables":["public.*","!public.audit_*"],"snapshot":"never","#
            + r#""apply_workers":4,"slot":"s","publication":"p","routes":[{"name":"public.orders","#
            + r#""target":"sales.orders","columns":["id","total"],"filter":"total > 0","destinations":["mirror"],"#
            + r#""publish":"insert"}],"spill_after":"10s","max_slot_wal":"1GB","max_dead_letters":"2GB"}]]"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_a_file_may_not_say_is_not_sent() {
        let wrong = FILE.replace("apply_workers = 4", "apply_workers = 65");
        let error = parse(&wrong, &environment).unwrap_err().to_string();
        assert!(error.starts_with("line 18, column 25: pipeline \"orders\": apply_workers = 65"), "{error}");
    }
}
