//! What can go wrong with files that say which images are used, and where.
//!
//! Every message names the file and, where one is to blame, the line. Texts that
//! come from a file are cut. Knows no exit codes and no hints.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::fs;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was found; `-` is standard input.
    pub file: PathBuf,
    /// The line, from 1; 0 if nobody knows.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.to_str() {
            Some("-") => f.write_str("standard input")?,
            _ => write!(f, "{}", self.file.display())?,
        }
        if self.line == 0 { Ok(()) } else { write!(f, ", line {}", self.line) }
    }
}

/// Why nobody can say which images are used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// Standard input can't be read.
    #[error("cannot read standard input")]
    Input {
        /// Why.
        source: std::io::Error,
    },
    /// There is no Compose file where one is looked for.
    #[error("no compose file in {} or above it", directory.display())]
    NoComposeFile {
        /// Where the search began.
        directory: PathBuf,
    },
    /// A folder holds no manifest.
    #[error("no .yaml, .yml or .json file in {}", directory.display())]
    NoManifest {
        /// The folder.
        directory: PathBuf,
    },
    /// A file is no YAML, or too much of it.
    #[error("cannot read {place}: {problem}")]
    Yaml {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// A file of variables is none.
    #[error("cannot read {place}: {problem}")]
    Variables {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// A template instead of what is made of it.
    #[error("{place}: this is a template, which has to be rendered first")]
    Template {
        /// Where the first `{{` is.
        place: Place,
    },
    /// Something in a file is not what it has to be.
    #[error("{place}: {thing}: {problem}")]
    Invalid {
        /// Where.
        place: Place,
        /// What it is, such as ``service `web` ``.
        thing: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A variable that has to be set is not.
    #[error("{place}: {thing}: variable `{variable}` has to be set{}", after_colon(message))]
    Required {
        /// Where it is used.
        place: Place,
        /// For what.
        thing: String,
        /// The variable.
        variable: String,
        /// What the file says about it; may be empty.
        message: String,
    },
    /// Files or services that lead back to themselves.
    #[error("{place}: {thing}: goes round in a circle: {}", chain.join(", then "))]
    Cycle {
        /// Where it is closed.
        place: Place,
        /// What it is.
        thing: String,
        /// The way round.
        chain: Vec<String>,
    },
    /// A name that can't be a project's.
    #[error("`{name}` cannot be the name of a project: {problem}")]
    ProjectName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ProjectError {
    /// Something that is not what it has to be.
    pub(super) fn invalid(place: Place, thing: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { place, thing: thing.to_owned(), problem: problem.into() }
    }
}

/// A place in a file.
pub(super) fn place(file: &Path, line: u32) -> Place {
    Place { file: file.to_owned(), line }
}

/// A text from a file, cut to a length for messages.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 120;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
