use std::time::Duration;

use rosetta_proto::Lsn;
use tokio::time::{Instant, sleep, timeout};

use super::{Error, compare::Side};
use crate::{
    config::Pipeline,
    postgres::{Connection, PgError, PgUrl, Row, Session, ident, sqlstate},
};

/// How often the slot is asked how far it is. A running pipeline confirms within milliseconds to seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a pair of snapshots serves further tables. Longer, the source could not vacuum; shorter, many small tables
/// would each wait for the slot.
const SNAPSHOT_AGE: Duration = Duration::from_secs(5);

/// Messages after which a look into a slot at rest ends.
const PEEK_LIMIT: usize = 1000;

/// Compiling expressions costs more than it gains here.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; ";

/// Connections to a pipeline's source and to one of its destinations, for one comparison at a time.
pub(super) struct Servers {
    source: Connection,
    destination: Connection,
    /// Outside of the source's snapshot: asks for the slot's position, and moves it.
    control: Connection,
    place: Place,
    snapshots_since: Option<Instant>,
}

/// What a comparison is between, for queries and for messages.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) pipeline: String,
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) slot: String,
    /// What the slot is read with.
    pub(super) publications: Vec<String>,
    /// Zero: do not wait for the destination.
    pub(super) wait: Duration,
}

impl Place {
    pub(super) fn new(pipeline: &Pipeline, destination: &str, wait: Duration) -> Place {
        Place {
            pipeline: pipeline.name.clone(),
            source: pipeline.source.clone(),
            destination: destination.to_owned(),
            slot: pipeline.slot.clone(),
            publications: Vec::new(),
            wait,
        }
    }

    pub(super) fn error(&self, side: Side, cause: PgError) -> Error {
        match side {
            Side::Source => Error::Source { name: self.source.clone(), cause },
            Side::Destination => Error::Destination { name: self.destination.clone(), cause },
        }
    }

    /// A new session of one side.
    pub(super) async fn connect(&self, side: Side, url: &PgUrl) -> Result<Connection, Error> {
        let session = Session::sql("rosetta:verify");
        Connection::connect(url, &session).await.map_err(|cause| self.error(side, cause))
    }
}

