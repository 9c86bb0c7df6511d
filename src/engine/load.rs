//! An archive on its way into an engine, and what the engine says about it.
//!
//! The caller writes on its own thread; a few pieces wait for the engine at most. While it writes,
//! the answer is read: an engine that refuses in the middle has the next write fail. Only a writer
//! that returned well ends the archive; otherwise the request is broken off.

use std::io::{self, Write};
use std::sync::Arc;

use hyper::Method;
use hyper::body::{Bytes, Incoming};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;

use crate::digest::Digest;

use super::body::{Outgoing, Piece};
use super::client::{Client, next};
use super::error::{EngineError, cut};
use super::model::{Message, parse_id};
use super::{Engine, Workers};

/// What is said when a load fails.
const WHAT: &str = "load images";

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// Pieces that wait for the engine.
const PIECES: usize = 4;

/// The most bytes of one line of an engine's messages.
const LINE_MAX: usize = 64 << 10;

/// The most bytes of all of them.
const LINES_MAX: usize = 64 << 20;

/// The most messages that are kept.
const KEPT_MAX: usize = 100_000;

/// What an engine said about what it loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names of what was loaded, as the engine says them.
    pub names: Vec<String>,
    /// Ids of what was loaded without a name.
    pub ids: Vec<Digest>,
    /// Tags that another image had before, with its id where the engine says it.
    pub moved: Vec<(String, Option<Digest>)>,
    /// Whatever else it said, line by line.
    pub notes: Vec<String>,
}

/// How a load went on both sides.
#[derive(Debug)]
pub struct LoadOutcome<T, E> {
    /// What the writer returned.
    pub written: Result<T, E>,
    /// What the engine said.
    pub engine: Result<LoadReport, EngineError>,
    /// Whether a write failed because the engine had ended the load.
    pub cut_off: bool,
}

impl<T, E> LoadOutcome<T, E> {
    /// Both, or the one failure that caused the other.
    pub fn into_result<F: From<E> + From<EngineError>>(self) -> Result<(T, LoadReport), F> {
        match (self.written, self.engine) {
            (Ok(written), Ok(report)) => Ok((written, report)),
            (Err(error), engine) => match engine {
                Err(cause) if self.cut_off => Err(cause.into()),
                _ => Err(error.into()),
            },
            (Ok(_), Err(error)) => Err(error.into()),
        }
    }
}

impl Engine {
    /// Loads the archive that `write` writes: `POST /images/load`.
    ///
    /// The outcome has what `write` returned beside what the engine said. Where the engine ends
    /// the load early, writing fails with [`io::ErrorKind::BrokenPipe`].
    pub fn load<T, E>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> LoadOutcome<T, E> {
        let (sender, receiver) = channel(PIECES);
        let client = Arc::clone(&self.client);
        let task = self.workers.spawn(send(client, Outgoing::Pieces(receiver)));
        let mut writer = Writer {
            workers: Arc::clone(&self.workers),
            sender: Some(sender),
            task: Some(task),
            engine: None,
            piece: Vec::with_capacity(PIECE),
            cut_off: false,
        };
        let written = write(&mut writer);
        if written.is_ok() {
            writer.end();
        }
        writer.sender = None;
        writer.wait();
        let unasked = || Err(EngineError::broken(WHAT, io::Error::other("it was never asked")));
        let engine = writer.engine.take().unwrap_or_else(unasked);
        LoadOutcome { written, engine, cut_off: writer.cut_off }
    }
}

/// Hands pieces over to the request.
struct Writer {
    workers: Arc<Workers>,
    sender: Option<Sender<Piece>>,
    task: Option<JoinHandle<Result<LoadReport, EngineError>>>,
    engine: Option<Result<LoadReport, EngineError>>,
    piece: Vec<u8>,
    cut_off: bool,
}

impl Writer {
    /// Waits for the end of the request.
    fn wait(&mut self) {
        if let Some(task) = self.task.take() {
            let ended = self.workers.block_on(task);
            let lost = |error| Err(EngineError::broken(WHAT, io::Error::other(error)));
            self.engine = Some(ended.unwrap_or_else(lost));
        }
    }

    fn hand_over(&mut self, piece: Piece) -> io::Result<()> {
        if let Some(sender) = &self.sender {
            if sender.blocking_send(piece).is_ok() {
                return Ok(());
            }
            self.sender = None;
            self.wait();
        }
        // It has all that it wants: what follows the end of a tar is nobody's.
        if matches!(self.engine, Some(Ok(_))) {
            return Ok(());
        }
        self.cut_off = true;
        Err(io::Error::new(io::ErrorKind::BrokenPipe, "the engine ended the load"))
    }

