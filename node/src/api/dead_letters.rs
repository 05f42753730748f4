//! `rosetta.v1.DeadLetters` over the letters of a process.

mod reach;
mod select;

use std::{pin::Pin, sync::Arc, time::Duration};

use rosetta_proto::{
    error_status,
    v1::{self, dead_letters_client::DeadLettersClient, dead_letters_server},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, metadata::MetadataValue, transport::Channel};

pub(super) use self::reach::Reach;
use self::select::{Selected, Selection};
use crate::dead_letters::{
    Addressed, ColumnText, Desk, DeskError, LetterChange, LetterName, Mailbox, StoreError, table_name,
};
use crate::pipeline::batch::Operation;

const DEFAULT_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// Letters of an export that are ready before they are taken.
const EXPORT_AHEAD: usize = 16;

/// The letters of some mailboxes.
#[derive(Clone)]
pub(super) struct DeadLetters {
    desk: Arc<Desk>,
    reach: Reach,
}

impl DeadLetters {
    pub(super) fn new(desk: Arc<Desk>, reach: Reach) -> DeadLetters {
        DeadLetters { desk, reach }
    }

    fn selection(&self, filter: Option<v1::DeadLetterFilter>) -> Selection {
        Selection::new(Arc::clone(&self.desk), &self.reach.mailboxes(), filter.unwrap_or_default())
    }

    /// Who runs the pipeline, if another node does.
    fn owner(&self, mailbox: &Mailbox, is_forwarded: bool) -> Result<Option<DeadLettersClient<Channel>>, Status> {
        if is_forwarded {
            return Ok(None);
        }
        Ok(self.reach.elsewhere(&mailbox.pipeline)?.map(DeadLettersClient::new))
    }

    /// The letters that a request means, by name.
    async fn selected(&self, wanted: Option<v1::DeadLetterSelection>) -> Result<Vec<LetterName>, Status> {
        let v1::DeadLetterSelection { ids, filter } = wanted.unwrap_or_default();
        match (ids.is_empty(), filter) {
            (false, None) if ids.len() <= LARGEST_PAGE as usize => ids.iter().map(|id| parse(id, "ids")).collect(),
            (false, None) => Err(invalid("more than 1000 ids: select by a filter, or in several calls", "ids")),
            (true, Some(filter)) if !filter.pipeline.is_empty() => {
                let (mut selection, mut names) = (self.selection(Some(filter)), Vec::new());
                while let Some(Selected { name, .. }) = selection.next().await.map_err(store_status)? {
                    names.push(name);
                }
                Ok(names)
            }
            (true, Some(_)) => Err(invalid("the filter names no pipeline", "filter.pipeline")),
            (true, None) => Err(invalid("select letters by their ids or by a filter", "selection")),
            (false, Some(_)) => Err(invalid("select letters by their ids or by a filter, not both", "selection")),
        }
    }
}

type Exported = Pin<Box<dyn Stream<Item = Result<v1::DeadLetter, Status>> + Send>>;

#[tonic::async_trait]
impl dead_letters_server::DeadLetters for DeadLetters {
    type ExportStream = Exported;

    async fn list(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        let v1::ListDeadLettersRequest { filter, page_size, page_token } = request.into_inner();
        let size = match page_size {
            0 => DEFAULT_PAGE,
            1..=LARGEST_PAGE => page_size,
            _ => return Err(invalid("page_size is more than 1000", "page_size")),
        };
        let mut selection = self.selection(filter);
        let total = selection.count().await.map_err(store_status)?;
        if !page_token.is_empty() {
            selection.go_on_after(&parse(&page_token, "page_token")?);
        }
        let (mut letters, mut last) = (Vec::new(), None);
        let mut next_page_token = String::new();
        while let Some(selected) = selection.next().await.map_err(store_status)? {
            if letters.len() == size as usize {
                next_page_token = last.map(|name: LetterName| name.to_string()).unwrap_or_default();
                break;
            }
            letters.push(message(&selected, false));
            last = Some(selected.name);
        }
        Ok(Response::new(v1::ListDeadLettersResponse { dead_letters: letters, next_page_token, total }))
    }

