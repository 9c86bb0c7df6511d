//! Takes one blob apart into chunks and sections on its way into a session.
//!
//! The sink of the tar split. It keeps the run of chunks that is growing, closes
//! sections when they are full, and remembers which directories it named. Memory
//! is bounded by one section and the cutter.

use std::collections::{BTreeSet, HashMap};

use super::bases::CurrentFile;
use super::filling::{ChunkPlace, Named};
use super::session::WriteSession;
use super::{Result, StoreError};
use crate::chunk::cutter::Cutter;
use crate::digest::Id;
use crate::layer::section::SectionWriter;
use crate::layer::split::Sink;

/// Own chunks are numbered by frame, and within a frame of at most 2^16.
pub(super) const FRAME_BITS: u32 = 16;

/// Virtual numbers from here on are of directories that were there before; each
/// has its own range of 2^24.
const DIRECTORIES: u64 = 1 << 40;
const DIRECTORY_BITS: u32 = 24;

/// One path in so many is looked up to choose the base of a section.
const VOTE_EVERY: u64 = 4;
/// The most paths that are looked up for one section.
const VOTES_MAX: usize = 512;

/// What is kept of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// All of it.
    Content,
    /// All of it, which most likely can't be compressed.
    Opaque,
    /// The framing, without the content.
    Framing,
}

/// The writer of one blob.
#[derive(Debug)]
pub(super) struct LayerWriter<'w, 's> {
    session: &'w mut WriteSession<'s>,
    keeping: Keeping,
    cutter: Cutter,
    parts: Parts,
}

#[derive(Debug, Default)]
struct Parts {
    opaque: bool,
    framing: SectionWriter,
    /// First virtual number and count of the run that is growing.
    run: Option<(u64, u64)>,
    file: Option<CurrentFile>,
    /// The packs that are named, with their order.
    packs: HashMap<Id, u64>,
    /// Own frames that are named.
    frames: BTreeSet<u64>,
    sections: Vec<Id>,
    /// Keys of some of the paths in the section.
    votes: Vec<i64>,
    members: u64,
    /// Bytes of chunks that were new.
    added: u64,
}

impl<'w, 's> LayerWriter<'w, 's> {
    pub(super) fn new(session: &'w mut WriteSession<'s>, keeping: Keeping) -> Self {
        let opaque = keeping == Keeping::Opaque;
        let parts = Parts { opaque, ..Parts::default() };
        Self { session, keeping, cutter: Cutter::default(), parts }
    }

    /// Ends the blob: what its sections name.
    pub(super) fn finish(mut self) -> Result<(Named, u64)> {
        self.close_section()?;
        let parts = self.parts;
        let mut packs: Vec<(Id, u64)> = parts.packs.into_iter().collect();
        packs.sort_unstable_by_key(|(_, order)| *order);
        let packs = packs.into_iter().map(|(pack, order)| (directory_number(order, 0), pack));
        let named =
            Named { frames: parts.frames, packs: packs.collect(), sections: parts.sections };
        Ok((named, parts.added))
    }

    fn close_section(&mut self) -> Result<()> {
        if let Some((first, count)) = self.parts.run.take() {
            self.parts.framing.run(first, count);
        }
        if !self.parts.framing.is_empty() {
            let section = self.parts.framing.take();
            let number = self.parts.sections.len();
            let votes = std::mem::take(&mut self.parts.votes);
            let id = self.session.put_section(&section, &votes, number)?;
            self.parts.sections.push(id);
        }
        Ok(())
    }
}

fn directory_number(order: u64, position: u32) -> u64 {
    DIRECTORIES + (order << DIRECTORY_BITS) + u64::from(position)
}

impl Parts {
    /// Stores a chunk, and adds it to the runs.
    fn chunk(&mut self, session: &mut WriteSession<'_>, bytes: &[u8]) -> Result<()> {
        let id = Id::of(bytes);
        let length = bytes.len() as u64;
        let number = match session.find_chunk(id)? {
            Some(ChunkPlace::Own { frame, index }) => self.own(frame, index),
            Some(ChunkPlace::Known(place)) => {
                if let Some(file) = &mut self.file {
                    file.known(place, length);
                }
                let next = self.packs.len() as u64;
                let order = *self.packs.entry(place.pack).or_insert(next);
                directory_number(order, place.position)
            }
            None => {
                let bases = match &mut self.file {
                    Some(file) => file.new_chunk(session.store(), length)?,
                    None => Vec::new(),
                };
                self.added += length;
                let (frame, index) = session.put_chunk(id, bytes, &bases, self.opaque)?;
                self.own(frame, index)
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

    fn own(&mut self, frame: u64, index: u32) -> u64 {
        self.frames.insert(frame);
        (frame << FRAME_BITS) + u64::from(index)
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

    fn member(&mut self, path: &[u8]) {
        let file = CurrentFile::new(path);
        self.parts.members += 1;
        if self.parts.members % VOTE_EVERY == 1 && self.parts.votes.len() < VOTES_MAX {
            self.parts.votes.push(file.keys().exact);
        }
        self.parts.file = Some(file);
    }

    fn begin(&mut self, length: Option<u64>) -> Result<()> {
        if self.keeping == Keeping::Framing {
            return Ok(());
        }
        self.cutter.begin(length);
        match &mut self.parts.file {
            Some(file) => file.begin(length),
            file => *file = None,
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<()> {
        if self.keeping == Keeping::Framing {
            return Ok(());
        }
        let (session, parts) = (&mut *self.session, &mut self.parts);
        self.cutter.push(bytes, |chunk| parts.chunk(session, chunk))?;
        // One file of many runs may fill a section.
        if self.parts.framing.is_full() {
            self.close_section()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.keeping == Keeping::Framing {
            return Ok(());
        }
        let (session, parts) = (&mut *self.session, &mut self.parts);
        self.cutter.finish(|chunk| parts.chunk(session, chunk))?;
        self.parts.file = None;
        Ok(())
    }
}