impl Servers {
    pub(super) async fn connect(place: Place, source: &PgUrl, destination: &PgUrl) -> Result<Servers, Error> {
        Ok(Servers {
            source: place.connect(Side::Source, source).await?,
            destination: place.connect(Side::Destination, destination).await?,
            control: place.connect(Side::Source, source).await?,
            place,
            snapshots_since: None,
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Opens a snapshot on each side unless recent ones are open.
    ///
    /// # Errors
    /// As `renew_snapshots`.
    pub(super) async fn open_snapshots(&mut self) -> Result<(), Error> {
        match self.snapshots_since {
            Some(since) if since.elapsed() < SNAPSHOT_AGE => Ok(()),
            Some(_) | None => self.renew_snapshots().await,
        }
    }

    /// Opens a new snapshot on each side; the destination's holds all that the source's holds, and possibly more.
    ///
    /// # Errors
    /// A server's; or the pipeline did not bring its destinations that far in time.
    pub(super) async fn renew_snapshots(&mut self) -> Result<(), Error> {
        self.close_snapshots().await?;
        // The position is read under the snapshot, so that it is not before any commit that the snapshot sees.
        let sql = format!("{BEGIN} SELECT pg_current_wal_insert_lsn()");
        let rows = self.source.simple(&sql).await.map_err(|cause| self.place.error(Side::Source, cause))?;
        let position = rows.first().ok_or_else(|| PgError::protocol("no position")).and_then(|row| row.parse(0));
        let position = position.map_err(|cause| self.place.error(Side::Source, cause))?;
        if !self.place.wait.is_zero() {
            self.wait_for(position).await?;
        }
        let begun = self.destination.simple(&format!("{BEGIN} SELECT 1")).await;
        begun.map_err(|cause| self.place.error(Side::Destination, cause))?;
        self.snapshots_since = Some(Instant::now());
        Ok(())
    }

    /// Ends the transactions of both sides, failed or not.
    pub(super) async fn close_snapshots(&mut self) -> Result<(), Error> {
        if self.snapshots_since.take().is_some() {
            let (source, destination) =
                tokio::join!(self.source.simple("ROLLBACK"), self.destination.simple("ROLLBACK"));
            source.map_err(|cause| self.place.error(Side::Source, cause))?;
            destination.map_err(|cause| self.place.error(Side::Destination, cause))?;
        }
        Ok(())
    }

    /// Runs a query under the snapshot of one side.
    pub(super) async fn read(&mut self, side: Side, sql: &str) -> Result<Vec<Row>, (Side, PgError)> {
        let connection = match side {
            Side::Source => &mut self.source,
            Side::Destination => &mut self.destination,
        };
        connection.simple(sql).await.map_err(|cause| (side, cause))
    }

    /// Runs a query on each side at the same time.
    pub(super) async fn read_both(
        &mut self,
        source: &str,
        destination: &str,
    ) -> Result<(Vec<Row>, Vec<Row>), (Side, PgError)> {
        let both = tokio::join!(self.source.simple(source), self.destination.simple(destination));
        Ok((both.0.map_err(|cause| (Side::Source, cause))?, both.1.map_err(|cause| (Side::Destination, cause))?))
    }

    /// Waits until the slot has confirmed `position`: Rosetta confirms only what every destination has stored. Without a
    /// reader the slot stays where it is, and serves only if nothing of this pipeline's lies between.
    async fn wait_for(&mut self, position: Lsn) -> Result<(), Error> {
        let source = |cause| Error::Source { name: self.place.source.clone(), cause };
        // On an idle source nothing else would move the slot past the position.
        let emit = "SELECT pg_logical_emit_message(true, 'rosetta', 'verify')";
        self.control.simple(emit).await.map_err(source)?;
        let mut reached = Lsn::ZERO;
        let waited = timeout(self.place.wait, async {
            loop {
                match read_slot(&mut self.control, &self.place.slot).await? {
                    None => return Ok(Waited::NoSlot),
                    Some(slot) if slot.reached >= position => return Ok(Waited::Reached),
                    Some(slot) if slot.is_read => reached = slot.reached,
                    Some(_) => match pending(&mut self.control, &self.place, position).await? {
                        Some(true) => return Ok(Waited::Pending),
                        Some(false) => return Ok(Waited::Reached),
                        None => {} // a reader was faster, or the other worker asks the same
                    },
                }
                sleep(POLL_INTERVAL).await;
            }
        });
        let (pipeline, slot) = (self.place.pipeline.clone(), self.place.slot.clone());
        match waited.await {
            Ok(Ok(Waited::Reached)) => Ok(()),
            Ok(Ok(Waited::NoSlot)) => Err(Error::NoSlot { pipeline, slot }),
            Ok(Ok(Waited::Pending)) => Err(Error::Pending { pipeline, slot }),
            Ok(Err(cause)) => Err(self.place.error(Side::Source, cause)),
            Err(_) => {
                Err(Error::Late { pipeline, slot, wanted: position, reached, seconds: self.place.wait.as_secs() })
            }
        }
    }
}

enum Waited {
    Reached,
    NoSlot,
    /// Nobody reads the slot, and it holds changes.
    Pending,
}

struct SlotState {
    reached: Lsn,
    is_read: bool,
}

async fn read_slot(control: &mut Connection, slot: &str) -> Result<Option<SlotState>, PgError> {
    let sql = "SELECT coalesce(confirmed_flush_lsn, '0/0'), active FROM pg_replication_slots WHERE slot_name = $1";
    let rows = control.query(sql, &[Some(slot)]).await?;
    let state = |row: &Row| Ok(SlotState { reached: row.parse(0)?, is_read: row.is_true(1) });
    rows.first().map(state).transpose()
}

/// Whether the slot holds changes of rows up to `position`; None while another session uses it.
///
/// Decoding stops after the first transactions that say something. PostgreSQL 14 says begin and commit of empty ones
/// too, so that only the kinds of the messages tell (docs, "Logical Replication Message Formats").
async fn pending(control: &mut Connection, place: &Place, position: Lsn) -> Result<Option<bool>, PgError> {
    let sql = format!(
        "SELECT coalesce(bool_or(chr(get_byte(data, 0)) IN ('I', 'U', 'D', 'T')), false) OR count(*) >= {PEEK_LIMIT} \
           FROM pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, {PEEK_LIMIT}, \
                'proto_version', '1', 'publication_names', $3)"
    );
    let publications = place.publications.iter().map(|name| ident(name)).collect::<Vec<_>>().join(",");
    let position = position.to_string();
    let parameters = [place.slot.as_str(), &position, &publications].map(Some);
    match control.query(&sql, &parameters).await {
        Ok(rows) => Ok(Some(rows.first().is_none_or(|row| row.is_true(0)))),
        Err(error) if error.code() == Some(sqlstate::OBJECT_IN_USE) => Ok(None),
        Err(error) => Err(error),
    }
}
