//! Where the bytes of an archive come from: something that can be read, and
//! skipped over as cheaply as it allows.
//!
//! Guarantees that a skip never goes beyond the end of the input and says how
//! far it went. Knows nothing of tar.

use std::io::{self, Read, Seek, SeekFrom};

/// An input with a cheap way forward.
pub trait Source: Read {
    /// Moves ahead by `bytes`; the result is less only where the input ends.
    fn skip(&mut self, bytes: u64) -> io::Result<u64>;

    /// How many bytes are left, if that is known.
    fn remaining(&self) -> Option<u64>;
}

/// An input that can only be read; skipped bytes are read and dropped.
#[derive(Debug)]
pub struct Stream<R>(R);

impl<R: Read> Stream<R> {
    /// Begins where `inner` stands.
    pub fn new(inner: R) -> Self {
        Self(inner)
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.0
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// An input that can seek; skipped bytes are not read.
#[derive(Debug)]
pub struct Seekable<R> {
    inner: R,
    left: u64,
}

impl<R: Read + Seek> Seekable<R> {
    /// Begins where `inner` stands and finds out how much there is.
    pub fn new(mut inner: R) -> io::Result<Self> {
        let position = inner.stream_position()?;
        let end = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(position))?;
        Ok(Self { inner, left: end.saturating_sub(position) })
    }

    /// Gives the input back.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl<R: Read + Seek> Source for Seekable<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let bytes = bytes.min(self.left);
        let step = i64::try_from(bytes).map_err(io::Error::other)?;
        if step > 0 {
            self.inner.seek_relative(step)?;
        }
        self.left -= bytes;
        Ok(bytes)
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.left)
    }
}

/// Fills `buffer` as far as the input goes; says how far that is.
pub(crate) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_skip_alike_and_stop_at_the_end() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut stream = Stream::new(bytes.as_slice());
        let mut seekable = Seekable::new(io::Cursor::new(&bytes)).unwrap();
        assert_eq!((stream.remaining(), seekable.remaining()), (None, Some(100)));
        for source in [&mut stream as &mut dyn Source, &mut seekable] {
            let mut two = [0; 2];
            assert_eq!(source.skip(10).unwrap(), 10);
            source.read_exact(&mut two).unwrap();
            assert_eq!(two, [10, 11]);
            assert_eq!(source.skip(u64::MAX).unwrap(), 88);
            assert_eq!(source.skip(1).unwrap(), 0);
            assert_eq!(source.read(&mut two).unwrap(), 0);
        }
    }

    #[test]
    fn a_seekable_input_may_begin_in_the_middle() {
        let mut cursor = io::Cursor::new(vec![7; 10]);
        cursor.set_position(4);
        let seekable = Seekable::new(cursor).unwrap();
        assert_eq!(seekable.remaining(), Some(6));
        assert_eq!(seekable.into_inner().position(), 4);
    }
}
