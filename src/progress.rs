//! What a long operation reports while it runs.
//!
//! The library counts and never draws: `cli` does, on a terminal. `()` ignores
//! everything.

use std::fmt;
use std::io::{self, Read, Write};

/// Takes reports; called from one thread at a time.
pub trait Progress: Sync {
    /// An operation starts; `total` bytes are expected, if that is known.
    fn begin(&self, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The operation has ended, well or not.
    fn finish(&self);
}

impl Progress for () {
    fn begin(&self, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// Reports what is read from, or written to, `inner`.
pub struct Counted<'a, T> {
    /// What is read or written.
    pub inner: T,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.progress.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T> fmt::Debug for Counted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}
