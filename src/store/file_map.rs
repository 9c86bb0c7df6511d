//! Which chunks hold which file of a stored layer: where bases are found.
//!
//! Derived from a layer's recipe, kept for the few layers that were used lately.
//! A layer of very many files has no map, so that memory is bounded; its files
//! are then no bases, which costs space and nothing else.

use std::collections::HashMap;

use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::{Body, Names, Recipe};
use crate::digest::Id;
use crate::layer::header::{Extended, Header, field};
use crate::layer::section::{Operation, Section};
use crate::varint::{Malformed, in_memory};

/// The most files of a layer that has a map.
const FILES_MAX: usize = 400_000;
/// The most chunks of a layer that has a map.
const CHUNKS_MAX: usize = 1 << 20;

/// The files of one layer.
#[derive(Debug, Default)]
pub(super) struct FileMap {
    /// By the key of the path; the last one of several.
    files: HashMap<i64, FileChunks>,
    chunks: Vec<ChunkAt>,
    packs: Vec<Id>,
    /// The sections of the layer.
    sections: Vec<Id>,
}

/// A file's chunks, as a range of its layer's.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileChunks {
    first: usize,
    count: usize,
    /// Bytes.
    pub(super) size: u64,
}

/// One chunk of a layer's content.
#[derive(Debug, Clone, Copy)]
struct ChunkAt {
    pack: u32,
    position: u32,
    length: u32,
}

/// The key of a path, and of the path without version digits where it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathKeys {
    pub(super) exact: i64,
    pub(super) without_version: Option<i64>,
}

impl PathKeys {
    pub(super) fn of(path: &[u8]) -> Self {
        let path = path.strip_prefix(b"./").or(path.strip_prefix(b"/")).unwrap_or(path);
        let mut stripped = Vec::with_capacity(path.len() + 1);
        // Marks the key, so that it isn't that of a path that looks like this.
        stripped.push(0);
        let mut digits = false;
        for (at, byte) in path.iter().enumerate() {
            let between = matches!(byte, b'.' | b'_')
                && digits
                && path.get(at + 1).is_some_and(u8::is_ascii_digit);
            digits = byte.is_ascii_digit() || between;
            if !digits {
                stripped.push(*byte);
            }
        }
        let without_version = (stripped.len() <= path.len()).then(|| Id::of(&stripped).key());
        Self { exact: Id::of(path).key(), without_version }
    }

    /// Both keys, or the one.
    pub(super) fn all(self) -> impl Iterator<Item = i64> {
        std::iter::once(self.exact).chain(self.without_version)
    }
}

impl FileMap {
    /// The file with this key.
    pub(super) fn file(&self, key: i64) -> Option<FileChunks> {
        self.files.get(&key).copied()
    }

    /// The chunks of a file: place and length.
    pub(super) fn chunks(&self, file: FileChunks) -> impl Iterator<Item = (Place, u32)> {
        self.chunks[file.first..file.first + file.count].iter().map(|chunk| {
            let pack = self.packs[in_memory(chunk.pack)];
            (Place { pack, position: chunk.position }, chunk.length)
        })
    }

    /// The sections of the layer, in order.
    pub(super) fn sections(&self) -> &[Id] {
        &self.sections
    }

    /// The keys of all files, and their chunks.
    pub(super) fn files(&self) -> impl Iterator<Item = (i64, FileChunks)> {
        self.files.iter().map(|(key, file)| (*key, *file))
    }

    /// About how much memory it takes.
    pub(super) fn weight(&self) -> usize {
        self.files.len() * 48 + self.chunks.len() * 12
    }
}

impl Store {
    /// The files of the layer whose recipe is at a place; empty where it is no
    /// tar, or too large.
    pub(super) fn file_map(&self, recipe: Place) -> Result<FileMap> {
        let chunk = self.chunk_at(recipe)?;
        let damaged = |source| {
            StoreError::Inconsistent(match source {
                Malformed::TooShort => "a recipe that is cut short",
                _ => "a recipe that is damaged",
            })
        };
        let recipe = Recipe::decode(chunk.as_slice()).map_err(damaged)?;
        let Body::Tar(names) = recipe.body else { return Ok(FileMap::default()) };
        let mut map = FileMap { sections: names.sections.clone(), ..FileMap::default() };
        if !self.map_chunks(&names, &mut map)? || !self.map_files(&names, &mut map)? {
            return Ok(FileMap::default());
        }
        Ok(map)
    }

