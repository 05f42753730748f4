use rosetta_proto::Lsn;

use crate::{
    destination::postgres::Origin,
    postgres::{Connection, PgError, literal, sqlstate},
};

/// A replication slot as pg_replication_slots shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub plugin: String,
    pub database: String,
    pub is_active: bool,
    /// None when the slot was invalidated before it was ever consistent.
    pub confirmed: Option<Lsn>,
    /// reserved, extended, unreserved or lost.
    pub wal_status: String,
}

/// A slot that was just made: everything before `consistent_point` is in the snapshot, everything after
/// it will be in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    pub consistent_point: Lsn,
    /// For SET TRANSACTION SNAPSHOT, while the session that made the slot lives.
    pub snapshot: Option<String>,
}

/// Why the stream cannot go on where the destination stands: never repaired in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discontinuity {
    #[error("slot {slot} is gone, and with it the changes since {position}")]
    SlotLost { slot: String, position: Lsn },
    #[error("slot {slot} was invalidated (wal_status {status}), and with it the changes since {position} are gone")]
    SlotInvalid { slot: String, position: Lsn, status: String },
    #[error(
        "slot {slot} stands at {confirmed}, ahead of the destination's position {position}: the changes between are gone"
    )]
    SlotAhead { slot: String, confirmed: Lsn, position: Lsn },
    #[error("the destination's position belongs to system {expected}, but the source is system {found}")]
    OtherSystem { expected: String, found: String },
    #[error("the destination's position belongs to database '{expected}', but the source is database '{found}'")]
    OtherDatabase { expected: String, found: String },
    #[error("the destination's position belongs to slot {expected}, but the file names slot {found}")]
    OtherSlot { expected: String, found: String },
    #[error(
        "the source stands at {current}, behind the destination's position {position}: it was restored from a backup, and \
         what the destination has of the time after it is no longer the source's"
    )]
    SourceBehind { current: Lsn, position: Lsn },
    #[error(
        "the source went from timeline {from} to {to} and lost what lay after {branched}; the destination is at {position}"
    )]
    TimelineDiverged { from: u32, to: u32, branched: Lsn, position: Lsn },
}

/// What a source is, and how far its log and a slot of its are.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub origin: &'a Origin,
    pub slot: Option<&'a Slot>,
    /// The end of its log.
    pub current: Lsn,
}

/// Whether a stream can go on from `position`, which was taken at `expected`.
///
/// # Errors
/// What breaks the continuity.
pub fn check_continuity(expected: &Origin, source: Standing<'_>, position: Lsn) -> Result<(), Discontinuity> {
    let Standing { origin: found, slot, current } = source;
    let pair = |expected: &str, found: &str| (expected.to_owned(), found.to_owned());
    if expected.system_id != found.system_id {
        let (expected, found) = pair(&expected.system_id, &found.system_id);
        return Err(Discontinuity::OtherSystem { expected, found });
    }
    if expected.database != found.database {
        let (expected, found) = pair(&expected.database, &found.database);
        return Err(Discontinuity::OtherDatabase { expected, found });
    }
    if expected.slot != found.slot {
        let (expected, found) = pair(&expected.slot, &found.slot);
        return Err(Discontinuity::OtherSlot { expected, found });
    }
    if position > current {
        return Err(Discontinuity::SourceBehind { current, position });
    }
    let name = || found.slot.clone();
    let Some(slot) = slot else { return Err(Discontinuity::SlotLost { slot: name(), position }) };
    match slot.confirmed {
        Some(confirmed) if slot.wal_status != "lost" => {
            if confirmed > position {
                return Err(Discontinuity::SlotAhead { slot: name(), confirmed, position });
            }
            Ok(())
        }
        Some(_) | None => Err(Discontinuity::SlotInvalid { slot: name(), position, status: slot.wal_status.clone() }),
    }
}

/// Who the source is, from a replication session.
///
/// # Errors
/// The server's.
pub async fn identify(replication: &mut Connection, slot: &str) -> Result<Origin, PgError> {
    let rows = replication.simple("IDENTIFY_SYSTEM").await?;
    let row = rows.first().ok_or_else(|| PgError::protocol("no answer to IDENTIFY_SYSTEM"))?;
    Ok(Origin {
        system_id: row.text(0)?.to_owned(),
        timeline: row.parse(1)?,
        database: row.text(3)?.to_owned(),
        slot: slot.to_owned(),
    })
}

/// The end of the source's log.
///
/// # Errors
/// The server's.
pub async fn current_position(source: &mut Connection) -> Result<Lsn, PgError> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
               ELSE pg_catalog.pg_current_wal_lsn() END";
    let rows = source.simple(sql).await?;
    rows.first().ok_or_else(|| PgError::protocol("no position of the log"))?.parse(0)
}

