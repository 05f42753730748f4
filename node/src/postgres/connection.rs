use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    PgError, PgUrl, ServerError, SslMode, auth,
    frame::{bytes_needed, next_frame},
    silence::{SILENCE, Silence},
    stream::Stream,
    tls,
};

/// From the first packet to a session that is ready for a query.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Room that a read is given: large, so that one system call takes all that waits.
const READ_ROOM: usize = 128 * 1024;

/// How values are written and read, pinned on every session so that text means the same on both sides.
/// search_path is empty so that reg* values come out with their schema.
const FIXED_SETTINGS: [(&str, &str); 9] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("statement_timeout", "0"),
    // Row-level security must fail instead of hiding rows.
    ("row_security", "off"),
];

/// What kind of session to open.
#[derive(Clone, Debug)]
pub struct Session {
    /// What pg_stat_activity shows; begins with `rosetta`. PostgreSQL cuts it at 63 bytes.
    pub application_name: String,
    /// Speak the replication protocol (PostgreSQL docs, "Streaming Replication Protocol").
    pub replication: bool,
    /// The schemas in which unqualified names are looked for; none on a source.
    pub search_path: String,
    /// Only asks about another session.
    pub(crate) is_probe: bool,
}

impl Session {
    /// A session for plain SQL.
    pub fn sql(application_name: impl Into<String>) -> Session {
        let application_name = application_name.into();
        Session { application_name, replication: false, search_path: String::new(), is_probe: false }
    }

    pub(super) fn probe() -> Session {
        Session { is_probe: true, ..Session::sql("rosetta:probe") }
    }

    /// A session that can stream a slot.
    pub fn replication(application_name: impl Into<String>) -> Session {
        Session { replication: true, ..Session::sql(application_name) }
    }
}

/// One connection to one server. Dropping it closes it.
pub struct Connection {
    stream: Stream,
    read: BytesMut,
    out: BytesMut,
    server: String,
    server_version: u32,
    backend_pid: i32,
    /// How to ask the server about this session while it is silent; None for the session that asks.
    url: Option<PgUrl>,
}

impl Connection {
    /// Connects, logs in and waits until the session is ready.
    ///
    /// # Errors
    /// Unreachable, refused, wrong password, TLS trouble, or no answer within 10 s.
    pub async fn connect(url: &PgUrl, session: &Session) -> Result<Connection, PgError> {
        let late = || PgError::Timeout { server: url.server(), seconds: CONNECT_TIMEOUT.as_secs() };
        timeout(CONNECT_TIMEOUT, Box::pin(Self::connect_unbounded(url, session))).await.map_err(|_| late())?
    }

    async fn connect_unbounded(url: &PgUrl, session: &Session) -> Result<Connection, PgError> {
        let stream = open_stream(url, session.replication).await?;
        let mut connection = Connection {
            stream,
            read: BytesMut::with_capacity(READ_ROOM),
            out: BytesMut::new(),
            server: url.server(),
            server_version: 0,
            backend_pid: 0,
            url: None,
        };
        connection.send_startup(url, session)?;
        connection.flush().await?;
        auth::log_in(&mut connection, url).await?;
        connection.finish_startup().await?;
        connection.url = (!session.is_probe).then(|| url.clone());
        Ok(connection)
    }

    fn send_startup(&mut self, url: &PgUrl, session: &Session) -> Result<(), PgError> {
        let mut parameters = vec![
            ("user", url.user.as_str()),
            ("database", url.database.as_str()),
            ("application_name", session.application_name.as_str()),
            ("search_path", session.search_path.as_str()),
        ];
        parameters.extend(FIXED_SETTINGS);
        if session.replication {
            parameters.push(("replication", "database"));
        }
        Ok(frontend::startup_message(parameters, &mut self.out)?)
    }

