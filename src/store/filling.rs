//! Frames that are being filled: where new chunks wait, and what they are
//! compressed against.
//!
//! Part of a write session. Content waits in one frame for each depth (and base,
//! where that is deep itself), so that no frame is deeper than need be. Chunks are found by id
//! first among those that wait, then in the catalog. It doesn't decide where a
//! file is cut, nor what its old content was.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::session::WriteSession;
use super::{Result, Store};
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::format::{DEPTH_MAX, FrameKind, PackKind, len32};
use crate::pack::frame::RawFrame;
use crate::varint::in_memory;

/// The most frames of content that are filled at once.
const FILLING_MAX: usize = 12;

/// A frame is closed at this many bytes, by depth: the more there is below it,
/// the less it holds, so that giving back one chunk takes little; compression
/// hardly gains from more.
const FRAME_BYTES: [usize; DEPTH_MAX as usize + 1] = [4 << 20, 1 << 20, 256 << 10];

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

/// Which chunks wait together. Those that stand on deltas do so by what they
/// stand on: what changes each night stays apart from what changes now and then,
/// and an old frame is needed by few of later images' chunks, or by many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Group {
    depth: u8,
    base: Option<Id>,
    /// Most likely compressed already.
    opaque: bool,
}

/// A frame that is being filled.
#[derive(Debug, Default)]
pub(super) struct Filling {
    group: Group,
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
        // What was stored one after the other comes back so: no look-up needed.
        if let Some(next) = self.after_last(id)? {
            return Ok(Some(ChunkPlace::Known(next)));
        }
        let found = self.store.lasting_chunk(id)?;
        self.last_known = found.map(|(place, _)| place);
        let Some((place, recorded)) = found else { return Ok(None) };
        self.refer(place.pack, recorded);
        Ok(Some(ChunkPlace::Known(place)))
    }

    /// The place after the last chunk that was found, if this chunk is there.
    fn after_last(&mut self, id: Id) -> Result<Option<Place>> {
        let Some(last) = self.last_known else { return Ok(None) };
        let next = Place { position: last.position + 1, ..last };
        let pack = self.store.pack(next.pack)?;
        if pack.directory().ids.get(in_memory(next.position)) != Some(&id) {
            return Ok(None);
        }
        // Beside one that is needed, another may have lost what it stood on.
        if !self.store.is_sound(next)? || !self.store.stays(next)? {
            return Ok(None);
        }
        self.last_known = Some(next);
        Ok(Some(next))
    }

    /// Puts a new chunk of content, to be compressed against these others; or an
    /// opaque one, which most likely can't be compressed.
    /// Returns the number of its frame, and its index in that.
    pub(super) fn put_chunk(
        &mut self,
        id: Id,
        bytes: &[u8],
        bases: &[Place],
        opaque: bool,
    ) -> Result<(u64, u32)> {
        let (bases, depth) = self.usable(bases)?;
        let base = bases.first().map(|place| place.pack).filter(|_| depth > 1);
        let at = self.filling(Group { depth, base, opaque }, bytes.len(), &bases)?;
        let filling = &mut self.content[at];
        filling.add_bases(self.store, &bases, depth)?;
        let place = (filling.number, len32(filling.frame.ids.len()));
        filling.frame.push(id, bytes);
        self.waiting.insert(id, place);
        Ok(place)
    }

    /// The index of a frame of this group with room.
    fn filling(&mut self, group: Group, length: usize, bases: &[Place]) -> Result<usize> {
        let at = self.content.iter().position(|filling| filling.group == group);
        if let Some(at) = at {
            if self.content[at].has_room(self.store, length, bases)? {
                return Ok(at);
            }
            self.flush_content(at)?;
        } else if self.content.len() >= FILLING_MAX {
            self.flush_content(0)?;
        }
        let frame = RawFrame { opaque: group.opaque, ..RawFrame::default() };
        let filling = Filling { group, frame, number: self.next_frame, ..Filling::default() };
        self.next_frame += 1;
        self.content.push(filling);
        Ok(self.content.len() - 1)
    }

    /// Those of the chunks that a frame may be built upon, and the depth that it
    /// then has.
    fn usable(&self, bases: &[Place]) -> Result<(Vec<Place>, u8)> {
        let mut usable = Vec::new();
        let mut depth = 0;
        for place in bases {
            // Damage costs a base here, and is not this save's to report.
            if !self.store.is_sound(*place)? || !self.store.stays(*place)? {
                continue;
            }
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
        if let Some((place, recorded)) = self.store.lasting_chunk(id)? {
            self.refer(place.pack, recorded);
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
        let Some((place, _)) = self.store.lasting_chunk(*id)? else { return Ok(Vec::new()) };
        self.store.base_of_depth(place)
    }

    /// A pack that no record names must be named by ours if we refer to it.
    pub(super) fn refer(&mut self, pack: Id, recorded: bool) {
        if !recorded && !self.packs.contains(&pack) {
            self.adopted.insert(pack);
        }
    }

    pub(super) fn flush_content(&mut self, at: usize) -> Result<()> {
        let filling = self.content.remove(at);
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
        let limit = FRAME_BYTES[usize::from(self.group.depth)];
        let full = !self.frame.is_empty() && self.frame.raw.len() + length > limit;
        Ok(!full && self.frame.has_room(length) && self.frame.base.has_room(base_length))
    }

    /// Adds the bases that aren't in it, as far as they fit.
    fn add_bases(&mut self, store: &Store, bases: &[Place], depth: u8) -> Result<()> {
        for place in bases {
            if self.bases.contains(place) || !self.frame.base.has_room(store.chunk_length(*place)?)
            {
                continue;
            }
            let directory = store.pack(place.pack)?.directory_id();
            self.frame.base.push(directory, place.position, store.chunk_length(*place)?);
            self.frame.base.depth = self.frame.base.depth.max(depth);
            self.bases.insert(*place);
        }
        Ok(())
    }
}