    /// Lists the content's chunks; false where there are too many.
    fn map_chunks(&self, names: &Names, map: &mut FileMap) -> Result<bool> {
        let damaged = |_| StoreError::Inconsistent("a section that is damaged");
        let mut known: HashMap<Id, u32> = HashMap::new();
        for id in &names.sections {
            let chunk = self.chunk(*id)?;
            let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
            while let Some((first, count)) = section.next_run().map_err(damaged)? {
                for run in names.resolve(first, count).map_err(damaged)? {
                    self.home(run.directory)?.runs(run.first, run.count, |place, count| {
                        let next = u32::try_from(map.packs.len()).unwrap_or(u32::MAX);
                        let number = *known.entry(place.pack).or_insert_with(|| {
                            map.packs.push(place.pack);
                            next
                        });
                        self.map_run(place, count, number, map)
                    })?;
                    if map.chunks.len() > CHUNKS_MAX {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Adds neighbouring chunks of the pack with this number.
    fn map_run(&self, place: Place, count: u32, pack: u32, map: &mut FileMap) -> Result<()> {
        let reader = self.pack(place.pack)?;
        for position in place.position..place.position.saturating_add(count) {
            let length = reader.directory().lengths.get(in_memory(position));
            let length = *length.ok_or(StoreError::Inconsistent("a missing chunk"))?;
            map.chunks.push(ChunkAt { pack, position, length });
        }
        Ok(())
    }

    /// Gives each file its chunks; false where there are too many files.
    fn map_files(&self, names: &Names, map: &mut FileMap) -> Result<bool> {
        let damaged = |_| StoreError::Inconsistent("a section that is damaged");
        let mut next = 0;
        let mut long_path: Option<Vec<u8>> = None;
        for id in &names.sections {
            let chunk = self.chunk(*id)?;
            let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
            // Any padding but none will do: it is not written here.
            while let Some(operation) = section.next_operation(1).map_err(damaged)? {
                let (size, path) = match operation {
                    Operation::Content(size) => (size, None),
                    Operation::Header { block, extension, content, .. } => {
                        if !extension.is_empty() {
                            let extended = Extended::of(block[field::TYPE], extension);
                            long_path = extended.path.map(<[u8]>::to_vec).or(long_path);
                            continue;
                        }
                        let header = Header::parse(&block).map(|header| header.path());
                        (content, long_path.take().or(header))
                    }
                    _ => continue,
                };
                let first = next;
                let mut left = size;
                while let Some(chunk) = map.chunks.get(next).filter(|_| left > 0) {
                    left = left.saturating_sub(u64::from(chunk.length));
                    next += 1;
                }
                if let Some(path) = path.filter(|_| next > first) {
                    let file = FileChunks { first, count: next - first, size };
                    for key in PathKeys::of(&path).all() {
                        map.files.insert(key, file);
                    }
                }
                if map.files.len() > FILES_MAX {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Notes for each path of these layers that its content was last seen there,
    /// if frames may still be built upon it.
    pub(super) fn note_paths(&self, recipes: &[Place]) -> Result<()> {
        for recipe in recipes {
            let map = match self.file_map(*recipe) {
                Err(error) if error.is_damage() => continue,
                map => map?,
            };
            let mut keys = Vec::new();
            for (key, file) in map.files() {
                if self.can_be_base(map.chunks(file).map(|(place, _)| place))? {
                    keys.push(key);
                }
            }
            self.catalog.atomically(|| {
                self.catalog.put_paths(*recipe, &mut keys)?;
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(())
    }

    /// Whether a frame upon these chunks stays within the depth that is allowed.
    fn can_be_base(&self, chunks: impl Iterator<Item = Place>) -> Result<bool> {
        for place in chunks {
            if self.depth_of(place)? >= crate::pack::format::DEPTH_MAX {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_out_of_paths() {
        let same = [
            ("usr/lib/libssl.so.1.1.1", "./usr/lib/libssl.so.3.0"),
            ("app/numpy-1.24.3.dist-info/METADATA", "app/numpy-2.0.dist-info/METADATA"),
        ];
        for (one, other) in same {
            let (one, other) = (PathKeys::of(one.as_bytes()), PathKeys::of(other.as_bytes()));
            assert_ne!(one.exact, other.exact);
            assert!(one.without_version.is_some());
            assert_eq!(one.without_version, other.without_version);
        }
        assert_eq!(PathKeys::of(b"/etc/passwd"), PathKeys::of(b"./etc/passwd"));
        assert_eq!(PathKeys::of(b"etc/passwd").without_version, None);
    }
}
