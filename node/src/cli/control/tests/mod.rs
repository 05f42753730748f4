//! Commands against nodes in this process, over real sockets.

mod calls;
mod cluster;
mod dead_letters;
mod fake;
mod health;
mod pipelines;
mod reflection;

use std::net::TcpListener;

use clap::Parser;

use super::{Answer, Command, answer};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What a command line answers when it asks these endpoints.
async fn ask(endpoints: &str, line: &[&str]) -> Answer {
    let words = [&["rosetta"], line, &["--endpoint", endpoints]].concat();
    match Line::try_parse_from(words) {
        Ok(line) => Box::pin(answer(line.command)).await,
        Err(error) => panic!("{error}"),
    }
}

impl Answer {
    fn text(&self) -> &str {
        assert!(self.errors.is_empty(), "{:?}", self.errors);
        &self.text
    }

    fn error(&self) -> String {
        assert_eq!(self.errors.len(), 1, "{self:?}");
        self.errors[0].to_string()
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_or_else(|error| panic!("{error}"), |address| format!("http://{address}"))
}
