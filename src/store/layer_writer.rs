//! Takes one blob apart into chunks and sections on its way into a session.
//!
//! The sink of the tar split. It keeps the run of chunks that is growing, closes
//! sections when they are full, and remembers which directories it named. Memory
//! is bounded by one section and the cutter.

use std::collections::HashMap;

use super::session::{ChunkPlace, Named, WriteSession};
use super::{Result, StoreError};
use crate::chunk::cutter::Cutter;
use crate::digest::Id;
use crate::layer::section::SectionWriter;
use crate::layer::split::Sink;

/// Virtual numbers from here on are of directories that were there before; each
/// has its own range of this length.
const DIRECTORY_RANGE: u64 = 1 << 32;

/// The writer of one blob.
#[derive(Debug)]
pub(super) struct LayerWriter<'w, 's> {
    session: &'w mut WriteSession<'s>,
    cutter: Cutter,
    parts: Parts,
}

#[derive(Debug, Default)]
struct Parts {
    framing: SectionWriter,
    /// First virtual number and count of the run that is growing.
    run: Option<(u64, u64)>,
    /// The packs that are named, with their order.
    packs: HashMap<Id, u64>,
    /// Own ordinals named: lowest and one after the highest.
    own: Option<(u64, u64)>,
    sections: Vec<Id>,
    /// Bytes of chunks that were new.
    added: u64,
}

impl<'w, 's> LayerWriter<'w, 's> {
    pub(super) fn new(session: &'w mut WriteSession<'s>) -> Self {
        Self { session, cutter: Cutter::default(), parts: Parts::default() }
    }

    /// Ends the blob: what its sections name.
    pub(super) fn finish(mut self) -> Result<(Named, u64)> {
        self.close_section()?;
        let parts = self.parts;
        let mut packs: Vec<(Id, u64)> = parts.packs.into_iter().collect();
        packs.sort_unstable_by_key(|(_, order)| *order);
        let packs =
            packs.into_iter().map(|(pack, order)| ((order + 1) * DIRECTORY_RANGE, pack)).collect();
        Ok((Named { own: parts.own, packs, sections: parts.sections }, parts.added))
    }

    fn close_section(&mut self) -> Result<()> {
        if let Some((first, count)) = self.parts.run.take() {
            self.parts.framing.run(first, count);
        }
        if !self.parts.framing.is_empty() {
            let section = self.parts.framing.take();
            self.parts.sections.push(self.session.put_section(&section)?);
        }
        Ok(())
    }
}

impl Parts {
    /// Stores a chunk, and adds it to the runs.
    fn chunk(&mut self, session: &mut WriteSession<'_>, bytes: &[u8]) -> Result<()> {
        let number = match session.put_chunk(bytes)? {
            ChunkPlace::Own { ordinal, new } => {
                let (low, high) = self.own.unwrap_or((ordinal, ordinal + 1));
                self.own = Some((low.min(ordinal), high.max(ordinal + 1)));
                self.added += if new { bytes.len() as u64 } else { 0 };
                ordinal
            }
            ChunkPlace::Known(place) => {
                let next = self.packs.len() as u64;
                let order = *self.packs.entry(place.pack).or_insert(next);
                (order + 1) * DIRECTORY_RANGE + u64::from(place.position)
            }
        };
        match &mut self.run {
            Some((first, count)) if *first + *count == number => *count += 1,
            run => {
                if let Some((first, count)) = run.replace((number, 1)) {
                    self.framing.run(first, count);
                }
            }
        }
        Ok(())
    }
}

impl Sink for LayerWriter<'_, '_> {
    type Error = StoreError;

    fn framing(&mut self) -> Result<&mut SectionWriter> {
        if self.parts.framing.is_full() {
            self.close_section()?;
        }
        Ok(&mut self.parts.framing)
    }

    fn begin(&mut self, length: Option<u64>) -> Result<()> {
        self.cutter.begin(length);
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        let (session, parts) = (&mut *self.session, &mut self.parts);
        self.cutter.push(bytes, |chunk| parts.chunk(session, chunk))?;
        // One file of many runs may fill a section.
        if self.parts.framing.is_full() {
            self.close_section()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let (session, parts) = (&mut *self.session, &mut self.parts);
        self.cutter.finish(|chunk| parts.chunk(session, chunk))
    }
}
