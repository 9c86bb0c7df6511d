//! Frames that are being filled: where new chunks wait, and what they are
//! compressed against.
//!
//! Part of a write session. Content waits in one frame for each depth, so that
//! no frame is deeper than its deepest base makes it. Chunks are found by id
//! first among those that wait, then in the catalog. It doesn't decide where a
//! file is cut, nor what its old content was.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::session::WriteSession;
use super::{Result, Store};
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::format::{DEPTH_MAX, FrameKind, PackKind, len32};
use crate::pack::frame::RawFrame;

/// Content waits in one frame for each depth.
pub(super) const DEPTHS: usize = DEPTH_MAX as usize + 1;

/// A frame with bases is closed at this many bytes: what it takes to decode it,
/// bases and all, is then little, and compression hardly gains from more.
const DELTA_FRAME: usize = 1 << 20;

/// Where a chunk is.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkPlace {
    /// In a frame of this session whose pack isn't in place yet.
    Own { frame: u64, index: u32 },
    /// In a pack of the catalog.
    Known(Place),
}

/// What the sections of a blob name, before all packs are closed.
#[derive(Debug)]
pub(super) struct Named {
    /// Own frames.
    pub(super) frames: BTreeSet<u64>,
    /// First virtual number, and the pack.
    pub(super) packs: Vec<(u64, Id)>,
    pub(super) sections: Vec<Id>,
}

/// A frame that is being filled. Content waits in one for each depth.
#[derive(Debug, Default)]
pub(super) struct Filling {
    frame: RawFrame,
    /// What virtual numbers of its chunks begin with.
    number: u64,
    /// The base chunks that are in it.
    bases: HashSet<Place>,
}

