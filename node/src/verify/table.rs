//! The comparison of one table.

use std::collections::{BTreeMap, HashMap};

use super::{
    Error,
    compare::{Entry, Fingerprint, Kind, Merge, OrderedKey, Pair, Recheck, RowKey, Side, Step, differing_buckets},
    report::{Difference, TableReport, Values},
    servers::Servers,
    sql::{CURSOR, Relation},
};
use crate::postgres::{PgError, Row};

/// Rows per FETCH: what is held of a table at a time, on each side.
const PAGE_ROWS: usize = 5_000;

/// Keys that are followed up; the memory of a table that differs everywhere is bounded by it.
const MAX_SUSPECTS: usize = 100_000;

/// Readings of doubtful keys before they are called unsettled.
const MAX_ROUNDS: usize = 10;

/// Keys per query: they are listed in its text.
const KEYS_PER_QUERY: usize = 2_000;

/// Hashes per query, in a table without a key: each query reads the whole table, and a hash is a few bytes of it.
const HASHES_PER_QUERY: usize = MAX_SUSPECTS;

/// Differences that are listed per table.
const MAX_LISTED: usize = 20;

/// One table on both sides.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// What is known before the comparison: names, and a note.
    pub(super) report: TableReport,
    pub(super) source: Relation,
    pub(super) destination: Relation,
    pub(super) bucket_count: u32,
    pub(super) show_values: bool,
}

/// Why a table was not compared.
pub(super) enum Failure {
    /// The others cannot be either.
    All(Error),
    /// Only this one cannot.
    Table(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::All(error)
    }
}

impl Job {
    /// Compares the table; the error of a table that cannot be compared is in its report.
    ///
    /// # Errors
    /// What prevents the comparison of the other tables too.
    pub(super) async fn compare(&self, servers: &mut Servers) -> Result<TableReport, Error> {
        match self.try_compare(servers).await {
            Ok(report) => Ok(report),
            Err(Failure::All(error)) => Err(error),
            Err(Failure::Table(error)) => {
                servers.close_snapshots().await?;
                Ok(TableReport { error: Some(error), ..self.report.clone() })
            }
        }
    }

    async fn try_compare(&self, servers: &mut Servers) -> Result<TableReport, Failure> {
        servers.open_snapshots().await?;
        let mut report = self.report.clone();
        let buckets = self.differing_buckets(servers, &mut report).await?;
        report.differences_complete = true;
        let mut recheck = Recheck::default();
        if !buckets.is_empty() {
            let suspects = self.suspects(servers, &buckets).await?;
            report.differences_complete = suspects.len() < MAX_SUSPECTS;
            recheck = Recheck::new(suspects);
            self.settle(servers, &mut recheck).await?;
        }
        report.unsettled = recheck.doubtful_count();
        report.differences_total = recheck.proven().len();
        report.equal = report.differences_total == 0 && report.differences_complete;
        for ((_, key), pair) in recheck.proven().iter().take(MAX_LISTED) {
            report.differences.push(self.describe(servers, key, *pair).await?);
        }
        Ok(report)
    }

    async fn differing_buckets(&self, servers: &mut Servers, report: &mut TableReport) -> Result<Vec<u32>, Failure> {
        let sql = (self.source.buckets(self.bucket_count), self.destination.buckets(self.bucket_count));
        let rows = servers.read_both(&sql.0, &sql.1).await;
        let (source, destination) = rows.map_err(|error| failure(servers, error))?;
        let source = buckets(&source).map_err(|cause| failure(servers, (Side::Source, cause)))?;
        let destination = buckets(&destination).map_err(|cause| failure(servers, (Side::Destination, cause)))?;
        report.rows_source = source.values().map(|print| print.rows).sum();
        report.rows_destination = destination.values().map(|print| print.rows).sum();
        Ok(differing_buckets(&source, &destination))
    }

    /// The keys that differ between the two snapshots, at most `MAX_SUSPECTS`.
    async fn suspects(&self, servers: &mut Servers, buckets: &[u32]) -> Result<Vec<(OrderedKey, Pair)>, Failure> {
        let source = self.source.declare_rows(self.bucket_count, buckets);
        let destination = self.destination.declare_rows(self.bucket_count, buckets);
        servers.read_both(&source, &destination).await.map_err(|error| failure(servers, error))?;
        let fetch = format!("FETCH {PAGE_ROWS} FROM {CURSOR}");
        let mut merge = Merge::default();
        let mut suspects = Vec::new();
        while suspects.len() < MAX_SUSPECTS {
            match merge.step() {
                Step::Differs(key, pair) => suspects.push((key, pair)),
                Step::Done => break,
                Step::Fetch(side) => {
                    let rows = servers.read(side, &fetch).await;
                    let page = rows.and_then(|rows| self.entries(&rows).map_err(|cause| (side, cause)));
                    merge.feed(side, page.map_err(|error| failure(servers, error))?);
                }
            }
        }
        let close = format!("CLOSE {CURSOR}");
        servers.read_both(&close, &close).await.map_err(|error| failure(servers, error))?;
        Ok(suspects)
    }