/// Where the source's history left timeline `from`; None when it did not.
///
/// # Errors
/// The server's.
pub async fn branch_point(replication: &mut Connection, from: u32, now: u32) -> Result<Option<Lsn>, PgError> {
    let rows = replication.simple(&format!("TIMELINE_HISTORY {now}")).await?;
    let history = rows.first().and_then(|row| row.get(1)).unwrap_or_default();
    let line = history.lines().find(|line| line.split_whitespace().next() == Some(&from.to_string()));
    Ok(line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()))
}

/// The slot of this name; None when there is none.
///
/// # Errors
/// The server's.
pub async fn find(source: &mut Connection, name: &str) -> Result<Option<Slot>, PgError> {
    let sql = "SELECT plugin, database, active, confirmed_flush_lsn, wal_status \
               FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let rows = source.query(sql, &[Some(name)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Slot {
        plugin: row.get(0).unwrap_or("a physical slot").to_owned(),
        database: row.get(1).unwrap_or_default().to_owned(),
        is_active: row.is_true(2),
        confirmed: row.get(3).map(|_| row.parse(3)).transpose()?,
        wal_status: row.get(4).unwrap_or("reserved").to_owned(),
    }))
}

/// Makes a slot; with `export`, a snapshot of the instant at which it begins.
///
/// # Errors
/// The server's: no free slot, wal_level, privileges, a slot of that name.
pub async fn create(
    replication: &mut Connection,
    name: &str,
    temporary: bool,
    export: bool,
) -> Result<NewSlot, PgError> {
    let temporary = if temporary { " TEMPORARY" } else { "" };
    let snapshot = if export { "export" } else { "nothing" };
    let sql = format!("CREATE_REPLICATION_SLOT {name}{temporary} LOGICAL pgoutput (SNAPSHOT '{snapshot}')");
    let rows = replication.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| PgError::protocol("no answer to CREATE_REPLICATION_SLOT"))?;
    Ok(NewSlot { consistent_point: row.parse(1)?, snapshot: row.get(2).map(str::to_owned) })
}

/// Drops a slot that no session streams; a slot that is not there is dropped already.
///
/// # Errors
/// The server's.
pub async fn drop_slot(source: &mut Connection, name: &str) -> Result<(), PgError> {
    let sql = format!(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    match source.simple(&sql).await {
        Err(error) if error.code() == Some(sqlstate::UNDEFINED_OBJECT) => Ok(()),
        result => result.map(drop),
    }
}

/// Ends the session that streams the slot, if it is one of ours with an epoch below `epoch`.
///
/// # Errors
/// The server's.
pub async fn end_older_reader(source: &mut Connection, slot: &str, epoch: u64) -> Result<(), PgError> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a \
               JOIN pg_catalog.pg_replication_slots s ON s.active_pid = a.pid \
               WHERE s.slot_name = $1 AND a.application_name ~ '^rosetta:[0-9]+:' \
               AND pg_catalog.split_part(a.application_name, ':', 2)::bigint < $2::bigint";
    source.query(sql, &[Some(slot), Some(&epoch.to_string())]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { system_id: "7".into(), timeline: 1, database: "shop".into(), slot: "rosetta_orders".into() }
    }

    fn slot(confirmed: u64) -> Slot {
        let (plugin, database) = ("pgoutput".into(), "shop".into());
        Slot { plugin, database, is_active: false, confirmed: Some(Lsn(confirmed)), wal_status: "reserved".into() }
    }

    fn check(slot: Option<&Slot>, origin_now: &Origin, current: u64) -> Result<(), Discontinuity> {
        let standing = Standing { origin: origin_now, slot, current: Lsn(current) };
        check_continuity(&origin(), standing, Lsn(5))
    }

    #[test]
    fn a_slot_at_or_behind_the_checkpoint_continues_it() {
        assert_eq!(check(Some(&slot(5)), &origin(), 5), Ok(()));
        assert_eq!(check(Some(&slot(4)), &origin(), 9), Ok(()));
    }

    #[test]
    fn whatever_leaves_a_gap_is_refused() {
        let check = |slot: Option<&Slot>, found: &Origin| check(slot, found, 9).unwrap_err();
        assert!(matches!(check(None, &origin()), Discontinuity::SlotLost { .. }));
        assert!(matches!(check(Some(&slot(6)), &origin()), Discontinuity::SlotAhead { .. }));
        let lost = Slot { wal_status: "lost".into(), ..slot(5) };
        assert!(matches!(check(Some(&lost), &origin()), Discontinuity::SlotInvalid { .. }));
        let moved = Origin { system_id: "8".into(), ..origin() };
        assert!(matches!(check(Some(&slot(5)), &moved), Discontinuity::OtherSystem { .. }));
    }

    #[test]
    fn a_source_that_went_back_is_refused() {
        let restored = Discontinuity::SourceBehind { current: Lsn(4), position: Lsn(5) };
        assert_eq!(check(Some(&slot(3)), &origin(), 4), Err(restored));
    }
}
