//! A source server and a destination server, and the usual configuration between them.

use std::time::Duration;

use crate::{
    oracle::{self, Side, Table},
    postgres::{Options, Postgres},
    rosetta::Rosetta,
    scratch::Scratch,
};

/// The database on both sides.
pub const DB: &str = "postgres";
/// The slot of the pipeline of `one_pipeline`.
pub const SLOT: &str = "rosetta_main";
/// For anything that should take seconds, on a machine that runs many tests at once.
pub const SOON: Duration = Duration::from_secs(60);

pub struct Pair {
    pub source: Postgres,
    pub destination: Postgres,
    pub scratch: Scratch,
}

impl Pair {
    pub async fn start() -> Pair {
        Pair::with(Options::default(), Options::default()).await
    }

    pub async fn with(source: Options, destination: Options) -> Pair {
        let (source, destination) = tokio::join!(Postgres::start(source), Postgres::start(destination));
        Pair { source, destination, scratch: Scratch::new() }
    }

    /// One pipeline, `main`, from the source to the destination.
    #[must_use]
    pub fn config(&self, tables: &[&str], more: &str) -> String {
        one_pipeline(&self.source.url(DB), &self.destination.url(DB), tables, more)
    }

    /// A process with its own data folder, `name`.
    #[must_use]
    pub fn rosetta(&self, name: &str, config: &str) -> Rosetta {
        Rosetta::start(config, &self.scratch.join(name))
    }

    /// Waits until the destination has everything that the source has committed, then compares.
    pub async fn settle(&self, tables: &[Table]) {
        self.settle_within(tables, SOON).await;
    }

    pub async fn settle_within(&self, tables: &[Table], deadline: Duration) {
        oracle::caught_up(self.source_side(), SLOT, deadline).await;
        oracle::assert_equal(self.source_side(), self.destination_side(), tables).await;
    }

    #[must_use]
    pub fn source_side(&self) -> Side<'_> {
        Side { server: &self.source, db: DB }
    }

    #[must_use]
    pub fn destination_side(&self) -> Side<'_> {
        Side { server: &self.destination, db: DB }
    }
}

/// The configuration of one pipeline, `main`. `more` continues its section: options first, then `[[pipeline.table]]`.
#[must_use]
pub fn one_pipeline(source: &str, destination: &str, tables: &[&str], more: &str) -> String {
    format!(
        "[[source]]\nname = \"src\"\nurl = \"{source}\"\n\n\
         [[destination]]\nname = \"dst\"\nkind = \"postgres\"\nurl = \"{destination}\"\n\n\
         [[pipeline]]\nname = \"main\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = {tables:?}\n{more}\n"
    )
}
