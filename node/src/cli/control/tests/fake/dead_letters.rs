use rosetta_proto::v1::{
    DeadLetter, DeadLetterSelection, DiscardDeadLettersRequest, DiscardDeadLettersResponse, ExportDeadLettersRequest,
    GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse, ReplayDeadLettersRequest,
    ReplayDeadLettersResponse, dead_letters_server::DeadLetters,
};
use tokio_stream::Empty;
use tonic::{Request, Response, Status, async_trait};

use super::Fake;

/// How many letters there are; each is called by its place.
const LETTERS: u32 = 3;

fn selected(selection: Option<DeadLetterSelection>) -> String {
    let DeadLetterSelection { ids, filter } = selection.unwrap_or_default();
    format!("ids={} pipeline={}", ids.join("+"), filter.unwrap_or_default().pipeline)
}

#[async_trait]
impl DeadLetters for Fake {
    type ExportStream = Empty<Result<DeadLetter, Status>>;

    /// At most two on a page, whatever is asked for.
    async fn list(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let ListDeadLettersRequest { page_size, page_token, .. } = request.into_inner();
        drop(self.ask("List", &format!("size={page_size} from={page_token}"), "")?);
        let first = page_token.parse().unwrap_or(0);
        let end = LETTERS.min(first + page_size.min(2));
        let letter = |place: u32| DeadLetter { id: place.to_string(), ..DeadLetter::default() };
        let next_page_token = if end < LETTERS { end.to_string() } else { String::new() };
        let dead_letters = (first..end).map(letter).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token, total: LETTERS.into() }))
    }

    async fn discard(
        &self,
        request: Request<DiscardDeadLettersRequest>,
    ) -> Result<Response<DiscardDeadLettersResponse>, Status> {
        let DiscardDeadLettersRequest { request_id, selection, requested_by, reason } = request.into_inner();
        let what = format!("{} by={requested_by} reason={reason}", selected(selection));
        drop(self.ask("Discard", &what, &request_id)?);
        Ok(Response::new(DiscardDeadLettersResponse { discarded: 2 }))
    }

    async fn replay(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<ReplayDeadLettersResponse>, Status> {
        let ReplayDeadLettersRequest { request_id, selection, requested_by, reason } = request.into_inner();
        let what = format!("{} by={requested_by} reason={reason}", selected(selection));
        drop(self.ask("Replay", &what, &request_id)?);
        Ok(Response::new(ReplayDeadLettersResponse { selected: 2 }))
    }

    async fn get(&self, _: Request<GetDeadLetterRequest>) -> Result<Response<DeadLetter>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn export(&self, _: Request<ExportDeadLettersRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
