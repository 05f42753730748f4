use std::time::Duration;

use tokio::time::sleep;

use super::slot_watch::look;
use crate::{
    pipeline::job::Job,
    postgres::{Connection, PgError, Session},
};

/// A message passes through the stream this often, so that the slot of a source at rest moves on.
const EVERY: Duration = Duration::from_secs(10);

/// Emits heartbeats for ever, and looks at the slot each time. A source that cannot take them (a standby, say) goes without.
pub(super) async fn beat(job: &Job) {
    let mut connection = None;
    loop {
        sleep(EVERY).await;
        if let Err(error) = emit(job, &mut connection).await {
            connection = None;
            tracing::debug!("no heartbeat: {error}");
        }
    }
}

async fn emit(job: &Job, connection: &mut Option<Connection>) -> Result<(), PgError> {
    let session = Session::sql(job.application_name(job.status.figures().epoch));
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::connect(&job.source, &session).await?,
    };
    let open = connection.insert(open);
    look(job, open).await?;
    open.simple("SELECT pg_catalog.pg_logical_emit_message(false, 'rosetta', 'heartbeat')").await.map(drop)
}
