//! What a slot keeps at the source is known also while its pipeline is paused, retries or has given up: then it grows.

use std::{convert::Infallible, time::Duration};

use rosetta_proto::Epoch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::{
    pipeline::{job::Job, status::SlotUse},
    postgres::{Connection, PgError, Session},
};

/// Longer than between two heartbeats, which look at the slot, too.
const EVERY: Duration = Duration::from_secs(15);
/// A source that does not answer is asked again next time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Looks at the slot from time to time while nobody else does, by a connection of its own that is closed each time.
/// Never ends.
pub async fn watch_slot(job: &Job) -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_known = job.status.figures().slot.is_some_and(|slot| slot.seen.elapsed() < EVERY);
        if !is_known && !matches!(timeout(ANSWERED_WITHIN, ask(job)).await, Ok(Ok(()))) {
            tracing::debug!("the source does not tell what the slot keeps");
        }
    }
}

async fn ask(job: &Job) -> Result<(), PgError> {
    // Not an owner's session: epoch 0, so that no takeover takes it for one.
    let session = Session::sql(job.application_name(Epoch::NONE));
    look(job, &mut Connection::connect(&job.source, &session).await?).await
}

/// Takes what the slot keeps into the figures; a slot that is not there keeps nothing.
pub(super) async fn look(job: &Job, source: &mut Connection) -> Result<(), PgError> {
    const SLOT: &str = "SELECT pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() \
         THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::int8, \
         safe_wal_size FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let rows = source.query(SLOT, &[Some(&job.definition.slot)]).await?;
    let seen = Instant::now();
    let slot =
        rows.first().map(|row| SlotUse { retained: number(row.get(0)).unwrap_or(0), safe: number(row.get(1)), seen });
    job.status.update(|figures| figures.slot = slot);
    Ok(())
}

/// Never below zero: a slot beyond its limit has nothing left.
fn number(text: Option<&str>) -> Option<u64> {
    let value: i64 = text?.parse().ok()?;
    Some(u64::try_from(value).unwrap_or(0))
}
