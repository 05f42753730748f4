//! The history: what happened to pipelines and nodes, and who asked for it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::{Error, GenericClient, Row};

use super::{Catalog, CatalogError};

/// Answers hold at most so many events.
const MAX_PAGE: u32 = 1000;

/// Something that happened. Never with a row's value or a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Such as `pipeline_state`, `pipeline_moved` or `definition_changed`.
    pub kind: String,
    pub pipeline: Option<String>,
    pub node: Option<String>,
    pub requested_by: Option<String>,
    pub detail: BTreeMap<String, String>,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Grows with time.
    pub id: u64,
    pub event: Event,
}

/// Which events are asked for; the newest come first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub pipeline: Option<String>,
    pub node: Option<String>,
    pub kind: Option<String>,
    /// Not older than this, milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Only those with a smaller id: the next page.
    pub before_id: Option<u64>,
    /// At most so many, 1 to 1000.
    pub limit: u32,
}

impl Event {
    /// Something that happens now.
    pub fn now(kind: &str) -> Event {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Event { at_ms, kind: kind.to_owned(), ..Event::default() }
    }

    #[must_use]
    pub fn of_pipeline(mut self, name: &str) -> Event {
        self.pipeline = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn of_node(mut self, name: &str) -> Event {
        self.node = Some(name.to_owned());
        self
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Event {
        self.detail.insert(key.to_owned(), value.to_string());
        self
    }
}

impl Catalog {
    /// The events that a filter lets pass, the newest first.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<RecordedEvent>, CatalogError> {
        let query = "select id, (extract(epoch from at) * 1000)::bigint, kind, pipeline, node, requested_by, detail::text \
            from rosetta.events where ($1::text is null or pipeline = $1) and ($2::text is null or node = $2) \
            and ($3::text is null or kind = $3) and ($4::bigint is null or at >= to_timestamp($4 / 1000.0)) \
            and ($5::bigint is null or id < $5) order by id desc limit $6";
        let before = filter.before_id.map(|id| i64::try_from(id).unwrap_or(i64::MAX));
        let limit = i64::from(filter.limit.clamp(1, MAX_PAGE));
        self.within(Box::pin(async {
            let client = self.client().await?;
            let EventFilter { pipeline, node, kind, since_ms, .. } = filter;
            let rows = client.query(query, &[pipeline, node, kind, since_ms, &before, &limit]).await;
            rows.and_then(|rows| rows.iter().map(recorded).collect()).map_err(|error| self.failed(&error))
        }))
        .await
    }
}

fn recorded(row: &Row) -> Result<RecordedEvent, Error> {
    let detail: String = row.try_get(6)?;
    let event = Event {
        at_ms: row.try_get(1)?,
        kind: row.try_get(2)?,
        pipeline: row.try_get(3)?,
        node: row.try_get(4)?,
        requested_by: row.try_get(5)?,
        // Somebody may have written what is no map of texts; the event itself is still worth showing.
        detail: serde_json::from_str(&detail).unwrap_or_default(),
    };
    Ok(RecordedEvent { id: u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default(), event })
}

/// Writes events; one whose token is there already is left out.
pub(super) async fn insert(client: &impl GenericClient, events: &[(i64, Event)]) -> Result<(), Error> {
    let statement = "insert into rosetta.events (token, at, kind, pipeline, node, requested_by, detail) \
        select token, to_timestamp(at / 1000.0), kind, pipeline, node, requested_by, detail::jsonb \
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
        as event (token, at, kind, pipeline, node, requested_by, detail) on conflict (token) do nothing";
    let tokens: Vec<i64> = events.iter().map(|(token, _)| *token).collect();
    let times: Vec<i64> = events.iter().map(|(_, event)| event.at_ms).collect();
    let kinds: Vec<&str> = events.iter().map(|(_, event)| event.kind.as_str()).collect();
    let pipelines: Vec<Option<&str>> = events.iter().map(|(_, event)| event.pipeline.as_deref()).collect();
    let nodes: Vec<Option<&str>> = events.iter().map(|(_, event)| event.node.as_deref()).collect();
    let callers: Vec<Option<&str>> = events.iter().map(|(_, event)| event.requested_by.as_deref()).collect();
    let detail = |(_, event): &(i64, Event)| serde_json::to_string(&event.detail).unwrap_or_else(|_| "{}".to_owned());
    // jsonb has no zero character.
    let details: Vec<String> = events.iter().map(|event| detail(event).replace("\\u0000", " ")).collect();
    client.execute(statement, &[&tokens, &times, &kinds, &pipelines, &nodes, &callers, &details]).await.map(drop)
}
