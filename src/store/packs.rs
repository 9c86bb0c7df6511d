//! Chunks in packs: where they are, what they hold, what they cost.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use super::cache::Cache;
use super::decoder::{Frame, FrameKey};
use super::file_map::FileMap;
use super::homes::Home;
use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::Recipe;
use crate::digest::{Digest, Id};
use crate::pack::format::DEPTH_MAX;
use crate::pack::reader::PackReader;
use crate::varint::in_memory;

/// For the file maps of layers, in bytes.
const FILE_MAPS_BYTES: usize = 32 << 20;

/// File maps that were used lately.
#[derive(Debug)]
pub(super) struct FileMaps(RefCell<Cache<Place, Arc<FileMap>>>);

impl Default for FileMaps {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(FILE_MAPS_BYTES)))
    }
}

/// A chunk inside a decoded frame.
#[derive(Debug, Clone)]
pub(super) struct ChunkBytes {
    frame: Arc<Frame>,
    index: usize,
}

impl ChunkBytes {
    /// A chunk of a frame by its number there, which must be one.
    pub(super) fn new(frame: Arc<Frame>, index: usize) -> Self {
        Self { frame, index }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // The index was checked when this was made.
        self.frame.chunks(self.index, self.index + 1).unwrap_or_default()
    }
}

impl Store {
    /// Where a chunk is, if a pack that can be read holds it, and whether a
    /// record names that pack.
    pub(super) fn find_chunk(&self, id: Id) -> Result<Option<(Place, bool)>> {
        // A pack that is gone or damaged must not keep its chunks from being
        // stored again.
        let good = |place| Ok(self.is_sound(place)? && self.listed(place, id)?);
        let stays = |place: Place| Ok(!self.doomed.contains(&place.pack) && good(place)?);
        match self.chunk_that(id, stays)? {
            // What is doomed may be needed after all.
            None if !self.doomed.is_empty() => self.chunk_that(id, good),
            found => Ok(found),
        }
    }

    /// The same, where it and all that it stands on stays.
    pub(super) fn lasting_chunk(&self, id: Id) -> Result<Option<(Place, bool)>> {
        self.chunk_that(id, |place| {
            Ok(self.is_sound(place)? && self.stays(place)? && self.listed(place, id)?)
        })
    }

    /// The first place of a chunk, as far as the catalog knows, of which this is true.
    fn chunk_that(
        &self,
        id: Id,
        will_do: impl Fn(Place) -> Result<bool>,
    ) -> Result<Option<(Place, bool)>> {
        let mut failed = None;
        let found = self.catalog.chunk_where(id, |place| {
            will_do(place).unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        })?;
        failed.map_or(Ok(found), Err)
    }

    /// Where a chunk is in a pack that can be read and isn't one of these.
    pub(super) fn other_place(&self, id: Id, without: &HashSet<Id>) -> Result<Option<Place>> {
        let will_do =
            |place: Place| !self.doomed.contains(&place.pack) && !without.contains(&place.pack);
        let Some((place, _)) = self.catalog.chunk_where(id, will_do)? else { return Ok(None) };
        let sound = self.is_sound(place)? && self.listed(place, id)?;
        Ok(sound.then_some(place))
    }

    /// All places of a chunk in packs that list it, whether or not it can be decoded
    /// there, with its depth: the least deep first, and then what stays.
    pub(super) fn copies(&self, id: Id) -> Result<Vec<(u8, Place)>> {
        let copies = RefCell::new(Vec::new());
        self.chunk_that(id, |place| {
            let depth = self
                .listed(place, id)
                .and_then(|listed| listed.then(|| self.depth_of(place)).transpose());
            match depth {
                Err(error) if error.is_damage() => {}
                depth => copies.borrow_mut().extend(depth?.map(|depth| (depth, place))),
            }
            Ok(false)
        })?;
        let mut copies = copies.into_inner();
        copies.sort_by_key(|(depth, place)| (*depth, self.doomed.contains(&place.pack)));
        Ok(copies)
    }

