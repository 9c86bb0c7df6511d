//! An image archive as an input: a file that can seek, a folder, or a stream.
//!
//! A plain regular file and a folder are listed first and then read only where
//! needed; all else is read once, from front to back.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

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
        let first = first_block(&mut file)?;
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
    pub fn from_stream(name: String, mut input: impl Read + Send + 'static) -> io::Result<Self> {
        // A pipe may give its first bytes one by one.
        let first = first_block(&mut input)?;
        let compression = sniff(&first);
        let input: Box<dyn Read + Send> = Box::new(Cursor::new(first).chain(input));
        let bytes = Bytes::Stream(BufReader::with_capacity(BUFFER, input));
        Ok(Self { name, bytes, compression })
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
        for (bytes, compression) in [
            (b"content".to_vec(), None),
            (zstd, Some(Compression::Zstd)),
            (b"\xfd7zXZ\0".to_vec(), Some(Compression::Xz)),
        ] {
            let input = Slow(Cursor::new(bytes.clone()));
            let input = Input::from_stream("-".to_owned(), input).unwrap();
            assert_eq!(input.compression, compression);
            let Bytes::Stream(mut stream) = input.bytes else { panic!("a stream is no file") };
            let mut found = Vec::new();
            stream.read_to_end(&mut found).unwrap();
            assert_eq!(found, bytes);
        }
    }
}
