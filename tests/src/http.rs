//! A plain HTTP request, for probes.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The whole answer: status line, headers and body.
///
/// # Errors
/// Nobody answers.
pub async fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: rosetta\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The status code; `None` when nobody answers.
pub async fn status(address: &str, path: &str) -> Option<u16> {
    get(address, path).await.ok()?.split(' ').nth(1)?.parse().ok()
}