    /// Reads the doubtful keys again, each time under new snapshots.
    async fn settle(&self, servers: &mut Servers, recheck: &mut Recheck) -> Result<(), Failure> {
        for _ in 0..MAX_ROUNDS {
            if recheck.doubtful_count() == 0 {
                break;
            }
            servers.renew_snapshots().await?;
            let (mut source, mut destination) = (HashMap::new(), HashMap::new());
            let keys: Vec<&RowKey> = recheck.doubtful().collect();
            let per_query = if self.source.key.is_empty() { HASHES_PER_QUERY } else { KEYS_PER_QUERY };
            for keys in keys.chunks(per_query) {
                let sql = (self.source.rows_of(keys), self.destination.rows_of(keys));
                let rows = servers.read_both(&sql.0, &sql.1).await.map_err(|error| failure(servers, error))?;
                self.add_rows(&rows.0, &mut source).map_err(|cause| failure(servers, (Side::Source, cause)))?;
                self.add_rows(&rows.1, &mut destination)
                    .map_err(|cause| failure(servers, (Side::Destination, cause)))?;
            }
            recheck.observe(&source, &destination);
        }
        Ok(())
    }

    async fn describe(&self, servers: &mut Servers, key: &RowKey, pair: Pair) -> Result<Difference, Failure> {
        let mut difference =
            Difference { key: self.key_for_people(key), kind: pair.kind(), columns: Vec::new(), values: None };
        if difference.kind == Kind::Different {
            let sql = (self.source.column_hashes(key), self.destination.column_hashes(key));
            let rows = servers.read_both(&sql.0, &sql.1).await.map_err(|error| failure(servers, error))?;
            let hash = |rows: &[Row], index| rows.first().and_then(|row| row.get(index)).map(str::to_owned);
            let columns = self.source.columns.iter().enumerate();
            let differing = columns.filter(|(index, _)| hash(&rows.0, *index) != hash(&rows.1, *index));
            difference.columns = differing.map(|(_, column)| column.clone()).collect();
        }
        if self.show_values {
            let sql = (self.source.column_values(key), self.destination.column_values(key));
            let rows = servers.read_both(&sql.0, &sql.1).await.map_err(|error| failure(servers, error))?;
            difference.values = Some(Values { source: self.values(&rows.0), destination: self.values(&rows.1) });
        }
        Ok(difference)
    }

    fn values(&self, rows: &[Row]) -> BTreeMap<String, Option<String>> {
        let Some(row) = rows.first() else { return BTreeMap::new() };
        let columns = self.source.columns.iter().enumerate();
        columns.map(|(index, column)| (column.clone(), row.get(index).map(str::to_owned))).collect()
    }

    fn key_for_people(&self, key: &RowKey) -> BTreeMap<String, Option<String>> {
        match key {
            RowKey::Hash(hash) => BTreeMap::from([("row_hash".to_owned(), Some(hash.to_string()))]),
            RowKey::Columns(values) => {
                let names = self.source.key.iter().map(|column| column.name.clone());
                names.zip(values.iter().cloned()).collect()
            }
        }
    }

    fn entries(&self, rows: &[Row]) -> Result<Vec<Entry>, PgError> {
        rows.iter().map(|row| self.entry(row)).collect()
    }

    /// From key hash, row hash, key columns.
    fn entry(&self, row: &Row) -> Result<Entry, PgError> {
        let (key_hash, hash) = (row.parse(0)?, row.parse(1)?);
        let values = || (2..).take(self.source.key.len()).map(|index| row.get(index).map(str::to_owned)).collect();
        let key = if self.source.key.is_empty() { RowKey::Hash(key_hash) } else { RowKey::Columns(values()) };
        Ok(Entry { key: (key_hash, key), hash })
    }

    fn add_rows(&self, rows: &[Row], prints: &mut HashMap<RowKey, Fingerprint>) -> Result<(), PgError> {
        for row in rows {
            let Entry { key: (_, key), hash } = self.entry(row)?;
            prints.entry(key).or_default().add(Fingerprint::of(hash));
        }
        Ok(())
    }
}

fn buckets(rows: &[Row]) -> Result<BTreeMap<u32, Fingerprint>, PgError> {
    let bucket = |row: &Row| Ok((row.parse(0)?, Fingerprint { rows: row.parse(1)?, sum: row.parse(2)? }));
    rows.iter().map(bucket).collect()
}

/// A refusal of the query concerns the table; anything else, such as a lost connection, concerns them all.
fn failure(servers: &Servers, (side, cause): (Side, PgError)) -> Failure {
    match (&cause, cause.is_transient()) {
        (PgError::Server(_), false) => {
            let name = match side {
                Side::Source => "source",
                Side::Destination => "destination",
            };
            Failure::Table(format!("{name}: {cause}"))
        }
        (_, _) => Failure::All(servers.place().error(side, cause)),
    }
}