impl WriteSession<'_> {
    /// Where the chunk with this id is, if it is anywhere.
    pub(super) fn find_chunk(&mut self, id: Id) -> Result<Option<ChunkPlace>> {
        if let Some((frame, index)) = self.waiting.get(&id) {
            return Ok(Some(ChunkPlace::Own { frame: *frame, index: *index }));
        }
        let Some((place, recorded)) = self.store.find_chunk(id)? else { return Ok(None) };
        self.refer(place, recorded);
        Ok(Some(ChunkPlace::Known(place)))
    }

    /// Puts a new chunk of content, to be compressed against these others.
    /// Returns the number of its frame, and its index in that.
    pub(super) fn put_chunk(
        &mut self,
        id: Id,
        bytes: &[u8],
        bases: &[Place],
    ) -> Result<(u64, u32)> {
        let (bases, depth) = self.usable(bases)?;
        let slot = usize::from(depth);
        if !self.content[slot].has_room(self.store, bytes.len(), &bases)? {
            self.flush_content(slot)?;
        }
        let filling = &mut self.content[slot];
        if filling.frame.is_empty() {
            filling.number = self.next_frame;
            self.next_frame += 1;
        }
        filling.add_bases(self.store, &bases, depth)?;
        let place = (filling.number, len32(filling.frame.ids.len()));
        filling.frame.push(id, bytes);
        self.waiting.insert(id, place);
        Ok(place)
    }

    /// Those of the chunks that a frame may be built upon, and the depth that it
    /// then has.
    fn usable(&self, bases: &[Place]) -> Result<(Vec<Place>, u8)> {
        let mut usable = Vec::new();
        let mut depth = 0;
        for place in bases {
            let below = self.store.depth_of(*place)?;
            if below < DEPTH_MAX {
                depth = depth.max(below + 1);
                usable.push(*place);
            }
        }
        Ok((usable, depth))
    }

    /// Puts a section, unless it is there; returns its id. It is compressed
    /// against the section of the same number in the layer that was last seen
    /// with most of the paths in `votes`.
    pub(super) fn put_section(&mut self, bytes: &[u8], votes: &[i64], number: usize) -> Result<Id> {
        let id = Id::of(bytes);
        if self.sections.frame.ids.contains(&id) {
            return Ok(id);
        }
        if let Some((place, recorded)) = self.store.find_chunk(id)? {
            self.refer(place, recorded);
            return Ok(id);
        }
        let bases = self.section_base(votes, number)?;
        if !self.sections.has_room(self.store, bytes.len(), &bases)? {
            self.flush_sections()?;
        }
        let mut depth = 0;
        for base in &bases {
            depth = depth.max(self.store.depth_of(*base)? + 1);
        }
        self.sections.add_bases(self.store, &bases, depth)?;
        self.sections.frame.push(id, bytes);
        Ok(id)
    }

    /// The chunk that a section is compressed against.
    fn section_base(&self, votes: &[i64], number: usize) -> Result<Vec<Place>> {
        let mut counts: HashMap<Place, usize> = HashMap::new();
        for key in votes {
            if let Some(recipe) = self.store.catalog.layer_with_path(*key)? {
                *counts.entry(recipe).or_default() += 1;
            }
        }
        let best = counts.into_iter().max_by_key(|(recipe, count)| (*count, *recipe));
        let Some((recipe, _)) = best else { return Ok(Vec::new()) };
        let map = match self.store.cached_file_map(recipe) {
            Err(error) if error.is_damage() => return Ok(Vec::new()),
            map => map?,
        };
        let sections = map.sections();
        let Some(id) = sections.get(number).or(sections.last()) else { return Ok(Vec::new()) };
        let Some((place, _)) = self.store.find_chunk(*id)? else { return Ok(Vec::new()) };
        self.store.base_of_depth(place)
    }

    /// A pack that no record names must be named by ours if we refer to it.
    fn refer(&mut self, place: Place, recorded: bool) {
        if !recorded && !self.packs.contains(&place.pack) {
            self.adopted.insert(place.pack);
        }
    }

    pub(super) fn flush_content(&mut self, slot: usize) -> Result<()> {
        let filling = std::mem::take(&mut self.content[slot]);
        if !filling.frame.is_empty() {
            self.pushed.push_back(filling.number);
            self.pipeline.push(FrameKind::Content, filling.frame)?;
        }
        self.take_placed()
    }

    pub(super) fn flush_sections(&mut self) -> Result<()> {
        let filling = std::mem::take(&mut self.sections);
        if !filling.frame.is_empty() {
            self.pipeline.push(FrameKind::Sections, filling.frame)?;
        }
        Ok(())
    }

    /// Takes note of packs that are in place: their chunks are now found through
    /// the catalog.
    pub(super) fn take_placed(&mut self) -> Result<()> {
        for (kind, pack) in self.pipeline.placed() {
            self.store.index(pack.id)?;
            self.packs.push(pack.id);
            self.packs_bytes += pack.size;
            if kind == PackKind::Data {
                for frame in &pack.frames {
                    if let Some(number) = self.pushed.pop_front() {
                        let place = (pack.directory_id, frame.first, frame.count);
                        self.placed.insert(number, place);
                    }
                }
                for id in &pack.directory.ids {
                    self.waiting.remove(id);
                }
            }
        }
        Ok(())
    }
}

impl Filling {
    /// Whether a chunk of so many bytes fits with its bases.
    fn has_room(&self, store: &Store, length: usize, bases: &[Place]) -> Result<bool> {
        let mut base_length = 0;
        for place in bases.iter().filter(|place| !self.bases.contains(place)) {
            base_length += store.chunk_length(*place)?;
        }
        let full = self.frame.base.depth > 0 && self.frame.raw.len() + length > DELTA_FRAME;
        Ok(!full && self.frame.has_room(length) && self.frame.base.has_room(base_length))
    }

    /// Adds the bases that aren't in it, as far as they fit.
    fn add_bases(&mut self, store: &Store, bases: &[Place], depth: u8) -> Result<()> {
        for place in bases {
            if self.bases.contains(place) || !self.frame.base.has_room(store.chunk_length(*place)?)
            {
                continue;
            }
            let chunk = store.chunk_at(*place)?;
            let directory = store.pack(place.pack)?.directory_id();
            self.frame.base.push(directory, place.position, chunk.as_slice());
            self.frame.base.depth = self.frame.base.depth.max(depth);
            self.bases.insert(*place);
        }
        Ok(())
    }
}
