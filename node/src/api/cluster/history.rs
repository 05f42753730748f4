//! `Cluster/ListEvents`, and what this node tells the history.

use rosetta_proto::v1;
use tokio::time::timeout;
use tonic::{Request, Status};

use super::{Api, contact::ANSWERED_WITHIN, errors, errors::Place, listing::page_size_of, stored::at};
use crate::{
    api::refuse,
    catalog::{Event, EventFilter, RecordedEvent},
};

/// Entries on a page that does not say, and the most that it may ask for.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

impl Api {
    /// # Errors
    /// The config database is away, or the page is none.
    pub(super) async fn events(&self, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Status> {
        let filter = filter(request)?;
        let listed = timeout(ANSWERED_WITHIN, Box::pin(self.node.catalog.events(&filter))).await;
        let listed = listed.unwrap_or_else(|_| Err(self.silent()));
        let listed = listed.map_err(|error| errors::catalog(&error, Place::Single))?;
        Ok(page(listed, filter.limit))
    }

    /// Takes down what somebody asked of a node or a pipeline.
    pub(super) fn record<T>(&self, event: Event, request: &Request<T>) {
        let by = who(request);
        self.node.recorder.record(Event { requested_by: (!by.is_empty()).then_some(by), ..event });
    }
}

/// Who asks, as far as a call tells: the address. Nobody proves a name here.
pub(super) fn who<T>(request: &Request<T>) -> String {
    request.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default()
}

/// # Errors
/// The page is none.
fn filter(request: v1::ListEventsRequest) -> Result<EventFilter, Status> {
    let v1::ListEventsRequest { pipeline, node, kind, since, page_size, page_token } = request;
    let no_token = |_| refuse::field("page_token", "page_token is none of a history's: leave it out", "PAGE_TOKEN");
    let before_id = (!page_token.is_empty()).then(|| page_token.parse()).transpose().map_err(no_token)?;
    let limit = page_size_of(page_size, PAGE, LARGEST_PAGE)?;
    let chosen = |text: String| (!text.is_empty()).then_some(text);
    Ok(EventFilter {
        pipeline: chosen(pipeline),
        node: chosen(node),
        kind: chosen(kind),
        since_ms: since
            .map(|since| since.seconds.saturating_mul(1000).saturating_add(i64::from(since.nanos) / 1_000_000)),
        before_id,
        limit: u32::try_from(limit).unwrap_or(LARGEST_PAGE),
    })
}

fn page(listed: Vec<RecordedEvent>, limit: u32) -> v1::ListEventsResponse {
    let is_full = listed.len() >= limit as usize;
    let last = listed.last().map(|recorded| recorded.id.to_string()).unwrap_or_default();
    let next_page_token = if is_full { last } else { String::new() };
    v1::ListEventsResponse { events: listed.into_iter().map(message).collect(), next_page_token }
}

fn message(RecordedEvent { id, event }: RecordedEvent) -> v1::Event {
    let Event { at_ms, kind, pipeline, node, requested_by, detail } = event;
    v1::Event {
        id,
        at: Some(at(at_ms).into()),
        kind,
        pipeline: pipeline.unwrap_or_default(),
        node: node.unwrap_or_default(),
        requested_by: requested_by.unwrap_or_default(),
        detail: detail.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_leads_to_the_next_one() {
        let event = |id| RecordedEvent { id, event: Event { at_ms: 1500, kind: "k".to_owned(), ..Event::default() } };
        let full = page(vec![event(9), event(7)], 2);
        assert_eq!((full.events.len(), full.next_page_token.as_str()), (2, "7"));
        assert_eq!(full.events[0].at.map(|at| (at.seconds, at.nanos)), Some((1, 500_000_000)));
        assert_eq!(page(vec![event(9)], 2).next_page_token, "");
        let next = filter(v1::ListEventsRequest { page_token: full.next_page_token, ..Default::default() }).unwrap();
        assert_eq!((next.before_id, next.limit, next.pipeline), (Some(7), 100, None));
        let strange = v1::ListEventsRequest { page_token: "x".to_owned(), ..Default::default() };
        assert!(filter(strange).is_err());
    }
}
