//! An archive on its way out of an engine.
//!
//! Docker answers before it has begun, so that what goes wrong later stands behind the bytes that
//! were sent, as JSON. The end of the stream is held back for that: it is never taken for a part
//! of the archive, and what it says becomes the error.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::Workers;
use super::client::{Answer, next};
use super::error::cut;
use super::model::Message;

/// The most bytes of a failure that stands behind the archive.
const TAIL: usize = 8 << 10;

/// What such a failure begins with.
const MARK: &[u8] = b"{\"errorDetail\":";

/// A tar that the engine writes; it ends with the engine's end, or with an error that says why
/// it doesn't.
pub struct SaveStream {
    workers: Arc<Workers>,
    answer: Option<Answer>,
    /// What was received, from `at` on; the last [`TAIL`] bytes of it wait.
    held: Vec<u8>,
    at: usize,
}

impl fmt::Debug for SaveStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveStream").finish_non_exhaustive()
    }
}

impl SaveStream {
    pub(super) fn new(workers: Arc<Workers>, answer: Answer) -> Self {
        Self { workers, answer: Some(answer), held: Vec::new(), at: 0 }
    }

    /// Receives until there is something to give, or the end is reached.
    fn receive(&mut self) -> io::Result<()> {
        while let Some(answer) = &mut self.answer {
            if self.held.len() - self.at > TAIL {
                break;
            }
            match self.workers.block_on(next(&mut answer.body)) {
                Some(Ok(bytes)) => {
                    self.held.drain(..self.at);
                    self.at = 0;
                    self.held.extend_from_slice(&bytes);
                }
                Some(Err(error)) => {
                    self.answer = None;
                    self.held.clear();
                    self.at = 0;
                    let message = format!("the engine's archive breaks off: {error}");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                None => {
                    self.answer = None;
                    if let Some(message) = failure(&self.held[self.at..]) {
                        self.held.clear();
                        self.at = 0;
                        let message = format!("the engine can't go on with its archive: {message}");
                        return Err(io::Error::other(message));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Read for SaveStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive()?;
        let wait = if self.answer.is_some() { TAIL } else { 0 };
        let ready = &self.held[self.at..self.held.len() - wait];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.at += count;
        Ok(count)
    }
}

/// What went wrong, if the end of a stream says so.
fn failure(tail: &[u8]) -> Option<String> {
    let at = tail.windows(MARK.len()).rposition(|window| window == MARK)?;
    let message: Message = serde_json::from_slice(&tail[at..]).ok()?;
    message.failure().map(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_behind_an_archive_is_found() {
        let mut tail = vec![0; 700];
        assert_eq!(failure(&tail), None);
        tail.extend_from_slice(
            b"{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\r\n",
        );
        assert_eq!(failure(&tail).as_deref(), Some("no space"));
        tail.push(0);
        assert_eq!(failure(&tail), None, "content that looks like one");
    }
}
