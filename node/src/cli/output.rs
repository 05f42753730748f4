use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How a command writes its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person.
    #[default]
    Table,
    /// For a program.
    Json,
}

/// Columns without borders, ended by a line break. Text flows to `width` characters per line, where one is known.
pub fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Indented JSON, ended by a line break.
pub fn json(value: &impl Serialize) -> String {
    // Serialising a value of ours into memory fails only if a map's keys are no strings.
    let text = serde_json::to_string_pretty(value);
    text.map_or_else(|error| format!("{{\"error\": \"{error}\"}}\n"), |text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_trailing_blanks() {
        let text =
            table(["name", "rows"], [["orders".to_owned(), "3".to_owned()], ["a".to_owned(), String::new()]], None);
        assert_eq!(text, " name    rows\n orders  3\n a\n");
    }

    #[test]
    fn json_is_a_document() {
        assert_eq!(json(&[1, 2]), "[\n  1,\n  2\n]\n");
    }
}
