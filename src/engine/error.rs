//! What can go wrong between us and a container engine.
//!
//! A message names the engine's address, the file or the thing that was asked for. What an
//! engine said itself is cut to a length that people read, and may hold anything.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The most characters of an engine's own message that are kept.
const MESSAGE_MAX: usize = 4096;

/// An engine that was looked for, and why it was not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its address.
    pub address: String,
    /// What was wrong.
    pub reason: String,
}

/// A failure of, or on the way to, a container engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No engine answers where one was looked for.
    #[error("no container engine answers: {}", Tried(tried))]
    NotReachable {
        /// Where it was looked for, in that order.
        tried: Vec<Attempt>,
    },
    /// The engine's socket is there, and may not be used.
    #[error("no permission to use the engine's socket {}", socket.display())]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// The engine answered that it won't, or can't.
    #[error("the engine refused to {what}: {message}")]
    Refused {
        /// What it was asked to do.
        what: String,
        /// What it said.
        message: String,
        /// The HTTP status; 200 where it changed its mind later.
        status: u16,
    },
    /// The connection ended before the answer did.
    #[error("the connection to the engine broke off on the way to {what}")]
    Broken {
        /// What it was asked to do.
        what: String,
        /// How it ended.
        source: io::Error,
    },
    /// The engine answered something that makes no sense.
    #[error("cannot understand the engine's answer on the way to {what}: {reason}")]
    Malformed {
        /// What it was asked to do.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A file with settings or certificates can't be read.
    #[error(transparent)]
    File(#[from] crate::fs::Error),
    /// A file with settings or certificates holds something else.
    #[error("cannot use {}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker knows no context of that name.
    #[error("no Docker context is called `{name}`: there is no {}", path.display())]
    NoContext {
        /// The name.
        name: String,
        /// The file that would describe it.
        path: PathBuf,
    },
    /// A text that is no address of an engine.
    #[error("cannot use `{address}` as the address of an engine: {reason}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system gives us no threads or sockets.
    #[error("cannot prepare to talk to a container engine")]
    Prepare(#[source] io::Error),
}

/// Shows attempts in one line.
struct Tried<'a>(&'a [Attempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, attempt) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", attempt.address, attempt.reason)?;
        }
        Ok(())
    }
}

impl EngineError {
    /// The answer makes no sense.
    pub(super) fn malformed(what: &str, reason: impl fmt::Display) -> Self {
        Self::Malformed { what: what.to_owned(), reason: cut(&reason.to_string()) }
    }

    /// The connection is gone.
    pub(super) fn broken(what: &str, source: io::Error) -> Self {
        Self::Broken { what: what.to_owned(), source }
    }
}

/// The part of a message that is kept, in one line.
pub(super) fn cut(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let message = words.join(" ");
    match message.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_cut_to_one_line() {
        assert_eq!(cut(" no image:\n * a\r\n * b\n"), "no image: * a * b");
        assert_eq!(cut(&"\u{e9}".repeat(5000)), "\u{e9}".repeat(4096) + "...");
    }

    #[test]
    fn all_places_are_named() {
        let attempt = |address: &str, reason: &str| Attempt {
            address: address.to_owned(),
            reason: reason.to_owned(),
        };
        let tried = vec![attempt("unix:///a", "no such socket"), attempt("tcp://b:1", "late")];
        assert_eq!(
            EngineError::NotReachable { tried }.to_string(),
            "no container engine answers: unix:///a (no such socket), tcp://b:1 (late)"
        );
    }
}