    fn hand_over_rest(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.hand_over(Piece::Bytes(Bytes::from(piece)))
    }

    /// The archive is complete. Should that not be heard, the engine says why.
    fn end(&mut self) {
        self.hand_over_rest().and_then(|()| self.hand_over(Piece::End)).ok();
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.hand_over_rest()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over_rest()
    }
}

async fn send(client: Arc<Client>, body: Outgoing) -> Result<LoadReport, EngineError> {
    let mut answer = client.stream(WHAT, Method::POST, "/images/load?quiet=1", body).await?;
    listen(&mut answer.body).await
}

/// Reads what the engine says until it has said all.
async fn listen(body: &mut Incoming) -> Result<LoadReport, EngineError> {
    let mut report = LoadReport::default();
    let mut line = Vec::new();
    let mut total = 0_usize;
    while let Some(part) = next(body).await {
        let part = part.map_err(|error| EngineError::broken(WHAT, error))?;
        total += part.len();
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.len() > LINE_MAX || total > LINES_MAX {
                return Err(EngineError::malformed(WHAT, "its messages are too long"));
            }
            if line.ends_with(b"\n") {
                report.hear(&line)?;
                line.clear();
            }
        }
    }
    report.hear(&line)?;
    Ok(report)
}

impl LoadReport {
    /// Takes in one line of messages.
    fn hear(&mut self, line: &[u8]) -> Result<(), EngineError> {
        for message in serde_json::Deserializer::from_slice(line).into_iter::<Message>() {
            let message = message.map_err(|error| EngineError::malformed(WHAT, error))?;
            if let Some(failure) = message.failure() {
                let message = cut(failure);
                return Err(EngineError::Refused { what: WHAT.to_owned(), message, status: 200 });
            }
            for text in message.stream.lines().map(str::trim).filter(|text| !text.is_empty()) {
                let kept = self.names.len() + self.ids.len() + self.moved.len() + self.notes.len();
                if kept < KEPT_MAX {
                    self.note(text);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        if let Some(id) = text.strip_prefix("Loaded image ID: ").and_then(parse_id) {
            self.ids.push(id);
        } else if let Some(names) = text.strip_prefix("Loaded image: ") {
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                // Podman says both in the same words.
                match parse_id(name) {
                    Some(id) => self.ids.push(id),
                    None => self.names.push(name.to_owned()),
                }
            }
        } else if let Some(moved) = moved(text) {
            self.moved.push(moved);
        } else {
            self.notes.push(cut(text));
        }
    }
}

/// `The image NAME already exists, renaming the old one with ID ID to empty string`.
fn moved(text: &str) -> Option<(String, Option<Digest>)> {
    let (name, rest) = text.strip_prefix("The image ")?.split_once(" already exists, ")?;
    let id = rest.strip_prefix("renaming the old one with ID ");
    let id = id.and_then(|rest| rest.split(' ').next()).and_then(parse_id);
    Some((name.to_owned(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_loaded() {
        let id = Digest::of(b"an image");
        let mut report = LoadReport::default();
        for line in [
            "{\"stream\":\"Loaded image: app:1\\n\"}\r\n".to_owned(),
            format!("{{\"stream\":\"Loaded image ID: {id}\\n\"}}\n"),
            "{\"stream\":\"Loaded image: localhost/a:1,localhost/b:2\"}".to_owned(),
            format!(
                "{{\"stream\":\"The image app:2 already exists, renaming the old one with ID {id} \
                 to empty string\\n\"}}"
            ),
            "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1},\"id\":\"f\"}\r\n\
             {\"stream\":\"Error unpacking image app:1\\n\"}"
                .to_owned(),
            String::new(),
        ] {
            report.hear(line.as_bytes()).unwrap();
        }
        let wanted = LoadReport {
            names: ["app:1", "localhost/a:1", "localhost/b:2"].map(str::to_owned).to_vec(),
            ids: vec![id],
            moved: vec![("app:2".to_owned(), Some(id))],
            notes: vec!["Error unpacking image app:1".to_owned()],
        };
        assert_eq!(report, wanted);
    }

    #[test]
    fn a_message_can_be_a_refusal() {
        let line =
            b"{\"errorDetail\":{\"message\":\"unexpected EOF\"},\"error\":\"unexpected EOF\"}";
        let error = LoadReport::default().hear(line).unwrap_err();
        assert_eq!(error.to_string(), "the engine refused to load images: unexpected EOF");
        let error = LoadReport::default().hear(b"<html>").unwrap_err();
        assert!(matches!(error, EngineError::Malformed { .. }), "{error}");
    }
}
