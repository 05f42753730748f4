//! Calls to a node, with a deadline; the next node is asked when one cannot answer.

use std::{ops::ControlFlow, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::{
    Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::error::ControlError;

/// How long one call to one node may take, connecting included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// A host that swallows packets is given up earlier, so that the next one still answers while a person waits.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A stream whose node died without a word is noticed after twice this.
const STREAM_PING: Duration = Duration::from_secs(5);
/// Before a stream that broke is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(300);

/// The nodes that may be asked, in this order.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    nodes: Vec<(String, Endpoint)>,
    deadline: Duration,
}

impl Client {
    /// # Errors
    /// One of `endpoints`, which are separated by commas, is none.
    pub(super) fn new(endpoints: &str) -> Result<Client, ControlError> {
        let texts = endpoints.split(',').map(str::trim).filter(|text| !text.is_empty());
        let nodes = texts.map(endpoint).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            Err(ControlError::BadEndpoint(endpoints.to_owned()))
        } else {
            Ok(Client { nodes, deadline: DEADLINE })
        }
    }

    /// Asks one node after the other until one answers. `request` may thus be sent more than once: one that changes
    /// something carries a request id.
    ///
    /// # Errors
    /// The first answer that other nodes would not better; or what the nodes that could be reached said.
    pub(super) async fn call<T>(
        &self,
        request: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, ControlError> {
        let mut told = None;
        for (url, endpoint) in &self.nodes {
            let answered = timeout(self.deadline, attempt(url, endpoint, &request)).await;
            match answered.unwrap_or_else(|_| Err(ControlError::Silent(url.clone()))) {
                Ok(answer) => return Ok(answer),
                Err(ControlError::NoNode(_)) => {}
                Err(error) if error.is_this_nodes() => told = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(told.unwrap_or_else(|| ControlError::NoNode(self.urls())))
    }

    /// Reads a stream until `on_message` breaks it off. One that ends is opened again, at another node if need be;
    /// `on_message` is told which message is the first of a stream.
    ///
    /// # Errors
    /// As [`Client::call`]; or a stream that ends before anything came.
    pub(super) async fn follow<T, R>(
        &self,
        open: impl AsyncFn(Channel) -> Result<Response<Streaming<T>>, Status>,
        mut on_message: impl FnMut(T, bool) -> ControlFlow<R>,
    ) -> Result<R, ControlError> {
        loop {
            let mut stream = self.call(&open).await?;
            let mut has_spoken = false;
            let end = loop {
                match stream.message().await {
                    Ok(Some(message)) => match on_message(message, !has_spoken) {
                        ControlFlow::Break(result) => return Ok(result),
                        ControlFlow::Continue(()) => has_spoken = true,
                    },
                    Ok(None) => break ControlError::Broken(self.urls()),
                    Err(status) => break ControlError::from_status(&self.urls(), &status),
                }
            };
            if !has_spoken || !end.is_this_nodes() {
                return Err(end);
            }
            sleep(REOPEN_AFTER).await;
        }
    }

    /// Reads a stream to its end; it is not opened again, because what came must not come twice.
    ///
    /// # Errors
    /// As [`Client::call`]; or that the stream broke, or what `on_message` says.
    pub(super) async fn drain<T>(
        &self,
        open: impl AsyncFn(Channel) -> Result<Response<Streaming<T>>, Status>,
        mut on_message: impl FnMut(T) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut stream = self.call(open).await?;
        loop {
            match stream.message().await {
                Ok(Some(message)) => on_message(message)?,
                Ok(None) => return Ok(()),
                Err(status) => return Err(ControlError::from_status(&self.urls(), &status)),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn with_deadline(self, deadline: Duration) -> Client {
        Client { deadline, ..self }
    }

    pub(super) fn nodes(&self) -> &[(String, Endpoint)] {
        &self.nodes
    }

    fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|(url, _)| url.as_str()).collect();
        urls.join(", ")
    }
}

async fn attempt<T>(
    url: &str,
    endpoint: &Endpoint,
    request: impl AsyncFn(Channel) -> Result<Response<T>, Status>,
) -> Result<T, ControlError> {
    let channel = endpoint.connect().await.map_err(|_| ControlError::NoNode(url.to_owned()))?;
    let answer = request(channel).await.map_err(|status| ControlError::from_status(url, &status))?;
    Ok(answer.into_inner())
}

fn endpoint(text: &str) -> Result<(String, Endpoint), ControlError> {
    let bad = || ControlError::BadEndpoint(text.to_owned());
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| bad())?;
    let uri = endpoint.uri();
    if uri.scheme_str() != Some("http") || uri.port_u16().is_none() {
        return Err(bad());
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(STREAM_PING)
        .keep_alive_timeout(STREAM_PING)
        .keep_alive_while_idle(true);
    Ok((url, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let client = Client::new("http://a:1, b:50051,").unwrap();
        assert_eq!(client.urls(), "http://a:1, http://b:50051");
        for bad in ["", ",", "https://a:1", "http://a", "a b:1", "unix:///x"] {
            assert!(matches!(Client::new(bad), Err(ControlError::BadEndpoint(_))), "{bad}");
        }
    }
}
