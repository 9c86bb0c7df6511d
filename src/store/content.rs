//! Puts blobs of kinds *chunks* and *tar* together: sections and chunks in, the
//! exact bytes out.
//!
//! Assumes that sections were found; reads chunks through the decoder. Memory is
//! bounded by the caches of that, and one section.

use std::collections::VecDeque;
use std::io::Write;

use super::packs::ChunkBytes;
use super::prepared::Reader;
use super::{Result, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::Names;
use crate::digest::Digest;
use crate::layer::rebuild::{Rebuilder, Source};
use crate::layer::section::Section;
use crate::varint::{Malformed, len64};

/// What sections name, and where they are.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) names: Names,
    /// The sections, in order.
    pub(super) sections: Vec<Place>,
}

impl Content {
    /// Writes the content, which is the blob.
    pub(super) fn copy_chunks(
        &self,
        (digest, size): (Digest, u64),
        reader: &Reader,
        out: &mut dyn Write,
    ) -> Result<()> {
        let mut chunks = Chunks::new(self, digest, reader);
        chunks.content(size, out).map_err(|error| error.of(digest))
    }

    /// Writes the tar that the operations make.
    pub(super) fn copy_tar(
        &self,
        (digest, size): (Digest, u64),
        reader: &Reader,
        out: &mut dyn Write,
    ) -> Result<()> {
        let damaged = |source| StoreError::Recipe { digest, source };
        let mut rebuilder = Rebuilder::new(size);
        let mut chunks = Chunks::new(self, digest, reader);
        for _ in &self.sections {
            if chunks.sections.is_empty() {
                chunks.load_section()?;
            }
            let Some(chunk) = chunks.sections.pop_front() else {
                break;
            };
            let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
            rebuilder.section(&mut section, &mut chunks, out).map_err(|error| error.of(digest))?;
        }
        rebuilder.finish(&mut chunks, out).map_err(|error| error.of(digest))
    }
}

/// The chunks that come next.
struct Chunks<'c> {
    content: &'c Content,
    digest: Digest,
    reader: &'c Reader,
    /// Sections whose runs were not read yet, by index into the list.
    next_section: usize,
    /// Sections whose operations are still to be carried out.
    sections: VecDeque<ChunkBytes>,
    runs: VecDeque<(Place, u32)>,
    /// A chunk that was written in part, and how much of it.
    partial: Option<(ChunkBytes, usize)>,
}

impl<'c> Chunks<'c> {
    fn new(content: &'c Content, digest: Digest, reader: &'c Reader) -> Self {
        Self {
            content,
            digest,
            reader,
            next_section: 0,
            sections: VecDeque::new(),
            runs: VecDeque::new(),
            partial: None,
        }
    }

    /// Reads the next section: its runs are queued, its operations wait.
    fn load_section(&mut self) -> Result<()> {
        let digest = self.digest;
        let damaged = |source| StoreError::Recipe { digest, source };
        let place = self.content.sections.get(self.next_section);
        let place = *place.ok_or_else(|| damaged(Malformed::Other("content is missing")))?;
        self.next_section += 1;
        let chunk = self.reader.chunk(place)?;
        let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
        while let Some((first, count)) = section.next_run().map_err(damaged)? {
            for run in self.content.names.resolve(first, count).map_err(damaged)? {
                self.reader.home(run.directory)?.runs(run.first, run.count, |place, count| {
                    self.runs.push_back((place, count));
                    Ok(())
                })?;
            }
        }
        self.sections.push_back(chunk);
        Ok(())
    }

    /// The next chunk of the content.
    fn next_chunk(&mut self) -> Result<ChunkBytes> {
        loop {
            if let Some((place, count)) = self.runs.front_mut() {
                let now = *place;
                place.position += 1;
                *count -= 1;
                if *count == 0 {
                    self.runs.pop_front();
                }
                return self.reader.chunk(now);
            }
            self.load_section()?;
        }
    }
}

/// An error that the layer module passes through.
enum Passed {
    Store(StoreError),
    Malformed(Malformed),
}

impl From<Malformed> for Passed {
    fn from(source: Malformed) -> Self {
        Self::Malformed(source)
    }
}

impl Passed {
    fn of(self, digest: Digest) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Malformed(source) => StoreError::Recipe { digest, source },
        }
    }
}

impl Source for Chunks<'_> {
    type Error = Passed;

    fn content(&mut self, count: u64, out: &mut dyn Write) -> std::result::Result<(), Passed> {
        let mut left = count;
        while left > 0 {
            let (chunk, start) = match self.partial.take() {
                Some(partial) => partial,
                None => (self.next_chunk().map_err(Passed::Store)?, 0),
            };
            let rest = &chunk.as_slice()[start..];
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            put(&rest[..now], out).map_err(Passed::Store)?;
            left -= len64(&rest[..now]);
            if now < rest.len() {
                self.partial = Some((chunk, start + now));
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> std::result::Result<(), Passed> {
        put(bytes, out).map_err(Passed::Store)
    }
}

/// Writes bytes of a blob.
pub(super) fn put(bytes: &[u8], out: &mut dyn Write) -> Result<()> {
    out.write_all(bytes).map_err(StoreError::Output)
}