    async fn finish_startup(&mut self) -> Result<(), PgError> {
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'Z' => return Ok(()),
                b'E' => return Err(PgError::Server(Box::new(ServerError::parse(&body)))),
                b'K' => self.backend_pid = body.first_chunk().map_or(0, |pid| i32::from_be_bytes(*pid)),
                b'S' => self.note_parameter(&body),
                _ => {}
            }
        }
    }

    fn note_parameter(&mut self, body: &[u8]) {
        let mut parts = body.split(|b| *b == 0);
        if parts.next() == Some(b"server_version") {
            let digits = parts.next().unwrap_or_default().split(|b| !b.is_ascii_digit()).next().unwrap_or_default();
            self.server_version = String::from_utf8_lossy(digits).parse().unwrap_or(0);
        }
    }

    /// `host:port/database`, for messages.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The major version, such as 15.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// The process that serves this session.
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The server's certificate (DER); None without TLS.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        let Stream::Tls(stream) = &self.stream else { return None };
        let (_, session) = stream.get_ref();
        session.peer_certificates().and_then(<[_]>::first).map(AsRef::as_ref)
    }

    /// What will be sent at the next flush.
    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Bytes that have arrived and were not consumed.
    pub fn received(&self) -> &[u8] {
        &self.read
    }

    /// Drops `count` received bytes.
    pub fn consume(&mut self, count: usize) {
        self.read.advance(count.min(self.read.len()));
    }

    /// Reads what has arrived, waiting for at least one byte. Cancel-safe. A long silence is looked into.
    ///
    /// # Errors
    /// The connection was lost, or leads nowhere any more.
    pub async fn fill(&mut self) -> Result<usize, PgError> {
        let mut silence = Silence::default();
        loop {
            match timeout(SILENCE, self.fill_now()).await {
                Ok(result) => return result,
                Err(_) => silence.look_into(self.url.as_ref(), self.backend_pid).await?,
            }
        }
    }

    async fn fill_now(&mut self) -> Result<usize, PgError> {
        if self.read.capacity() - self.read.len() < READ_ROOM / 8 {
            let message = bytes_needed(&self.read, 0).saturating_sub(self.read.len());
            self.read.reserve(message.clamp(READ_ROOM, 16 * READ_ROOM));
        }
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(closed()),
            count => Ok(count),
        }
    }

    /// Sends everything in `out`, reading meanwhile, so that a server that blocks on its answers cannot
    /// block us on our requests.
    ///
    /// # Errors
    /// As `fill`.
    pub async fn flush(&mut self) -> Result<(), PgError> {
        let mut silence = Silence::default();
        loop {
            let before = self.out.len();
            match timeout(SILENCE, self.flush_now()).await {
                Ok(result) => return result,
                Err(_) if self.out.len() < before => silence = Silence::default(),
                Err(_) => silence.look_into(self.url.as_ref(), self.backend_pid).await?,
            }
        }
    }

    async fn flush_now(&mut self) -> Result<(), PgError> {
        let Connection { stream, read, out, .. } = self;
        poll_fn(|cx| {
            loop {
                let written = if out.is_empty() {
                    return Pin::new(&mut *stream).poll_flush(cx);
                } else {
                    Pin::new(&mut *stream).poll_write(cx, out)?
                };
                if let Poll::Ready(count) = written {
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    out.advance(count);
                    continue;
                }
                let mut chunk = [0u8; 4096];
                let mut chunk = ReadBuf::new(&mut chunk);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk))?;
                if chunk.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                read.extend_from_slice(chunk.filled());
            }
        })
        .await?;
        Ok(())
    }

    /// The next message, whole. Cancel-safe.
    pub async fn read_message(&mut self) -> Result<(u8, Bytes), PgError> {
        loop {
            if let Some(frame) = next_frame(&self.read, 0)? {
                let mut message = self.read.split_to(frame.end()).freeze();
                message.advance(frame.body.start);
                return Ok((frame.tag, message));
            }
            self.fill().await?;
        }
    }

    /// Says goodbye; the server ends the session at once instead of when it notices.
    pub async fn close(mut self) {
        self.out.clear();
        frontend::terminate(&mut self.out);
        let farewell = async {
            let _ = self.flush().await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(Duration::from_millis(500), farewell).await;
    }
}

async fn open_stream(url: &PgUrl, is_replication: bool) -> Result<Stream, PgError> {
    let connect_error = |source| PgError::Connect { server: url.server(), source };
    let stream = Stream::open(url, is_replication).await.map_err(connect_error)?;
    let Stream::Tcp(mut stream) = stream else { return Ok(stream) };
    if matches!(url.ssl_mode, SslMode::Disable | SslMode::Allow) {
        return Ok(Stream::Tcp(stream));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(connect_error)?;
    match stream.read_u8().await.map_err(connect_error)? {
        b'S' => Ok(Stream::Tls(Box::new(tls::wrap(url, stream).await?))),
        _ if url.ssl_mode == SslMode::Prefer => Ok(Stream::Tcp(stream)),
        _ => Err(PgError::Tls { server: url.server(), reason: "the server does not offer it".to_owned() }),
    }
}

fn closed() -> PgError {
    PgError::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server"))
}
