//! An image archive as an input: a file that can seek, or a stream; plain, gzip
//! or zstd.
//!
//! A plain regular file is scanned first and then read only where needed; all
//! else is read once, from front to back.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

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
        let first = first_block(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        match sniff(&first) {
            None => Ok(Self { name, bytes: Bytes::File(file) }),
            _ => Self::from_stream(name, file),
        }
    }

    /// An input that is read once, such as standard input.
    pub fn from_stream(name: String, mut input: impl Read + 'static) -> io::Result<Self> {
        // A pipe may give its first bytes one by one.
        let first = first_block(&mut input)?;
        let compression = sniff(&first);
        let input = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(input));
        let stream: Box<dyn Read> = match compression {
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

/// The first bytes of an input: as many as tell what it is, or all.
fn first_block(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(BLOCK);
    input.take(BLOCK as u64).read_to_end(&mut first)?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow(Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn a_stream_that_starts_slowly_is_known_by_its_first_bytes() {
        let zstd = zstd::bulk::compress(b"content", 1).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, b"content").unwrap();
        for bytes in [b"content".to_vec(), zstd, gzip.finish().unwrap()] {
            let input = Input::from_stream("-".to_owned(), Slow(Cursor::new(bytes))).unwrap();
            let Bytes::Stream(mut stream) = input.bytes else { panic!("a stream is no file") };
            let mut content = Vec::new();
            stream.read_to_end(&mut content).unwrap();
            assert_eq!(content, b"content");
        }
        let xz = Slow(Cursor::new(b"\xfd7zXZ\0".to_vec()));
        assert!(Input::from_stream("-".to_owned(), xz).is_err());
    }
}
