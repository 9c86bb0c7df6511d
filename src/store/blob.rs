//! Gives blobs back: recipe, sections and chunks in, the exact bytes out.
//!
//! Whatever is written is hashed on its way; a blob that doesn't have the digest
//! that was asked for is an error, after the fact. Memory is bounded by the
//! caches of `packs`, and one section.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use super::packs::ChunkBytes;
use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::{Body, Names, Recipe};
use crate::digest::{Digest, Hashing, Id};
use crate::layer::rebuild::{Rebuilder, Source};
use crate::layer::section::Section;
use crate::varint::{Malformed, len64};

impl Store {
    /// The recipe of a blob.
    pub fn recipe(&self, digest: Digest) -> Result<Recipe> {
        let row = self.catalog.blob(digest)?.ok_or(StoreError::NoBlob { digest })?;
        let chunk = self.chunk_at(row.recipe)?;
        let damaged = |source| StoreError::Recipe { digest, source };
        let recipe = Recipe::decode(chunk.as_slice()).map_err(damaged)?;
        if recipe.digest != digest {
            return Err(damaged(Malformed::Other("it is the recipe of another blob")));
        }
        Ok(recipe)
    }

    /// Writes a blob to `out` and returns its size. Fails if what was written
    /// isn't the blob.
    pub fn write_blob(&self, digest: Digest, out: &mut dyn Write) -> Result<u64> {
        let mut out = Hashing::new(out);
        let size = self.copy_blob(digest, &mut out)?;
        let (found, _) = out.finish();
        if found != digest {
            return Err(StoreError::WrongBlob { expected: digest, found });
        }
        Ok(size)
    }

    /// Writes what should be a blob to `out`, which must check its digest. Returns
    /// its size.
    pub fn copy_blob(&self, digest: Digest, out: &mut dyn Write) -> Result<u64> {
        let recipe = self.recipe(digest)?;
        let mut writer =
            BlobWriter { store: self, digest, content: Content::default(), packs: HashMap::new() };
        match &recipe.body {
            Body::Bytes(bytes) => put(bytes, out)?,
            Body::Chunks(names) => writer.chunks(names, recipe.size, out)?,
            Body::Tar(names) => writer.tar(names, recipe.size, out)?,
        }
        Ok(recipe.size)
    }

    /// A blob's share of the bytes in packs: its recipe, sections and chunks, each
    /// by its part of its frame. What it has in common with others counts fully.
    pub fn stored_bytes(&self, digest: Digest) -> Result<u64> {
        let row = self.catalog.blob(digest)?.ok_or(StoreError::NoBlob { digest })?;
        let recipe = self.recipe(digest)?;
        let mut bytes = self.stored_share(row.recipe, 1)?;
        let (Body::Chunks(names) | Body::Tar(names)) = &recipe.body else { return Ok(bytes) };
        let damaged = |source| StoreError::Recipe { digest, source };
        for id in &names.sections {
            let (place, _) = self.find_chunk(*id)?.ok_or(StoreError::NoChunk { id: *id })?;
            bytes += self.stored_share(place, 1)?;
            let chunk = self.chunk_at(place)?;
            let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
            while let Some((first, count)) = section.next_run().map_err(damaged)? {
                for run in names.resolve(first, count).map_err(damaged)? {
                    let pack = self.pack_of_directory(run.directory)?;
                    let place = Place { pack, position: run.first };
                    bytes += self.stored_share(place, run.count)?;
                }
            }
        }
        Ok(bytes)
    }

    /// A blob of at most `limit` bytes, in memory.
    pub fn read_blob(&self, digest: Digest, limit: u64) -> Result<Vec<u8>> {
        let row = self.catalog.blob(digest)?.ok_or(StoreError::NoBlob { digest })?;
        if row.size > limit {
            return Err(StoreError::TooLarge { digest, size: row.size, limit });
        }
        let mut bytes = Vec::new();
        self.write_blob(digest, &mut bytes)?;
        Ok(bytes)
    }
}

/// The chunks that come next.
#[derive(Debug, Default)]
struct Content {
    /// Sections whose runs were not read yet, by index into the recipe's list.
    next_section: usize,
    /// Sections whose operations are still to be carried out.
    sections: VecDeque<ChunkBytes>,
    runs: VecDeque<(Place, u32)>,
    /// A chunk that was written in part, and how much of it.
    partial: Option<(ChunkBytes, usize)>,
}

