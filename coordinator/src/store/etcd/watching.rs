//! A watch on etcd, and the watchdog on it: a member that is cut off says nothing, and neither does a quiet one.

use std::{sync::Arc, time::Duration};

use etcd_client::{WatchRequestSender, WatchResponse, WatchResponseStream, WatchStream};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::{Members, convert};
use crate::store::{Changes, Revision, StoreError};

/// How often the member is asked whether it is still there.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(3);

/// Carries changes from `stream` to `changes` until either ends; the failure is the last thing sent.
pub(super) async fn forward(stream: WatchStream, members: Arc<Members>, changes: Sender<Result<Changes, StoreError>>) {
    let (requests, mut responses) = stream.split();
    let error = tokio::select! {
        biased;
        error = carry(&mut responses, &members, &changes) => error,
        () = ask_for_progress(requests) => members.unavailable("the watch is closed".to_owned()),
        () = changes.closed() => return,
    };
    if error.is_transient() {
        members.leave_current();
    }
    // The user may have dropped the watch meanwhile.
    let _ = changes.send(Err(error)).await;
}

async fn ask_for_progress(mut requests: WatchRequestSender) {
    let mut tick = interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if requests.request_progress().await.is_err() {
            return;
        }
    }
}

async fn carry(
    responses: &mut WatchResponseStream,
    members: &Members,
    changes: &Sender<Result<Changes, StoreError>>,
) -> StoreError {
    loop {
        let answer = match timeout_at(Instant::now() + SILENCE, responses.message()).await {
            Err(_) => return members.unavailable(format!("silent for {} s", SILENCE.as_secs())),
            Ok(Err(error)) => return members.unavailable(error.to_string()),
            Ok(Ok(None)) => return members.unavailable("the watch was closed".to_owned()),
            Ok(Ok(Some(answer))) => answer,
        };
        match taken(&answer, members) {
            Err(error) => return error,
            Ok(news) if news.is_empty() => {}
            Ok(news) => {
                if changes.send(Ok(news)).await.is_err() {
                    return members.unavailable("nobody listens".to_owned());
                }
            }
        }
    }
}

/// What a response says. One without events is the sign of life that was asked for; the revision in it is not used,
/// since it may be ahead of events that are still to come.
fn taken(answer: &WatchResponse, members: &Members) -> Result<Changes, StoreError> {
    if answer.compact_revision() > 0 {
        return Err(StoreError::Compacted(Revision(answer.compact_revision())));
    }
    if answer.canceled() {
        return Err(members.unavailable(format!("the watch was cancelled: {}", answer.cancel_reason())));
    }
    Ok(answer.events().iter().filter_map(convert::event).collect())
}
