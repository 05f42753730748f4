use std::{io, time::Duration};

use super::{Connection, PgError, PgUrl, connection::Session};

/// A server that says nothing for so long is asked, over another connection, what it is doing.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Findings in a row that end the connection; one may be a moment between two messages.
const FINDINGS: u32 = 2;

/// Looks into a silence. A statement may take hours, so silence alone is no fault; but a server that waits
/// for us while we wait for it, or that does not know the session, shows that what is between the two
/// swallows data without closing.
#[derive(Debug, Default)]
pub(super) struct Silence {
    findings: u32,
}

impl Silence {
    /// # Errors
    /// The session is not served any more.
    pub(super) async fn look_into(&mut self, url: Option<&PgUrl>, backend_pid: i32) -> Result<(), PgError> {
        let Some(url) = url else { return Err(stalled(0)) };
        let is_working = Box::pin(is_working(url, backend_pid)).await.unwrap_or(false);
        self.findings = if is_working { 0 } else { self.findings + 1 };
        if self.findings >= FINDINGS { Err(stalled(self.findings)) } else { Ok(()) }
    }
}

fn stalled(findings: u32) -> PgError {
    let seconds = SILENCE.as_secs() * u64::from(findings.max(1));
    let reason = format!("nothing came for {seconds} s, and the server is not working on an answer");
    PgError::Lost(io::Error::new(io::ErrorKind::TimedOut, reason))
}

/// Whether the server process `backend_pid` is busy with something else than waiting for its client.
async fn is_working(url: &PgUrl, backend_pid: i32) -> Result<bool, PgError> {
    let mut probe = Connection::connect(url, &Session::probe()).await?;
    let sql = format!(
        "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {backend_pid} AND state NOT LIKE 'idle%' \
         AND wait_event IS DISTINCT FROM 'ClientRead'"
    );
    let rows = probe.simple(&sql).await?;
    probe.close().await;
    Ok(!rows.is_empty())
}
