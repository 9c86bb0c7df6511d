//! Requests and answers: one engine, as an HTTP server.
//!
//! Answers that are read whole are bounded. A connection is kept for the next request once its
//! answer was read; one that went stale meanwhile is replaced, since all that is asked here can
//! be asked twice. Knows no paths of the API.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::{Body, Bytes, Incoming};
use hyper::{Method, Request, Response};
use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use super::body::Outgoing;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::error::{EngineError, cut};
use super::model::Message;
use super::tls;

/// The most bytes of an answer that is read whole.
const ANSWER_MAX: usize = 64 << 20;

/// The most bytes of a refusal.
const REFUSAL_MAX: usize = 64 << 10;

/// An engine that can be asked.
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Option<Connection>>,
    /// `/v1.45` before each path, once it is known.
    pub(super) version: String,
}

/// An answer whose body is still to come, with what carries it.
pub(super) struct Answer {
    pub(super) body: Incoming,
    /// Ends with it.
    _connection: Connection,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, EngineError> {
        let tls = endpoint.tls.as_ref().map(tls::config).transpose()?;
        Ok(Self { endpoint, tls, idle: Mutex::new(None), version: String::new() })
    }

    /// Asks for something small: its bytes, or nothing where the engine says 404.
    pub(super) async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fresh = idle.is_none();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open(what).await?,
        };
        let request = |method| self.request(what, method, path, Outgoing::Nothing);
        let mut sent = connection.sender.send_request(request(method.clone())?).await;
        if sent.is_err() && !fresh {
            connection = self.open(what).await?;
            sent = connection.sender.send_request(request(method)?).await;
        }
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let error = connection.explain(as_io(error)).await;
                return Err(EngineError::broken(what, error));
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        if status.as_u16() == 404 {
            // What it says about it is always the same.
            whole(what, &mut body, REFUSAL_MAX).await?;
            self.keep(connection);
            return Ok(None);
        }
        if !status.is_success() {
            return Err(refusal(what, status.as_u16(), &mut body).await);
        }
        let bytes = whole(what, &mut body, ANSWER_MAX).await?;
        self.keep(connection);
        Ok(Some(bytes))
    }

    /// Asks for something long, on a connection of its own.
    pub(super) async fn stream(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Outgoing,
    ) -> Result<Answer, EngineError> {
        let mut connection = self.open(what).await?;
        let request = self.request(what, method, path, body)?;
        match connection.sender.send_request(request).await {
            Ok(response) => answer(what, response, connection).await,
            Err(error) => Err(EngineError::broken(what, connection.explain(as_io(error)).await)),
        }
    }

    async fn open(&self, what: &str) -> Result<Connection, EngineError> {
        let opened = Connection::open(&self.endpoint.address, self.tls.as_ref()).await;
        opened.map_err(|error| EngineError::broken(what, error))
    }

    fn keep(&self, connection: Connection) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    fn request(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Outgoing,
    ) -> Result<Request<Outgoing>, EngineError> {
        let host = match &self.endpoint.address {
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
            Address::Unix(_) | Address::Ssh { .. } => "localhost".to_owned(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.version))
            .header("host", host)
            .header("user-agent", concat!("orlop/", env!("CARGO_PKG_VERSION")));
        let request = match &body {
            Outgoing::Nothing => request,
            Outgoing::Pieces(_) => request.header("content-type", "application/x-tar"),
        };
        request
            .body(body)
            .map_err(|error| EngineError::broken(what, io::Error::other(error.to_string())))
    }
}

async fn answer(
    what: &str,
    response: Response<Incoming>,
    connection: Connection,
) -> Result<Answer, EngineError> {
    let status = response.status();
    let mut body = response.into_body();
    if status.is_success() {
        return Ok(Answer { body, _connection: connection });
    }
    Err(refusal(what, status.as_u16(), &mut body).await)
}

/// The next bytes of an answer.
pub(super) async fn next(body: &mut Incoming) -> Option<io::Result<Bytes>> {
    loop {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers are nobody's.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(as_io(error))),
        }
    }
}

async fn whole(what: &str, body: &mut Incoming, limit: usize) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    while let Some(part) = next(body).await {
        let part = part.map_err(|error| EngineError::broken(what, error))?;
        if part.len() > limit - bytes.len() {
            return Err(EngineError::malformed(what, format!("more than {limit} bytes")));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

async fn refusal(what: &str, status: u16, body: &mut Incoming) -> EngineError {
    let said = whole(what, body, REFUSAL_MAX).await.unwrap_or_default();
    let message = match serde_json::from_slice::<Message>(&said) {
        Ok(message) if !message.refusal.is_empty() => message.refusal,
        _ => String::from_utf8_lossy(&said).into_owned(),
    };
    let mut message = cut(&message);
    if message.is_empty() {
        write!(message, "it says no more than status {status}").ok();
    }
    EngineError::Refused { what: what.to_owned(), message, status }
}

/// The cause of an error, without what HTTP makes of it.
fn as_io(error: hyper::Error) -> io::Error {
    let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the engine ended the connection");
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return ended();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<io::Error>() {
            return match found.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset => ended(),
                kind => io::Error::new(kind, found.to_string()),
            };
        }
        cause = inner.source();
    }
    io::Error::other(error)
}
