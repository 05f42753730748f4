//! `dlq`: changes that a destination did not take.

mod arguments;
mod letter;

use std::io::{self, Write};

use rosetta_proto::v1::{
    DeadLetter, DiscardDeadLettersRequest, ExportDeadLettersRequest, GetDeadLetterRequest, ListDeadLettersRequest,
    ReplayDeadLettersRequest, dead_letters_client::DeadLettersClient,
};
use tonic::transport::Channel;

pub(crate) use arguments::Command;

use super::{
    super::{Output, json},
    client::Client,
    error::ControlError,
    words::request_id,
};
use arguments::{Export, List, Settle, Show};
use letter::Letter;

/// As many as one answer can hold.
const LARGEST_PAGE: u32 = 1000;
/// A letter holds a whole row, and PostgreSQL sends one of up to 1 GB; beyond this only SQL can look at it.
const LARGEST_ANSWER: usize = 256 << 20;

pub(super) async fn run(command: Command) -> Result<String, ControlError> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show(arguments).await,
        Command::Replay(arguments) => replay(arguments).await,
        Command::Discard(arguments) => discard(arguments).await,
        Command::Export(arguments) => export(arguments).await,
    }
}

fn service(channel: Channel) -> DeadLettersClient<Channel> {
    DeadLettersClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}

async fn list(List { filter, limit, connection }: List) -> Result<String, ControlError> {
    let client = connection.client()?;
    let request = ListDeadLettersRequest { filter: Some(filter.message()), ..ListDeadLettersRequest::default() };
    let (letters, total) = pages(&client, request, limit).await?;
    let letters: Vec<_> = letters.into_iter().map(Letter::new).collect();
    Ok(match connection.output {
        Output::Json => json(&letters),
        Output::Table if letters.is_empty() => "no dead letters\n".to_owned(),
        Output::Table => letter::list(letters, total),
    })
}

/// The first `limit` letters, and how many there are.
async fn pages(
    client: &Client,
    mut request: ListDeadLettersRequest,
    limit: usize,
) -> Result<(Vec<DeadLetter>, u64), ControlError> {
    let mut letters = Vec::new();
    loop {
        let missing = u32::try_from(limit - letters.len()).unwrap_or(LARGEST_PAGE);
        request.page_size = missing.clamp(1, LARGEST_PAGE);
        let page = client.call(async |channel| service(channel).list(request.clone()).await).await?;
        letters.extend(page.dead_letters);
        letters.truncate(limit);
        if page.next_page_token.is_empty() || letters.len() == limit {
            return Ok((letters, page.total));
        }
        request.page_token = page.next_page_token;
    }
}

async fn show(Show { id, values, connection }: Show) -> Result<String, ControlError> {
    let request = GetDeadLetterRequest { id, include_values: values };
    let letter = connection.client()?.call(async |channel| service(channel).get(request.clone()).await).await?;
    let letter = Letter::new(letter);
    Ok(match connection.output {
        Output::Json => json(&letter),
        Output::Table => letter.page(),
    })
}

async fn replay(arguments: Settle) -> Result<String, ControlError> {
    let (selection, output) = (arguments.selection()?, arguments.connection.output);
    let client = arguments.connection.client()?;
    let requested_by = arguments.who();
    let reason = arguments.reason.unwrap_or_default();
    let request =
        ReplayDeadLettersRequest { request_id: request_id(), selection: Some(selection), requested_by, reason };
    let answer = client.call(async |channel| service(channel).replay(request.clone()).await).await?;
    Ok(match output {
        Output::Json => json(&serde_json::json!({ "selected": answer.selected })),
        Output::Table => format!("{} selected; `rosetta dlq list` shows those that fail again\n", answer.selected),
    })
}

async fn discard(arguments: Settle) -> Result<String, ControlError> {
    let (selection, output) = (arguments.selection()?, arguments.connection.output);
    let client = arguments.connection.client()?;
    let requested_by = arguments.who();
    let reason = arguments.reason.unwrap_or_default();
    if reason.is_empty() {
        let message =
            "dlq discard needs --reason: the destination differs from the source afterwards; say why that is right";
        return Err(ControlError::Plain(message.to_owned()));
    }
    let request =
        DiscardDeadLettersRequest { request_id: request_id(), selection: Some(selection), requested_by, reason };
    let answer = client.call(async |channel| service(channel).discard(request.clone()).await).await?;
    Ok(match output {
        Output::Json => json(&serde_json::json!({ "discarded": answer.discarded })),
        Output::Table => format!("{} discarded\n", answer.discarded),
    })
}

/// Writes as letters come: there may be more than memory holds. JSON is one object per line.
async fn export(Export { filter, values, connection }: Export) -> Result<String, ControlError> {
    let request = ExportDeadLettersRequest { filter: Some(filter.message()), include_values: values };
    let open = async |channel| service(channel).export(request.clone()).await;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let cannot_write = |error: &dyn std::fmt::Display| format!("cannot write the letters: {error}");
    let write = |letter: DeadLetter| {
        let line = serde_json::to_string(&Letter::new(letter)).map_err(|error| cannot_write(&error))?;
        writeln!(out, "{line}").map_err(|error| cannot_write(&error).into())
    };
    connection.client()?.drain(open, write).await?;
    out.flush().map_err(|error| cannot_write(&error))?;
    Ok(String::new())
}
