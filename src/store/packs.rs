//! Open packs and decoded frames, within a bounded memory.

use std::cell::RefCell;
use std::sync::Arc;

use super::cache::Cache;
use super::file_map::FileMap;
use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::format::{DEPTH_MAX, FrameHeader, PREFIX_MAX};
use crate::pack::reader::PackReader;
use crate::varint::{Malformed, in_memory};

/// For the tables of open packs, in bytes.
const PACKS_BYTES: usize = 32 << 20;
/// A pack weighs at least this much, so that few files are open.
const PACK_WEIGHT_MIN: usize = 128 << 10;
/// For the file maps of layers, in bytes.
const FILE_MAPS_BYTES: usize = 32 << 20;
/// For decoded frames, in bytes.
const FRAMES_BYTES: usize = 64 << 20;

/// What was read lately.
#[derive(Debug)]
pub(super) struct PackCache {
    packs: RefCell<Cache<Id, Arc<PackReader>>>,
    frames: RefCell<Cache<(Id, usize), Arc<Frame>>>,
    file_maps: RefCell<Cache<Place, Arc<FileMap>>>,
}

/// A decoded frame.
#[derive(Debug)]
struct Frame {
    raw: Vec<u8>,
    /// Where each of its chunks begins, and the end.
    starts: Vec<u32>,
}

impl Default for PackCache {
    fn default() -> Self {
        Self {
            packs: RefCell::new(Cache::new(PACKS_BYTES)),
            frames: RefCell::new(Cache::new(FRAMES_BYTES)),
            file_maps: RefCell::new(Cache::new(FILE_MAPS_BYTES)),
        }
    }
}

impl PackCache {
    pub(super) fn get(
        &self,
        id: Id,
        open: impl FnOnce() -> Result<PackReader>,
    ) -> Result<Arc<PackReader>> {
        if let Some(pack) = self.packs.borrow_mut().get(id) {
            return Ok(pack);
        }
        let pack = Arc::new(open()?);
        let weight = (pack.directory().ids.len() * 40).max(PACK_WEIGHT_MIN);
        self.packs.borrow_mut().insert(id, Arc::clone(&pack), weight);
        Ok(pack)
    }
}

/// A chunk inside a decoded frame.
#[derive(Debug, Clone)]
pub(super) struct ChunkBytes {
    frame: Arc<Frame>,
    start: usize,
    end: usize,
}

impl ChunkBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.frame.raw[self.start..self.end]
    }
}

impl Store {
    /// Where a chunk is, if a pack that can be read holds it, and whether a
    /// record names that pack.
    pub(super) fn find_chunk(&self, id: Id) -> Result<Option<(Place, bool)>> {
        let Some((place, recorded)) = self.catalog.chunk(id)? else {
            return Ok(None);
        };
        // A pack that is gone or damaged must not keep its chunks from being
        // stored again.
        let pack = match self.pack(place.pack) {
            Err(error) if error.is_damage() => return Ok(None),
            pack => pack?,
        };
        let found = pack.directory().ids.get(in_memory(place.position));
        Ok((found == Some(&id)).then_some((place, recorded)))
    }

    /// The chunk with this id.
    pub(super) fn chunk(&self, id: Id) -> Result<ChunkBytes> {
        let (place, _) = self.find_chunk(id)?.ok_or(StoreError::NoChunk { id })?;
        self.chunk_at(place, 0)
    }

    /// The chunk at a place. `depth` counts how many frames wait for it.
    pub(super) fn chunk_at(&self, place: Place, depth: u8) -> Result<ChunkBytes> {
        let pack = self.pack(place.pack)?;
        let number = pack
            .frame_of(place.position)
            .ok_or(StoreError::Inconsistent("a chunk that its pack doesn't hold"))?;
        let frame = self.frame(&pack, place.pack, number, depth)?;
        let at = in_memory(place.position - pack.frames()[number].first);
        let (start, end) = (in_memory(frame.starts[at]), in_memory(frame.starts[at + 1]));
        Ok(ChunkBytes { frame, start, end })
    }

    /// The depth of the frame that holds a chunk.
    pub(super) fn depth_of(&self, place: Place) -> Result<u8> {
        let pack = self.pack(place.pack)?;
        let number = pack
            .frame_of(place.position)
            .ok_or(StoreError::Inconsistent("a chunk that its pack doesn't hold"))?;
        Ok(pack.frames()[number].depth)
    }

