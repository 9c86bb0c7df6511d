//! What the store's bytes are used for: by kind, and by who needs them.
//!
//! Reads the tables of all packs, and the recipes that it is asked to count. A
//! chunk costs its part of its frame. Memory is four bytes for each chunk.

use std::collections::HashMap;

use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::digest::{Digest, Id};
use crate::pack::format::FrameKind;
use crate::varint::in_memory;

/// Bytes in packs, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackUsage {
    /// Content of files before compression, each chunk once.
    pub content_raw: u64,
    /// Content that is compressed by itself.
    pub content_plain: u64,
    /// Content that is compressed against other content.
    pub content_delta: u64,
    /// Recipes.
    pub recipes: u64,
    /// Framing of tars, and the names of their chunks.
    pub sections: u64,
    /// Frame headers, directories and all else that says where things are.
    pub directories: u64,
    /// Count of chunks.
    pub chunks: u64,
    /// Count of packs.
    pub packs: u64,
}

/// Who needs which chunk.
#[derive(Debug)]
pub struct Owners<'s> {
    store: &'s Store,
    /// By pack and position: an owner plus 1, or `SHARED`, or 0 for nobody.
    marks: HashMap<Id, Vec<u32>>,
}

/// Bytes of chunks by who needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedBytes {
    /// By owner: what nobody else needs.
    pub exclusive: Vec<u64>,
    /// What several need.
    pub shared: u64,
    /// What only frames of others stand on, or nobody needs.
    pub base: u64,
}

const SHARED: u32 = u32::MAX;

impl Store {
    /// What the bytes in packs are, by kind.
    pub fn pack_usage(&self) -> Result<PackUsage> {
        let mut usage = PackUsage::default();
        for row in self.catalog().packs()? {
            let pack = self.pack(row.id)?;
            usage.packs += 1;
            usage.chunks += pack.directory().ids.len() as u64;
            usage.directories += pack.size();
            for frame in pack.frames() {
                let stored = u64::from(frame.stored_len);
                usage.directories -= stored;
                let kind = match (frame.kind, frame.depth) {
                    (FrameKind::Content, 0) => &mut usage.content_plain,
                    (FrameKind::Content, _) => &mut usage.content_delta,
                    (FrameKind::Recipes, _) => &mut usage.recipes,
                    (FrameKind::Sections, _) => &mut usage.sections,
                    (FrameKind::Directories, _) => &mut usage.directories,
                };
                *kind += stored;
                if frame.kind == FrameKind::Content {
                    usage.content_raw += u64::from(frame.raw_len);
                }
            }
        }
        Ok(usage)
    }

    /// Bytes of all records.
    pub fn record_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for id in self.catalog().records()? {
            bytes += self.fs.open(&self.layout.record(id))?.len()?;
        }
        Ok(bytes)
    }

    /// Bytes of the catalog in the store.
    pub fn catalog_bytes(&self) -> u64 {
        let length = || self.fs.open(&self.layout.catalog())?.len();
        length().unwrap_or(0)
    }

    /// Starts to count who needs what.
    pub fn owners(&self) -> Owners<'_> {
        Owners { store: self, marks: HashMap::new() }
    }
}

impl Owners<'_> {
    /// Notes that an owner (small numbers from 0) needs a blob, and what it stands
    /// on.
    pub fn mark(&mut self, digest: Digest, owner: u32) -> Result<()> {
        self.mark_blob(digest, |mark| match mark {
            0 => owner + 1,
            mark if mark == owner + 1 => mark,
            _ => SHARED,
        })
    }

    /// The same, where nobody that was noted before needs it.
    pub fn mark_unowned(&mut self, digest: Digest, owner: u32) -> Result<()> {
        self.mark_blob(digest, |mark| if mark == 0 { owner + 1 } else { mark })
    }

    fn mark_blob(&mut self, digest: Digest, change: impl Fn(u32) -> u32) -> Result<()> {
        let store = self.store;
        store.blob(digest)?.ok_or(StoreError::NoBlob { digest })?;
        for (row, recipe) in store.chain(digest)? {
            self.mark_chunks(row.recipe, 1, &change)?;
            store.each_section(&recipe, |place, runs| {
                self.mark_chunks(place, 1, &change)?;
                for (place, count) in runs {
                    self.mark_chunks(*place, *count, &change)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn mark_chunks(&mut self, place: Place, count: u32, change: &dyn Fn(u32) -> u32) -> Result<()> {
        let marks = match self.marks.entry(place.pack) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let count = self.store.pack(place.pack)?.directory().ids.len();
                entry.insert(vec![0; count])
            }
        };
        let first = in_memory(place.position).min(marks.len());
        let end = first.saturating_add(in_memory(count)).min(marks.len());
        for mark in &mut marks[first..end] {
            *mark = change(*mark);
        }
        Ok(())
    }

    /// The stored bytes of all chunks, by who needs them; `owners` is how many
    /// there are.
    pub fn bytes(&self, owners: usize) -> Result<OwnedBytes> {
        let mut bytes = OwnedBytes { exclusive: vec![0; owners], ..OwnedBytes::default() };
        for row in self.store.catalog().packs()? {
            let pack = self.store.pack(row.id)?;
            let marks = self.marks.get(&row.id);
            let lengths = &pack.directory().lengths;
            for frame in pack.frames() {
                let stored = u64::from(frame.stored_len) + u64::from(frame.header_len);
                let raw = u64::from(frame.raw_len.max(1));
                for at in in_memory(frame.first)..in_memory(frame.first) + in_memory(frame.count) {
                    let share = u64::from(lengths[at]) * stored / raw;
                    let mark = marks.map_or(0, |marks| marks[at]);
                    match mark.checked_sub(1).map(in_memory) {
                        None => bytes.base += share,
                        Some(owner) if owner < owners => bytes.exclusive[owner] += share,
                        Some(_) => bytes.shared += share,
                    }
                }
            }
        }
        Ok(bytes)
    }
}