    async fn get(&self, request: Request<v1::GetDeadLetterRequest>) -> Result<Response<v1::DeadLetter>, Status> {
        let v1::GetDeadLetterRequest { id, include_values } = request.into_inner();
        let found = select::find(&self.desk, &parse(&id, "id")?).await.map_err(store_status)?;
        let Some(selected) = found else {
            let message = format!("there is no dead letter '{id}': it may have been applied or discarded");
            return Err(error_status(Code::NotFound, message, "id", "DEAD_LETTER_NOT_FOUND"));
        };
        Ok(Response::new(message(&selected, include_values)))
    }

    async fn replay(
        &self,
        request: Request<v1::ReplayDeadLettersRequest>,
    ) -> Result<Response<v1::ReplayDeadLettersResponse>, Status> {
        let is_forwarded = is_forwarded(&request);
        let mut asked = request.into_inner();
        if asked.requested_by.is_empty() {
            return Err(invalid("requested_by is empty: say who asks", "requested_by"));
        }
        let names = self.selected(asked.selection.take()).await?;
        for (mailbox, names) in by_mailbox(&names) {
            if let Some(owner) = self.owner(&mailbox, is_forwarded)? {
                for selection in selections(&names) {
                    let request = v1::ReplayDeadLettersRequest { selection: Some(selection), ..asked.clone() };
                    owner.clone().replay(forwarded(request)).await?;
                }
                continue;
            }
            let mut tables: Vec<String> = names.iter().map(|name| name.stream.table.clone()).collect();
            tables.dedup();
            self.desk.replay(&mailbox, &tables).await.map_err(desk_status)?;
        }
        let v1::ReplayDeadLettersRequest { requested_by, reason, .. } = asked;
        tracing::info!(requested_by, reason, letters = names.len(), "dead letters are tried again");
        Ok(Response::new(v1::ReplayDeadLettersResponse { selected: names.len() as u64 }))
    }

    async fn discard(
        &self,
        request: Request<v1::DiscardDeadLettersRequest>,
    ) -> Result<Response<v1::DiscardDeadLettersResponse>, Status> {
        let is_forwarded = is_forwarded(&request);
        let mut asked = request.into_inner();
        for (value, field) in [(&asked.requested_by, "requested_by"), (&asked.reason, "reason")] {
            if value.is_empty() {
                return Err(invalid(&format!("{field} is empty: say who asks, and why"), field));
            }
        }
        let names = self.selected(asked.selection.take()).await?;
        let v1::DiscardDeadLettersRequest { requested_by, reason, .. } = &asked;
        let mut discarded = 0;
        for (mailbox, names) in by_mailbox(&names) {
            if let Some(owner) = self.owner(&mailbox, is_forwarded)? {
                for selection in selections(&names) {
                    let request = v1::DiscardDeadLettersRequest { selection: Some(selection), ..asked.clone() };
                    discarded += owner.clone().discard(forwarded(request)).await?.into_inner().discarded;
                }
                continue;
            }
            discarded += self.desk.discard(&mailbox, &names).await.map_err(desk_status)?;
            let Mailbox { pipeline, destination } = mailbox;
            tracing::warn!(pipeline, destination, requested_by, reason, discarded, "dead letters were given up");
        }
        Ok(Response::new(v1::DiscardDeadLettersResponse { discarded }))
    }

    async fn export(&self, request: Request<v1::ExportDeadLettersRequest>) -> Result<Response<Exported>, Status> {
        let v1::ExportDeadLettersRequest { filter, include_values } = request.into_inner();
        let mut selection = self.selection(filter);
        let (sender, receiver) = tokio::sync::mpsc::channel(EXPORT_AHEAD);
        tokio::spawn(async move {
            loop {
                let item = match selection.next().await {
                    Ok(Some(selected)) => Ok(message(&selected, include_values)),
                    Ok(None) => break,
                    Err(error) => Err(store_status(error)),
                };
                let is_last = item.is_err();
                if sender.send(item).await.is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(|item| item))))
    }
}