struct BlobWriter<'s> {
    store: &'s Store,
    digest: Digest,
    content: Content,
    /// A pack for each directory.
    packs: HashMap<Id, Id>,
}

/// A blob's writer together with what its virtual numbers mean.
struct Named<'w, 's> {
    writer: &'w mut BlobWriter<'s>,
    names: &'w Names,
}

impl BlobWriter<'_> {
    fn pack_of(&mut self, directory: Id) -> Result<Id> {
        if let Some(pack) = self.packs.get(&directory) {
            return Ok(*pack);
        }
        let pack = self.store.pack_of_directory(directory)?;
        self.packs.insert(directory, pack);
        Ok(pack)
    }

    fn damaged(&self) -> impl Fn(Malformed) -> StoreError + use<> {
        let digest = self.digest;
        move |source| StoreError::Recipe { digest, source }
    }

    fn chunks(&mut self, names: &Names, size: u64, out: &mut dyn Write) -> Result<()> {
        let digest = self.digest;
        let mut named = Named { writer: self, names };
        named.content(size, out).map_err(|error| error.of(digest))
    }

    fn tar(&mut self, names: &Names, size: u64, out: &mut dyn Write) -> Result<()> {
        let (digest, damaged) = (self.digest, self.damaged());
        let mut rebuilder = Rebuilder::new(size);
        let mut named = Named { writer: self, names };
        for _ in &names.sections {
            if named.writer.content.sections.is_empty() {
                named.load_section()?;
            }
            let Some(chunk) = named.writer.content.sections.pop_front() else {
                break;
            };
            let mut section = Section::parse(chunk.as_slice()).map_err(&damaged)?;
            rebuilder.section(&mut section, &mut named, out).map_err(|error| error.of(digest))?;
        }
        rebuilder.finish(&mut named, out).map_err(|error| error.of(digest))
    }
}

impl Named<'_, '_> {
    /// Reads the next section: its runs are queued, its operations wait.
    fn load_section(&mut self) -> Result<()> {
        let damaged = self.writer.damaged();
        let id = self.names.sections.get(self.writer.content.next_section);
        let id: Id = *id.ok_or_else(|| damaged(Malformed::Other("content is missing")))?;
        self.writer.content.next_section += 1;
        let chunk = self.writer.store.chunk(id)?;
        let mut section = Section::parse(chunk.as_slice()).map_err(&damaged)?;
        while let Some((first, count)) = section.next_run().map_err(&damaged)? {
            for run in self.names.resolve(first, count).map_err(&damaged)? {
                let pack = self.writer.pack_of(run.directory)?;
                let place = Place { pack, position: run.first };
                self.writer.content.runs.push_back((place, run.count));
            }
        }
        self.writer.content.sections.push_back(chunk);
        Ok(())
    }

    /// The next chunk of the content.
    fn next_chunk(&mut self) -> Result<ChunkBytes> {
        loop {
            if let Some((place, count)) = self.writer.content.runs.front_mut() {
                let now = *place;
                place.position += 1;
                *count -= 1;
                if *count == 0 {
                    self.writer.content.runs.pop_front();
                }
                return self.writer.store.chunk_at(now);
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

impl Source for Named<'_, '_> {
    type Error = Passed;

    fn content(&mut self, count: u64, out: &mut dyn Write) -> std::result::Result<(), Passed> {
        let mut left = count;
        while left > 0 {
            let (chunk, start) = match self.writer.content.partial.take() {
                Some(partial) => partial,
                None => (self.next_chunk().map_err(Passed::Store)?, 0),
            };
            let rest = &chunk.as_slice()[start..];
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            put(&rest[..now], out).map_err(Passed::Store)?;
            left -= len64(&rest[..now]);
            if now < rest.len() {
                self.writer.content.partial = Some((chunk, start + now));
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> std::result::Result<(), Passed> {
        put(bytes, out).map_err(Passed::Store)
    }
}

fn put(bytes: &[u8], out: &mut dyn Write) -> Result<()> {
    out.write_all(bytes).map_err(StoreError::Output)
}
