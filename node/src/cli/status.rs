use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Output, control, fail, show, status_file, table};

/// Where a standalone process writes when nobody says where.
const DEFAULT_FOLDER: &str = "rosetta-data";
const FOLDER_VARIABLE: &str = "ROSETTA_DATA_DIR";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data folder of a standalone process, to read there instead of asking a node. [env: ROSETTA_DATA_DIR]
    /// [default: rosetta-data, where a process has written]
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint")]
    data_dir: Option<PathBuf>,
    /// Show it anew as it changes.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connection: control::Connection,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Node,
}

const HEADER: [&str; 8] = ["pipeline", "state", "node", "epoch", "lag bytes", "lag ms", "missing rows", "error"];

pub(super) async fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { data_dir, watch, connection } = arguments;
    let has_variable = control::endpoint_from_environment().is_some();
    let folder_variable = std::env::var_os(FOLDER_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let has_written = Path::new(DEFAULT_FOLDER).join("status.json").exists();
    match place(data_dir.clone(), connection.endpoint.is_some(), (folder_variable, has_variable), has_written) {
        Place::Node => control::print(control::status(connection, *watch).await),
        Place::Folder(_) if *watch => fail("--watch asks a process, not a folder: give --endpoint"),
        Place::Folder(folder) => read(&folder, connection.output),
    }
}

/// What is said on the line counts more than the environment, and that more than what happens to lie here.
fn place(
    folder: Option<PathBuf>,
    has_endpoint: bool,
    (folder_variable, has_endpoint_variable): (Option<PathBuf>, bool),
    has_written: bool,
) -> Place {
    match (folder, folder_variable) {
        (Some(folder), _) => Place::Folder(folder),
        (None, _) if has_endpoint || has_endpoint_variable => Place::Node,
        (None, Some(folder)) => Place::Folder(folder),
        (None, None) if has_written => Place::Folder(DEFAULT_FOLDER.into()),
        (None, None) => Place::Node,
    }
}

fn read(folder: &Path, output: Output) -> ExitCode {
    let lines = match status_file::read(folder) {
        Ok(lines) => lines,
        Err(error) => return fail(error),
    };
    match output {
        Output::Json => show(&super::json(&lines), true),
        Output::Table => show(&table(HEADER, lines.iter().map(status_file::Line::row), None), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_beats_the_environment_and_that_beats_what_lies_here() {
        let folder = |name: &str| Some(PathBuf::from(name));
        let nothing = (None, false);
        assert_eq!(place(folder("a"), false, (folder("b"), true), true), Place::Folder("a".into()));
        assert_eq!(place(None, true, (folder("b"), false), true), Place::Node);
        assert_eq!(place(None, false, (folder("b"), true), true), Place::Node);
        assert_eq!(place(None, false, (folder("b"), false), true), Place::Folder("b".into()));
        assert_eq!(place(None, false, nothing.clone(), true), Place::Folder(DEFAULT_FOLDER.into()));
        assert_eq!(place(None, false, nothing, false), Place::Node);
    }
}
