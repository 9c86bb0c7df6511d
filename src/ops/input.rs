//! An image archive as an input: a file that can seek, a folder, or a stream.
//!
//! A plain regular file and a folder are listed first and then read only where
//! needed; all else is read once, from front to back.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::fs::{InputFile, InputFolder};
use crate::image::{Compression, sniff};
use crate::layer::header::BLOCK;

const BUFFER: usize = 256 << 10;

/// An opened input.
pub struct Input {
    /// How it is called in messages and records.
    pub name: String,
    /// The bytes.
    pub bytes: Bytes,
    /// How they are compressed as a whole; only streams are.
    pub compression: Option<Compression>,
}

/// How the bytes of an input can be read.
pub enum Bytes {
    /// A plain tar in a file that can seek.
    File(InputFile),
    /// An image layout in a folder.
    Folder(InputFolder),
    /// A stream of a tar, maybe compressed.
    Stream(BufReader<Box<dyn Read + Send>>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input({})", self.name)
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Folder(_) => "Folder",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Input {
    /// An input from an open file, which may be a FIFO or device.
    pub fn from_file(name: String, mut file: InputFile) -> io::Result<Self> {
        if !file.is_regular() {
            return Self::from_stream(name, file);
        }
        let mut first = Vec::new();
        (&mut file).take(BLOCK as u64).read_to_end(&mut first)?;
        file.seek(SeekFrom::Start(0))?;
        match sniff(&first) {
            None => Ok(Self { name, bytes: Bytes::File(file), compression: None }),
            _ => Self::from_stream(name, file),
        }
    }

    /// An input from a listed folder.
    pub fn from_folder(name: String, folder: InputFolder) -> Self {
        Self { name, bytes: Bytes::Folder(folder), compression: None }
    }

    /// An input that is read once, such as standard input.
    pub fn from_stream(name: String, input: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, Box::new(input) as Box<dyn Read + Send>);
        let compression = sniff(input.fill_buf()?);
        Ok(Self { name, bytes: Bytes::Stream(input), compression })
    }
}
