//! `Pipelines/Watch`: statuses as they change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rosetta_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Status;

use super::{
    Api, errors,
    stream::{Produced, Sender},
};
use crate::api::refuse;

/// Between two answers of a watch that does not say.
const EVERY: Duration = Duration::from_secs(1);
/// What it may ask for, in milliseconds.
const ALLOWED_MS: std::ops::RangeInclusive<u32> = 100..=60_000;
/// A change of state is seen within this time: owners are asked so often while somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// # Errors
/// The interval cannot be kept, or nothing is known of the cluster.
pub(super) fn start(
    api: Arc<Api>,
    request: v1::WatchPipelinesRequest,
) -> Result<Produced<v1::WatchPipelinesResponse>, Status> {
    let v1::WatchPipelinesRequest { names, interval_ms } = request;
    let every = match interval_ms {
        0 => EVERY,
        millis if ALLOWED_MS.contains(&millis) => Duration::from_millis(millis.into()),
        millis => {
            let message = format!("interval_ms is {millis}: give 100 to 60000, or 0 for 1000");
            return Err(refuse::field("interval_ms", message, "INTERVAL"));
        }
    };
    api.known()?;
    let names = names.into_iter().collect();
    Ok(Produced::by(|sender| follow(api, names, every, sender)))
}

async fn follow(api: Arc<Api>, names: BTreeSet<String>, every: Duration, sender: Sender<v1::WatchPipelinesResponse>) {
    let mut shown = Shown::default();
    let mut looks = interval(LOOK_EVERY.min(every));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Instant::now();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = api.cancel.cancelled() => {
                let _ = sender.send(Err(errors::stopping())).await;
                return;
            }
        }
        let view = api.node.views.now();
        let wanted = view.pipelines.keys().filter(|name| names.is_empty() || names.contains(name.as_str()));
        let statuses = api.statuses(&view, wanted).await;
        let statuses = statuses.into_values().map(|status| (status.pipeline.clone(), status)).collect();
        let is_due = Instant::now() >= due;
        let Some(news) = shown.news(statuses, is_due) else { continue };
        if is_due {
            due = Instant::now() + every;
        }
        if sender.send(Ok(news)).await.is_err() {
            return;
        }
    }
}

/// What a caller was shown.
#[derive(Default)]
struct Shown {
    statuses: BTreeMap<String, v1::PipelineStatus>,
    has_begun: bool,
}

impl Shown {
    /// What to send now: all at first, even if that is nothing; then what is gone and whose state has changed at once,
    /// and other figures when they are due.
    fn news(&mut self, now: BTreeMap<String, v1::PipelineStatus>, is_due: bool) -> Option<v1::WatchPipelinesResponse> {
        let deleted: Vec<String> = self.statuses.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        let is_news = |status: &&v1::PipelineStatus| match self.statuses.get(&status.pipeline) {
            None => true,
            Some(before) => is_another_state(before, status) || (is_due && has_other_figures(before, status)),
        };
        let statuses: Vec<v1::PipelineStatus> = now.values().filter(is_news).cloned().collect();
        for name in &deleted {
            self.statuses.remove(name);
        }
        for status in &statuses {
            self.statuses.insert(status.pipeline.clone(), status.clone());
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let has_news = is_first || !statuses.is_empty() || !deleted.is_empty();
        has_news.then_some(v1::WatchPipelinesResponse { statuses, deleted })
    }
}

fn is_another_state(before: &v1::PipelineStatus, now: &v1::PipelineStatus) -> bool {
    (before.state, &before.node, &before.error) != (now.state, &now.node, &now.error)
}

/// When the owner looked is no change.
fn has_other_figures(before: &v1::PipelineStatus, now: &v1::PipelineStatus) -> bool {
    v1::PipelineStatus { observed_at: now.observed_at, ..before.clone() } != *now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, state: v1::PipelineState, changes: u64) -> (String, v1::PipelineStatus) {
        let observed_at = Some(std::time::SystemTime::now().into());
        let pipeline = name.to_owned();
        let status =
            v1::PipelineStatus { pipeline, state: state.into(), changes, observed_at, ..v1::PipelineStatus::default() };
        (name.to_owned(), status)
    }

    fn names(news: Option<v1::WatchPipelinesResponse>) -> Option<(Vec<String>, Vec<String>)> {
        news.map(|news| (news.statuses.into_iter().map(|status| status.pipeline).collect(), news.deleted))
    }

    #[test]
    fn states_are_told_at_once_and_figures_when_they_are_due() {
        use v1::PipelineState::{Paused, Running};
        let told = |statuses: &[&str], deleted: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            Some((owned(statuses), owned(deleted)))
        };
        let mut shown = Shown::default();
        let mut news = |statuses: Vec<_>, is_due| names(shown.news(statuses.into_iter().collect(), is_due));
        assert_eq!(news(vec![], true), told(&[], &[]), "the first answer says that there is nothing");
        assert_eq!(news(vec![status("a", Running, 1), status("b", Running, 1)], false), told(&["a", "b"], &[]));
        assert_eq!(news(vec![status("a", Running, 1), status("b", Running, 1)], true), None);
        assert_eq!(news(vec![status("a", Running, 2), status("b", Paused, 1)], false), told(&["b"], &[]));
        assert_eq!(news(vec![status("a", Running, 2), status("b", Paused, 1)], true), told(&["a"], &[]));
        assert_eq!(news(vec![status("a", Running, 2)], false), told(&[], &["b"]));
    }
}
