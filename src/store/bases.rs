//! Chooses what a new chunk is compressed against: the content last seen under
//! the same path, or the part of it that lies where the chunk does.
//!
//! It looks up the catalog and layers' file maps, and never fails a save: what
//! can't be read is no base. It doesn't decide whether a delta pays.

use std::sync::Arc;

use super::file_map::{FileChunks, FileMap, PathKeys};
use super::{Result, Store};
use crate::catalog::Place;

/// Old files up to this many bytes are a base as a whole.
const WHOLE: u64 = 256 << 10;
/// How far around its place a chunk looks where an unchanged one is near, ...
const NEAR: u64 = 64 << 10;
/// ... and where none is.
const FAR: u64 = 512 << 10;
/// How many chunks ahead an unchanged one is looked for.
const SEARCH: usize = 512;
/// How near that is.
const NEAR_DISTANCE: u64 = 1 << 20;

/// The file whose chunks are being stored.
#[derive(Debug)]
pub(super) struct CurrentFile {
    keys: PathKeys,
    size: Option<u64>,
    /// Bytes of it that were stored.
    offset: u64,
    old: Old,
    /// The last unchanged chunk, before the old file was looked up.
    last_known: Option<(Place, u64)>,
}

#[derive(Debug)]
enum Old {
    NotLookedUp,
    Nothing,
    Found(OldFile),
}

/// The content last seen under the path.
#[derive(Debug)]
struct OldFile {
    /// Its chunks, and where each begins.
    chunks: Vec<(Place, u64)>,
    size: u64,
    /// The chunk after the last unchanged one, and where it begins.
    cursor: usize,
    /// Where the new file has the end of the last unchanged chunk.
    anchor: Option<u64>,
}

impl CurrentFile {
    pub(super) fn new(path: &[u8]) -> Self {
        Self {
            keys: PathKeys::of(path),
            size: None,
            offset: 0,
            old: Old::NotLookedUp,
            last_known: None,
        }
    }

    pub(super) fn keys(&self) -> PathKeys {
        self.keys
    }

    pub(super) fn begin(&mut self, size: Option<u64>) {
        self.size = size;
        self.offset = 0;
    }

    /// An unchanged chunk was stored.
    pub(super) fn known(&mut self, place: Place, length: u64) {
        self.offset += length;
        match &mut self.old {
            Old::Found(old) => old.find_anchor(place, self.offset, SEARCH),
            _ => self.last_known = Some((place, self.offset)),
        }
    }

    /// A new chunk of `length` bytes is about to be stored: the chunks that it
    /// may be compressed against.
    pub(super) fn new_chunk(&mut self, store: &Store, length: u64) -> Result<Vec<Place>> {
        if matches!(self.old, Old::NotLookedUp) {
            self.old = match look_up(store, self.keys) {
                Ok(Some((map, file))) => {
                    let mut old = OldFile::new(&map, file);
                    if let Some((place, end)) = self.last_known {
                        old.find_anchor(place, end, usize::MAX);
                    }
                    Old::Found(old)
                }
                Ok(None) => Old::Nothing,
                // Damage costs a base here, and is `check`'s to report.
                Err(error) if error.is_damage() => Old::Nothing,
                Err(error) => return Err(error),
            };
        }
        let places = match &self.old {
            Old::Found(old) => old.region(self.offset, length, self.size),
            _ => Vec::new(),
        };
        self.offset += length;
        Ok(places)
    }
}

fn look_up(store: &Store, keys: PathKeys) -> Result<Option<(Arc<FileMap>, FileChunks)>> {
    for key in keys.all() {
        if let Some(recipe) = store.catalog.layer_with_path(key)? {
            let map = store.cached_file_map(recipe)?;
            if let Some(file) = map.file(key) {
                return Ok(Some((map, file)));
            }
        }
    }
    Ok(None)
}

impl OldFile {
    fn new(map: &FileMap, file: FileChunks) -> Self {
        let mut start = 0;
        let chunks = map.chunks(file).map(|(place, length)| {
            let chunk = (place, start);
            start += u64::from(length);
            chunk
        });
        Self { chunks: chunks.collect(), size: file.size, cursor: 0, anchor: None }
    }

    /// Where a chunk begins, or the file ends.
    fn start(&self, at: usize) -> u64 {
        self.chunks.get(at).map_or(self.size, |(_, start)| *start)
    }

    /// Looks for an unchanged chunk from the cursor on, for so many chunks;
    /// `end` is where it ends in the new file.
    fn find_anchor(&mut self, place: Place, end: u64, search: usize) {
        let ahead = self.chunks[self.cursor..].iter().take(search);
        if let Some(at) = ahead.map(|(chunk, _)| *chunk).position(|chunk| chunk == place) {
            self.cursor += at + 1;
            self.anchor = Some(end);
        }
    }

    /// The old chunks around where a new one at `offset` should lie.
    fn region(&self, offset: u64, length: u64, size: Option<u64>) -> Vec<Place> {
        if self.size <= WHOLE {
            return self.chunks.iter().map(|(place, _)| *place).collect();
        }
        let old_start = self.start(self.cursor);
        let new_start = self.anchor.unwrap_or(0);
        let distance = offset.saturating_sub(new_start);
        let slack = match self.anchor {
            Some(_) if distance <= NEAR_DISTANCE => NEAR,
            _ => FAR,
        };
        // What was put in or taken out is spread evenly over the rest.
        let (old_rest, new_rest) =
            (self.size.saturating_sub(old_start), size.unwrap_or(0).saturating_sub(new_start));
        let scaled = u128::from(distance) * u128::from(old_rest);
        let step = match new_rest {
            0 => distance,
            rest => u64::try_from(scaled / u128::from(rest)).unwrap_or(distance),
        };
        let (low, high) = match slack {
            // Without a change of place first, with one after.
            NEAR => (distance.min(step), distance.max(step)),
            _ => (step, step),
        };
        let low = (old_start + low).saturating_sub(slack);
        let high = old_start + high + length + slack;
        let first = self.chunks.partition_point(|(_, start)| *start <= low).saturating_sub(1);
        let end = self.chunks.partition_point(|(_, start)| *start < high);
        self.chunks[first.min(end)..end].iter().map(|(place, _)| *place).collect()
    }
}
