//! Rebuilds a layer from its sections and its content: the reverse of the split.
//!
//! [`Rebuilder`] carries out the operations of one section after the other. It
//! doesn't know where content comes from ([`Source`]) and never writes more
//! than the size that it was given, whatever the sections say.

use std::io::Write;

use super::section::{Operation, Section};
use crate::varint::{Malformed, len64};

/// Where the content comes from, and how bytes are written.
pub trait Source {
    /// Why it failed.
    type Error: From<Malformed>;
    /// Writes the next `count` bytes of the content to `out`.
    fn content(&mut self, count: u64, out: &mut dyn Write) -> Result<(), Self::Error>;
    /// Writes bytes of the framing to `out`.
    fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), Self::Error>;
}

/// Carries out operations up to the size of the layer.
#[derive(Debug)]
pub struct Rebuilder {
    left: u64,
    /// Zero bytes that the last operation ends with, not written yet.
    pending: u64,
}

impl Rebuilder {
    /// For a layer of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { left: size, pending: 0 }
    }

    /// Carries out all operations of a section.
    pub fn section<S: Source>(
        &mut self,
        section: &mut Section<'_>,
        source: &mut S,
        out: &mut dyn Write,
    ) -> Result<(), S::Error> {
        while self.left > 0 {
            let Some(operation) = section.next_operation(self.pending)? else {
                return Ok(());
            };
            if let Operation::Padding(bytes) = operation {
                self.pending = 0;
                self.bytes(bytes, source, out)?;
                continue;
            }
            self.flush(source, out)?;
            match operation {
                Operation::Raw(bytes) | Operation::Padding(bytes) => {
                    self.bytes(bytes, source, out)?;
                }
                Operation::Zeros(count) => self.zeros(count, source, out)?,
                Operation::Content(count) => self.content(count, source, out)?,
                Operation::Header { block, extension, content, padding } => {
                    self.bytes(block.as_slice(), source, out)?;
                    self.bytes(extension, source, out)?;
                    self.content(content, source, out)?;
                    self.pending = padding;
                }
            }
        }
        Ok(())
    }

    /// Ends the layer; fails if bytes are missing.
    pub fn finish<S: Source>(
        mut self,
        source: &mut S,
        out: &mut dyn Write,
    ) -> Result<(), S::Error> {
        self.flush(source, out)?;
        if self.left > 0 {
            return Err(Malformed::Other("the recipe makes fewer bytes than it says").into());
        }
        Ok(())
    }

    fn flush<S: Source>(&mut self, source: &mut S, out: &mut dyn Write) -> Result<(), S::Error> {
        let pending = std::mem::take(&mut self.pending);
        self.zeros(pending, source, out)
    }

    /// At most as many as are left.
    fn cut(&mut self, count: u64) -> u64 {
        let count = count.min(self.left);
        self.left -= count;
        count
    }

    fn bytes<S: Source>(
        &mut self,
        bytes: &[u8],
        source: &mut S,
        out: &mut dyn Write,
    ) -> Result<(), S::Error> {
        let count = usize::try_from(self.cut(len64(bytes))).unwrap_or(bytes.len());
        source.write(&bytes[..count], out)
    }

    fn zeros<S: Source>(
        &mut self,
        count: u64,
        source: &mut S,
        out: &mut dyn Write,
    ) -> Result<(), S::Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = self.cut(count);
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            source.write(&ZEROS[..now], out)?;
            left -= now as u64;
        }
        Ok(())
    }

    fn content<S: Source>(
        &mut self,
        count: u64,
        source: &mut S,
        out: &mut dyn Write,
    ) -> Result<(), S::Error> {
        let count = self.cut(count);
        if count > 0 { source.content(count, out) } else { Ok(()) }
    }
}
