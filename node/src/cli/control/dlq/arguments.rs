use clap::{Args, Subcommand};
use rosetta_proto::v1::{DeadLetterFilter, DeadLetterSelection};

use super::super::{Connection, error::ControlError};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows letters in the order of the source's log.
    List(List),
    /// Shows one letter.
    Show(Show),
    /// Tries letters now, in their order.
    Replay(Settle),
    /// Gives letters up for good.
    Discard(Settle),
    /// Writes letters to standard output, a JSON object per line.
    Export(Export),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only this pipeline's.
    #[arg(long, value_name = "NAME")]
    pub(super) pipeline: Option<String>,
    /// Only this destination's.
    #[arg(long, value_name = "NAME")]
    pub(super) destination: Option<String>,
    /// Only this table's, as schema.table at the source.
    #[arg(long, value_name = "TABLE")]
    pub(super) table: Option<String>,
    /// Only with such an error, such as 23505.
    #[arg(long, value_name = "CLASS")]
    pub(super) error_class: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// At most so many.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// As `dlq list` shows it.
    #[arg(value_name = "ID")]
    pub(super) id: String,
    /// Show the row's values, too.
    #[arg(long)]
    pub(super) values: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// As `dlq list` shows them; without any, --pipeline and the other filters select.
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    pub(super) filter: Filter,
    /// Why; for the record.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Who asks; for the record. The name of the user without.
    #[arg(long, value_name = "NAME")]
    pub(super) by: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// Write the rows' values, too.
    #[arg(long)]
    pub(super) values: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Filter {
    pub(super) fn message(&self) -> DeadLetterFilter {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        DeadLetterFilter {
            pipeline: text(&self.pipeline),
            destination: text(&self.destination),
            table: text(&self.table),
            error_class: text(&self.error_class),
        }
    }
}

impl Settle {
    /// # Errors
    /// Neither ids nor a pipeline, or both ids and a filter.
    pub(super) fn selection(&self) -> Result<DeadLetterSelection, ControlError> {
        let filter = self.filter.message();
        match (self.ids.is_empty(), filter == DeadLetterFilter::default()) {
            (false, true) => Ok(DeadLetterSelection { ids: self.ids.clone(), filter: None }),
            (true, false) if !filter.pipeline.is_empty() => {
                Ok(DeadLetterSelection { ids: Vec::new(), filter: Some(filter) })
            }
            (true, _) => Err("which letters? give their ids, or --pipeline for all of a pipeline".to_owned().into()),
            (false, false) => Err("ids and filters at once: give one of the two".to_owned().into()),
        }
    }

    pub(super) fn who(&self) -> String {
        let user = || std::env::var("USER").ok().filter(|name| !name.is_empty());
        self.by.clone().or_else(user).unwrap_or_else(|| "rosetta".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settle: Settle,
    }

    fn selection(line: &[&str]) -> Result<DeadLetterSelection, ControlError> {
        let words = ["replay"].iter().chain(line);
        Line::try_parse_from(words).unwrap().settle.selection()
    }

    #[test]
    fn nothing_is_selected_by_accident() {
        assert_eq!(selection(&["1", "2"]).unwrap().ids, ["1", "2"]);
        let by_filter = selection(&["--pipeline", "orders", "--table", "public.a"]).unwrap().filter.unwrap();
        assert_eq!((by_filter.pipeline.as_str(), by_filter.table.as_str()), ("orders", "public.a"));
        assert!(selection(&[]).is_err());
        assert!(selection(&["--table", "public.a"]).is_err());
        assert!(selection(&["1", "--pipeline", "orders"]).is_err());
    }
}
