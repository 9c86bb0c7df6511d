//! An image archive as an input: a file that can seek, or a stream; plain, gzip
//! or zstd.
//!
//! A plain regular file is scanned first and then read only where needed; all
//! else is read once, from front to back.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::codec;
use crate::fs::InputFile;
use crate::image::{Compression, sniff};
use crate::layer::header::BLOCK;

const BUFFER: usize = 256 << 10;

/// An opened input.
pub struct Input {
    /// How it is called in messages and records.
    pub name: String,
    /// The bytes.
    pub bytes: Bytes,
}

/// How the bytes of an input can be read.
pub enum Bytes {
    /// A plain tar in a file that can seek.
    File(InputFile),
    /// A stream of a plain tar.
    Stream(Box<dyn Read>),
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
        let mut first = [0; BLOCK];
        let mut filled = 0;
        while filled < first.len() {
            match file.read(&mut first[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        file.seek(SeekFrom::Start(0))?;
        match sniff(&first[..filled]) {
            None => Ok(Self { name, bytes: Bytes::File(file) }),
            _ => Self::from_stream(name, file),
        }
    }

    /// An input that is read once, such as standard input.
    pub fn from_stream(name: String, input: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, input);
        let stream: Box<dyn Read> = match sniff(input.fill_buf()?) {
            None => Box::new(input),
            Some(Compression::Gzip) => codec::gzip_reader(input),
            Some(Compression::Zstd) => codec::zstd_reader(input)?,
            Some(other) => {
                let message = format!("{other} input is not supported yet");
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        };
        let bytes = Bytes::Stream(stream);
        Ok(Self { name, bytes })
    }
}
