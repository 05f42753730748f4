use foldhash::{HashMap, HashMapExt, HashSet};
use rosetta_proto::{Epoch, Lsn};

use crate::{
    postgres::{Connection, PgError},
    schema::array_literal,
};

/// What is known of the copy of one target.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetCopy {
    pub(super) snapshot_lsn: Lsn,
    pub(super) parts: usize,
    pub(super) done: HashSet<usize>,
}

impl TargetCopy {
    pub(super) fn is_complete(&self) -> bool {
        self.done.len() >= self.parts
    }
}

/// Whose copy.
#[derive(Debug, Clone)]
pub struct CopyOwner {
    pub pipeline: String,
    pub destination: String,
    pub epoch: Epoch,
}

/// The state of the copy of every target, by its quoted name.
pub(super) async fn read(
    connection: &mut Connection,
    owner: &CopyOwner,
) -> Result<HashMap<String, TargetCopy>, PgError> {
    let parameters = [Some(owner.pipeline.as_str()), Some(owner.destination.as_str())];
    let tables =
        "SELECT target_table, snapshot_lsn, parts FROM rosetta.table_copy WHERE pipeline = $1 AND destination = $2";
    let mut copies = HashMap::new();
    for row in connection.query(tables, &parameters).await? {
        let copy = TargetCopy { snapshot_lsn: row.parse(1)?, parts: row.parse(2)?, ..TargetCopy::default() };
        copies.insert(row.text(0)?.to_owned(), copy);
    }
    let marks = "SELECT target_table, part FROM rosetta.copy_mark WHERE pipeline = $1 AND destination = $2";
    for row in connection.query(marks, &parameters).await? {
        if let Some(copy) = copies.get_mut(row.text(0)?) {
            copy.done.insert(row.parse(1)?);
        }
    }
    Ok(copies)
}

/// Where the stream takes each target up: the snapshot of its copy.
///
/// # Errors
/// The destination's.
pub async fn stream_starts(connection: &mut Connection, owner: &CopyOwner) -> Result<HashMap<String, Lsn>, PgError> {
    Ok(read(connection, owner).await?.into_iter().map(|(target, copy)| (target, copy.snapshot_lsn)).collect())
}

/// Whether all of these targets (quoted names) were copied completely.
///
/// # Errors
/// The destination's.
pub async fn are_complete(connection: &mut Connection, owner: &CopyOwner, targets: &[String]) -> Result<bool, PgError> {
    let copies = read(connection, owner).await?;
    Ok(targets.iter().all(|target| copies.get(target).is_some_and(TargetCopy::is_complete)))
}

/// Forgets the copies of all other targets than these (quoted names), if the owner still owns the pipeline.
///
/// # Errors
/// The destination's.
pub async fn forget_others(connection: &mut Connection, owner: &CopyOwner, targets: &[String]) -> Result<(), PgError> {
    let (targets, epoch) = (array_literal(targets.iter().map(String::as_str)), owner.epoch.to_string());
    let parameters = [owner.pipeline.as_str(), &owner.destination, &targets, &epoch].map(Some);
    for table in ["copy_mark", "table_copy"] {
        let sql = format!(
            "DELETE FROM rosetta.{table} WHERE pipeline = $1 AND destination = $2 AND target_table <> ALL ($3::text[]) \
             AND EXISTS (SELECT FROM rosetta.checkpoint c \
                          WHERE c.pipeline = $1 AND c.destination = $2 AND c.epoch = $4::bigint)"
        );
        connection.query(&sql, &parameters).await?;
    }
    Ok(())
}

/// Begins the copy of a target anew, in a transaction of the caller's: what an earlier try left is removed.
pub(super) async fn begin(
    connection: &mut Connection,
    owner: &CopyOwner,
    target: &str,
    source: &str,
    snapshot: Lsn,
    parts: usize,
) -> Result<(), PgError> {
    let key = [Some(owner.pipeline.as_str()), Some(owner.destination.as_str()), Some(target)];
    let sql = "DELETE FROM rosetta.copy_mark WHERE pipeline = $1 AND destination = $2 AND target_table = $3";
    connection.query(sql, &key).await?;
    let sql = "INSERT INTO rosetta.table_copy (pipeline, destination, target_table, source_table, snapshot_lsn, parts) \
               VALUES ($1, $2, $3, $4, $5::pg_lsn, $6::int) ON CONFLICT (pipeline, destination, target_table) \
               DO UPDATE SET snapshot_lsn = EXCLUDED.snapshot_lsn, parts = EXCLUDED.parts";
    let (snapshot, parts) = (snapshot.to_string(), parts.to_string());
    let parameters = [key[0], key[1], key[2], Some(source), Some(snapshot.as_str()), Some(parts.as_str())];
    connection.query(sql, &parameters).await.map(drop)
}

/// Records a part, in the transaction that holds its rows.
pub(super) async fn record(
    connection: &mut Connection,
    owner: &CopyOwner,
    target: &str,
    part: usize,
    rows: u64,
) -> Result<(), PgError> {
    let sql = "INSERT INTO rosetta.copy_mark (pipeline, destination, target_table, part, rows) VALUES ($1, $2, $3, $4::int, $5::bigint)";
    let (part, rows) = (part.to_string(), rows.to_string());
    let parameters = [owner.pipeline.as_str(), &owner.destination, target, &part, &rows].map(Some);
    connection.query(sql, &parameters).await.map(drop)
}

/// Holds the fence for the rest of the transaction; false when this owner is no longer the newest.
pub(super) async fn guard(connection: &mut Connection, owner: &CopyOwner) -> Result<bool, PgError> {
    let sql =
        "SELECT 1 FROM rosetta.checkpoint WHERE pipeline = $1 AND destination = $2 AND epoch = $3::bigint FOR SHARE";
    let epoch = owner.epoch.to_string();
    let parameters = [owner.pipeline.as_str(), &owner.destination, &epoch].map(Some);
    Ok(!connection.query(sql, &parameters).await?.is_empty())
}
