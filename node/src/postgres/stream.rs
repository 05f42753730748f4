use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, UnixStream, lookup_host},
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::PgUrl;

/// A peer that has vanished is noticed after about this long, also while nothing is sent.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// Data that stays unacknowledged for this long ends the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the kernel may hold of a replication stream from near by. The WAL sender makes a packet of each row,
/// and each costs it dearly, unless a packet cannot leave yet: then rows gather in its kernel. So there is
/// room for little (measured: docs/BENCHMARKS.md).
const STREAM_ROOM: u32 = 8 * 1024;
/// Over a longer way so little room would make the round trip the limit.
const NEAR: Duration = Duration::from_millis(1);

/// The three kinds of sockets to a server, as one.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    pub(super) async fn open(url: &PgUrl, is_replication: bool) -> io::Result<Stream> {
        if url.is_unix_socket() {
            let path = format!("{}/.s.PGSQL.{}", url.host, url.port);
            return Ok(Stream::Unix(UnixStream::connect(path).await?));
        }
        let stream = connect(url, is_replication).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(Stream::Tcp(stream))
    }
}

/// Connects to the first of the host's addresses that answers.
async fn connect(url: &PgUrl, is_replication: bool) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in lookup_host((url.host.as_str(), url.port)).await? {
        let connected = if is_replication { connect_narrow(address).await } else { TcpStream::connect(address).await };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Connects with little room in the kernel if the way is short. The room must be set before: it is part of what TCP
/// agrees upon.
async fn connect_narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(STREAM_ROOM)?;
    let began = Instant::now();
    let stream = socket.connect(address).await?;
    let is_near = address.ip().is_loopback() || began.elapsed() <= NEAR;
    if is_near { Ok(stream) } else { TcpStream::connect(address).await }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Unix(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
            Stream::Unix(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
