use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};

use super::{Output, fail, json, show, table};
use crate::{
    catalog::{Catalog, CatalogSettings, SecretReport},
    config::Settings,
    secret::Keyring,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says which keys the passwords of the config database are encrypted with; fails when one does not open.
    Check,
    /// Encrypts all passwords of the config database with the first key, in one transaction. No pipeline restarts.
    Rotate,
}

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    let catalog = match catalog() {
        Ok(catalog) => catalog,
        Err(error) => return fail(error),
    };
    match arguments.command {
        Command::Check => {}
        Command::Rotate => {
            if let Err(error) = catalog.rotate_secrets().await {
                return fail(error);
            }
        }
    }
    match catalog.check_secrets().await {
        Ok(report) => show(&render(&report, arguments.output), report.is_ok()),
        Err(error) => fail(error),
    }
}

fn catalog() -> Result<Catalog, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let settings = Settings::from_env(&environment).map_err(|error| error.to_string())?;
    let settings = CatalogSettings::from_env(&environment, &settings).map_err(|error| error.to_string())?;
    let keys = Keyring::from_env(environment).map_err(|error| error.to_string())?;
    Catalog::new(settings, Arc::new(keys)).map_err(|error| error.to_string())
}

fn render(report: &SecretReport, output: Output) -> String {
    if output == Output::Json {
        return json(report);
    }
    let given = |is_given| if is_given { "yes" } else { "no" }.to_owned();
    let rows = report.keys.iter().map(|(id, key)| [id.clone(), key.passwords.to_string(), given(key.is_given)]);
    let mut text = table(["key", "passwords", "given"], rows, None);
    if report.plain > 0 {
        let remedy = "run: rosetta secrets rotate";
        text.push_str(&format!("passwords that are not encrypted: {}; {remedy}\n", report.plain));
    }
    for problem in &report.problems {
        text.push_str(problem);
        text.push('\n');
    }
    text
}
