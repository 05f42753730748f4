//! The only place that polls. A scenario waits for an event under a deadline, never for a length of time.

use std::time::Duration;

use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(20);

/// Calls `poll` until it answers `Ok`. After `deadline` panics with `what` and the last `Err`, which says why not yet.
pub async fn eventually<T>(deadline: Duration, what: &str, mut poll: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    let mut not_yet = "the first attempt did not return".to_owned();
    loop {
        match tokio::time::timeout_at(end, poll()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(reason)) => not_yet = reason,
            Err(_) => {}
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}\n  last: {not_yet}");
        tokio::time::sleep(POLL).await;
    }
}

/// The same for code that cannot be async (`Drop`): true when `condition` became true within `deadline`.
pub(crate) fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + deadline;
    while !condition() {
        if std::time::Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}