/// Says that a node has passed a request on to the owner of a pipeline, who does not pass it on again.
const FORWARDED: &str = "rosetta-forwarded";

fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED)
}

fn forwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(FORWARDED, MetadataValue::from_static("1"));
    request
}

/// The same letters by their ids, as many as one request may have.
fn selections(names: &[LetterName]) -> impl Iterator<Item = v1::DeadLetterSelection> {
    names.chunks(LARGEST_PAGE as usize).map(|names| {
        let ids = names.iter().map(ToString::to_string).collect();
        v1::DeadLetterSelection { ids, filter: None }
    })
}

fn by_mailbox(names: &[LetterName]) -> Vec<(Mailbox, Vec<LetterName>)> {
    let mut mailboxes = std::collections::BTreeMap::<Mailbox, Vec<LetterName>>::new();
    for name in names {
        mailboxes.entry(name.stream.mailbox.clone()).or_default().push(name.clone());
    }
    mailboxes.into_iter().collect()
}

fn message(selected: &Selected, with_values: bool) -> v1::DeadLetter {
    let Addressed { letter, .. } = &selected.letter;
    let Mailbox { pipeline, destination } = selected.name.stream.mailbox.clone();
    let failure = letter.failure.as_ref();
    let at = |millis: u64| (std::time::UNIX_EPOCH + Duration::from_millis(millis)).into();
    v1::DeadLetter {
        id: selected.name.to_string(),
        pipeline,
        destination,
        table: table_name(&selected.letter.table),
        lsn: letter.id.commit_lsn.to_string(),
        ordinal: letter.id.ordinal,
        key: selected.letter.key_text(),
        operation: operation(&letter.change).into(),
        error: failure.map_or(select::AWAY.to_owned(), |failure| failure.message.clone()),
        error_class: selected.class().to_owned(),
        attempts: failure.map_or(0, |failure| failure.attempts),
        first_failed_at: Some(at(failure.map_or(letter.added_at, |failure| failure.first_failed_at))),
        last_failed_at: failure.map(|failure| at(failure.last_failed_at)),
        values: if with_values { values(&selected.letter) } else { Vec::new() },
    }
}

fn operation(change: &LetterChange) -> v1::Operation {
    match change {
        LetterChange::Row { operation, .. } => match operation {
            Operation::Insert => v1::Operation::Insert,
            Operation::Update | Operation::Rekey => v1::Operation::Update,
            Operation::Delete => v1::Operation::Delete,
        },
        LetterChange::Truncate { .. } => v1::Operation::Truncate,
    }
}

fn values(letter: &Addressed) -> Vec<v1::ColumnValue> {
    let column = |(name, text)| match text {
        ColumnText::Null => v1::ColumnValue { name, value: None, is_unchanged: false },
        ColumnText::Unchanged => v1::ColumnValue { name, value: None, is_unchanged: true },
        ColumnText::Text(text) => v1::ColumnValue { name, value: Some(text), is_unchanged: false },
    };
    letter.columns().into_iter().map(column).collect()
}

fn parse(id: &str, field: &str) -> Result<LetterName, Status> {
    id.parse().map_err(|error: crate::dead_letters::LetterNameError| invalid(&error.to_string(), field))
}

fn invalid(message: &str, field: &str) -> Status {
    error_status(Code::InvalidArgument, message, field, "")
}

fn store_status(error: StoreError) -> Status {
    let code = if error.is_transient() { Code::Unavailable } else { Code::Internal };
    error_status(code, error.to_string(), "", "DEAD_LETTER_STORE")
}

fn desk_status(error: DeskError) -> Status {
    match error {
        DeskError::Store(error) => store_status(error),
        DeskError::NotRunning { .. } => error_status(Code::FailedPrecondition, error.to_string(), "", "NOT_RUNNING"),
        DeskError::NoAnswer { .. } | DeskError::Failed(_) => {
            error_status(Code::Unavailable, error.to_string(), "", "DESTINATION_UNAVAILABLE")
        }
    }
}