    /// The length of a chunk in bytes.
    pub(super) fn chunk_length(&self, place: Place) -> Result<usize> {
        let pack = self.pack(place.pack)?;
        let length = pack.directory().lengths.get(in_memory(place.position));
        let missing = StoreError::Inconsistent("a chunk that its pack doesn't hold");
        Ok(in_memory(*length.ok_or(missing)?))
    }

    /// What may be the base of a chunk that is like the one at a place: that, or
    /// if it is too deep what its frame stands on.
    pub(super) fn base_of_depth(&self, place: Place) -> Result<Vec<Place>> {
        let pack = self.pack(place.pack)?;
        if self.depth_of(place)? < DEPTH_MAX {
            return Ok(vec![place]);
        }
        let number = pack
            .frame_of(place.position)
            .ok_or(StoreError::Inconsistent("a chunk that its pack doesn't hold"))?;
        let mut places = Vec::new();
        for run in pack.frame_header(number)?.bases {
            let pack = match run.directory {
                None => place.pack,
                Some(id) => self.pack_of_directory(id)?,
            };
            let positions = run.first..run.first.saturating_add(run.count);
            places.extend(positions.map(|position| Place { pack, position }));
        }
        Ok(places)
    }

    /// The files of a layer, by the place of its recipe.
    pub(super) fn cached_file_map(&self, recipe: Place) -> Result<Arc<FileMap>> {
        if let Some(map) = self.packs.file_maps.borrow_mut().get(recipe) {
            return Ok(map);
        }
        let map = Arc::new(self.file_map(recipe)?);
        self.packs.file_maps.borrow_mut().insert(recipe, Arc::clone(&map), map.weight());
        Ok(map)
    }

    /// The share of the bytes in packs that `count` chunks from a place on have.
    pub(super) fn stored_share(&self, place: Place, count: u32) -> Result<u64> {
        let pack = self.pack(place.pack)?;
        let mut bytes = 0;
        for position in place.position..place.position.saturating_add(count) {
            let number = pack
                .frame_of(position)
                .ok_or(StoreError::Inconsistent("a chunk that its pack doesn't hold"))?;
            let frame = pack.frames()[number];
            let length = u64::from(pack.directory().lengths[in_memory(position)]);
            let stored = u64::from(frame.stored_len) + u64::from(frame.header_len);
            bytes += length * stored / u64::from(frame.raw_len.max(1));
        }
        Ok(bytes)
    }

    fn frame(
        &self,
        pack: &PackReader,
        pack_id: Id,
        number: usize,
        depth: u8,
    ) -> Result<Arc<Frame>> {
        let key = (pack_id, number);
        if let Some(frame) = self.packs.frames.borrow_mut().get(key) {
            return Ok(frame);
        }
        let raw = pack.frame(number, |header| self.prefix(header, pack_id, depth))?;
        let entry = pack.frames()[number];
        let lengths = &pack.directory().lengths[in_memory(entry.first)..][..in_memory(entry.count)];
        let mut starts = vec![0];
        starts.extend(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        let weight = raw.len() + 4 * starts.len();
        let frame = Arc::new(Frame { raw, starts });
        self.packs.frames.borrow_mut().insert(key, Arc::clone(&frame), weight);
        Ok(frame)
    }

    /// The bytes that a frame's bases are.
    fn prefix(&self, header: &FrameHeader, pack: Id, depth: u8) -> Result<Vec<u8>> {
        let limit = |what, limit| {
            StoreError::from(crate::pack::reader::PackError::Tables {
                path: self.layout.packs(),
                source: Malformed::OverLimit { what, limit },
            })
        };
        if depth >= DEPTH_MAX {
            return Err(limit("the depth of a frame", DEPTH_MAX.into()));
        }
        let mut prefix = Vec::new();
        for run in &header.bases {
            let pack = match run.directory {
                None => pack,
                Some(id) => self.pack_of_directory(id)?,
            };
            for position in run.first..run.first.saturating_add(run.count) {
                let chunk = self.chunk_at(Place { pack, position }, depth + 1)?;
                prefix.extend_from_slice(chunk.as_slice());
                if prefix.len() > in_memory(PREFIX_MAX) {
                    return Err(limit("the prefix of a frame", PREFIX_MAX.into()));
                }
            }
        }
        Ok(prefix)
    }

    /// A pack with this directory.
    pub(super) fn pack_of_directory(&self, id: Id) -> Result<Id> {
        let row = self.catalog.pack_by_directory(id)?;
        Ok(row.ok_or(StoreError::NoDirectory { id })?.id)
    }
}
