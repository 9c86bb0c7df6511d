//! The body of a member, which can be read any number of times, by any thread.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::{self, InputPart};
use crate::store::Spool;

/// Where the bytes are.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// In a file that can be read at offsets.
    Part(InputPart),
    /// A file of its own.
    File(PathBuf),
    /// Of a stream, put aside.
    Spool(Arc<Spool>),
    /// At hand.
    Memory(Arc<[u8]>),
}

impl Body {
    /// Reads it from the start.
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Part(part) => Box::new(part.clone()),
            Self::File(path) => Box::new(fs::open_input(path).map_err(|error| error.source)?),
            Self::Spool(spool) => Box::new(spool.reader()),
            Self::Memory(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
        })
    }

    /// The first bytes, at most `most` of them.
    pub(super) fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.open()?.take(most as u64).read_to_end(&mut head)?;
        Ok(head)
    }
}