    /// Whether a pack lists this chunk at this place.
    fn listed(&self, place: Place, id: Id) -> Result<bool> {
        let pack = self.pack(place.pack)?;
        Ok(pack.directory().ids.get(in_memory(place.position)) == Some(&id))
    }

    /// The chunk with this id.
    pub(super) fn chunk(&self, id: Id) -> Result<ChunkBytes> {
        let (place, _) = self.find_chunk(id)?.ok_or(StoreError::NoChunk { id })?;
        self.chunk_at(place)
    }

    /// The chunk at a place.
    pub(super) fn chunk_at(&self, place: Place) -> Result<ChunkBytes> {
        self.decoder.chunk(place, &|id| self.home(id), None)
    }

    /// Bytes of frames that were decoded since the store was opened.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoder.decoded_bytes()
    }

    /// The depth of the frame that holds a chunk.
    pub(super) fn depth_of(&self, place: Place) -> Result<u8> {
        let pack = self.pack(place.pack)?;
        let number = frame_of(&pack, place)?;
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
        let number = frame_of(&pack, place)?;
        let (below, _) = self.below(&pack, FrameKey { pack: place.pack, number })?;
        let each = below.into_iter().flat_map(|(first, count)| {
            let positions = first.position..first.position.saturating_add(count);
            positions.map(move |position| Place { position, ..first })
        });
        Ok(each.collect())
    }

    /// The files of a layer, by the place of its recipe.
    pub(super) fn cached_file_map(&self, recipe: Place) -> Result<Arc<FileMap>> {
        if let Some(map) = self.file_maps.0.borrow_mut().get(recipe) {
            return Ok(map);
        }
        let map = Arc::new(self.file_map(recipe)?);
        self.file_maps.0.borrow_mut().insert(recipe, Arc::clone(&map), map.weight());
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

    /// Whether a chunk can be decoded, as far as tables tell. What nothing needs may
    /// have lost what it stands on, beside chunks that are needed.
    pub(super) fn is_sound(&self, place: Place) -> Result<bool> {
        let noted = self.note_bases(place.pack, &mut HashSet::new());
        match noted.and_then(|_| self.stands(place, DEPTH_MAX + 1)) {
            Err(error) if error.is_damage() => Ok(false),
            stands => stands,
        }
    }

    /// Whether all chunks of a blob can be decoded, as far as tables tell.
    pub(super) fn is_sound_throughout(&self, recipe: &Recipe) -> Result<bool> {
        self.throughout(recipe, |place| self.is_sound(place))
    }

    /// Whether this is true of all chunks of a blob.
    fn throughout(&self, recipe: &Recipe, is: impl Fn(Place) -> Result<bool>) -> Result<bool> {
        let mut all = true;
        let seen = self.each_section(recipe, |section, runs| {
            all = all && is(section)? && all_of(runs, &is)?;
            Ok(())
        });
        match seen {
            Err(error) if error.is_damage() => Ok(false),
            seen => seen.map(|()| all),
        }
    }

    /// Whether a chunk is in a pack that stays, and so is all that it stands on.
    pub(super) fn stays(&self, place: Place) -> Result<bool> {
        if self.doomed.is_empty() {
            return Ok(true);
        }
        let pack = self.pack(place.pack)?;
        let number = frame_of(&pack, place)?;
        if self.doomed.contains(&place.pack) || pack.frames()[number].depth == 0 {
            return Ok(!self.doomed.contains(&place.pack));
        }
        let key = FrameKey { pack: place.pack, number };
        if let Some(stay) = self.lasting.borrow().get(&key) {
            return Ok(*stay);
        }
        let (below, named) = self.below(&pack, key)?;
        let stay = named && all_of(&below, |place| self.stays(place))?;
        self.lasting.borrow_mut().insert(key, stay);
        Ok(stay)
    }

    /// Whether a blob, and what it stands on, can be named by what is about to be
    /// written: no pack that it takes is about to go.
    pub(super) fn blob_stays(&self, digest: Digest) -> Result<bool> {
        if self.doomed.is_empty() {
            return Ok(true);
        }
        for (row, recipe) in self.chain(digest)? {
            let mut stays = self.stays(row.recipe)?;
            for directory in recipe.body.names().iter().flat_map(|names| &names.directories) {
                stays = stays && self.home(*directory)?.stays();
            }
            if !stays || !self.throughout(&recipe, |place| self.stays(place))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a pack can be opened, and all packs that its frames stand on. From here
    /// on threads find these.
    pub(super) fn is_whole(&self, pack: Id) -> Result<bool> {
        match self.note_bases(pack, &mut HashSet::new()) {
            Err(error) if error.is_damage() => Ok(false),
            noted => noted,
        }
    }

    /// Whether a chunk is in a frame of less than this depth, and so is all that it
    /// stands on.
    pub(super) fn stands(&self, place: Place, depth: u8) -> Result<bool> {
        let pack = self.pack(place.pack)?;
        let number = frame_of(&pack, place)?;
        let entry = pack.frames()[number];
        if entry.depth == 0 || entry.depth >= depth {
            return Ok(entry.depth < depth);
        }
        let key = FrameKey { pack: place.pack, number };
        if let Some(sound) = self.sound.borrow().get(&key) {
            return Ok(*sound);
        }
        let below = self.below(&pack, key);
        let stand =
            |(below, _): (Vec<_>, bool)| all_of(&below, |place| self.stands(place, entry.depth));
        let sound = match below.and_then(stand) {
            Err(error) if error.is_damage() => false,
            sound => sound?,
        };
        self.sound.borrow_mut().insert(key, sound);
        Ok(sound)
    }

    /// Neighbouring chunks that a frame stands on, and whether the directories stay by
    /// which it names them.
    fn below(&self, pack: &PackReader, key: FrameKey) -> Result<(Vec<(Place, u32)>, bool)> {
        let (mut below, mut stay) = (Vec::new(), true);
        for run in pack.frame_header(key.number)?.bases {
            let home = run.directory.map_or(Ok(Home::Pack(key.pack)), |id| self.home(id))?;
            stay &= home.stays();
            home.runs(run.first, run.count, |place, count| {
                below.push((place, count));
                Ok(())
            })?;
        }
        Ok((below, stay))
    }

    /// Lets the decoder find the chunks of a pack by its directory, and those that
    /// they stand on. Returns whether all of those are there.
    fn note_bases(&self, pack: Id, seen: &mut HashSet<Id>) -> Result<bool> {
        let reader = self.pack(pack)?;
        if let Some(whole) = self.whole.borrow().get(&pack) {
            return Ok(*whole);
        }
        if !seen.insert(pack) {
            return Ok(true);
        }
        let mut whole = true;
        for number in (0..reader.frames().len()).filter(|at| reader.frames()[*at].depth > 0) {
            for below in reader.frame_header(number)?.bases.iter().filter_map(|it| it.directory) {
                match self.note_directory(below, seen) {
                    Err(error) if error.is_damage() => whole = false,
                    noted => whole &= noted?,
                }
            }
        }
        self.decoder.note_base(reader.directory_id(), Home::Pack(pack));
        self.whole.borrow_mut().insert(pack, whole);
        Ok(whole)
    }

    /// The same for the chunks of a directory.
    fn note_directory(&self, directory: Id, seen: &mut HashSet<Id>) -> Result<bool> {
        let home = self.home(directory)?;
        let mut whole = true;
        for pack in home.packs() {
            whole &= self.note_bases(*pack, seen)?;
        }
        if let Home::Moved(_) = home {
            self.decoder.note_base(directory, home);
        }
        Ok(whole)
    }
}

/// Whether this is true of each of neighbouring chunks.
fn all_of(runs: &[(Place, u32)], is: impl Fn(Place) -> Result<bool>) -> Result<bool> {
    for (first, count) in runs {
        for position in first.position..first.position.saturating_add(*count) {
            if !is(Place { position, ..*first })? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The number of the frame that holds a chunk.
fn frame_of(pack: &PackReader, place: Place) -> Result<usize> {
    let missing = StoreError::Inconsistent("a chunk that its pack doesn't hold");
    pack.frame_of(place.position).ok_or(missing)
}
