//! Gives blobs back, and says what they cost.
//!
//! A blob that doesn't have the digest that was asked for is an error, after the
//! fact; whoever copies one checks that himself. How bytes come together is in
//! `prepared` and `content`.

use std::io::Write;

use super::{Result, Store, StoreError};
use crate::catalog::{BlobRow, Place};
use crate::chunk::recipe::Recipe;
use crate::digest::{Digest, Hashing};
use crate::layer::section::Section;
use crate::varint::{Malformed, in_memory};

impl Store {
    /// The recipe of a blob.
    pub fn recipe(&self, digest: Digest) -> Result<Recipe> {
        let row = self.blob_row(digest)?.ok_or(StoreError::NoBlob { digest })?;
        self.recipe_at(digest, row.recipe)
    }

    /// What the catalog knows of a blob. Of several recipes, one in a pack that stays,
    /// if there is any, and whose chunks are all there.
    pub(super) fn blob_row(&self, digest: Digest) -> Result<Option<BlobRow>> {
        let mut rows = self.catalog.blobs(digest)?;
        // What is doomed may be needed after all.
        rows.sort_by_key(|row| self.doomed.contains(&row.recipe.pack));
        if rows.len() > 1 && self.differ(&rows) {
            for row in &rows {
                // One may be there still that nothing needed when its chunks went.
                match self.recipe_at(digest, row.recipe) {
                    Err(error) if error.is_damage() => {}
                    recipe => {
                        if self.is_sound_throughout(&recipe?)? {
                            return Ok(Some(*row));
                        }
                    }
                }
            }
        }
        Ok(rows.into_iter().next())
    }

    /// Whether these are different recipes, not copies of one, as far as that can be told.
    fn differ(&self, rows: &[BlobRow]) -> bool {
        let id = |row: &BlobRow| {
            let pack = self.pack(row.recipe.pack).ok()?;
            pack.directory().ids.get(in_memory(row.recipe.position)).copied()
        };
        let first = rows.first().and_then(id);
        first.is_none() || rows.iter().any(|row| id(row) != first)
    }

    /// The recipe of a blob, which is at a place.
    pub(super) fn recipe_at(&self, digest: Digest, place: Place) -> Result<Recipe> {
        let chunk = self.chunk_at(place)?;
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
    /// its size. Inside [`Self::decoding_ahead`], workers may have made it.
    pub fn copy_blob(&self, digest: Digest, out: &mut dyn Write) -> Result<u64> {
        let ahead = self.ahead.borrow().clone();
        let Some((ahead, stretch)) = ahead.and_then(|ahead| {
            let stretch = ahead.turn_of(digest)?;
            Some((ahead, stretch))
        }) else {
            let prepared = self.prepare(digest)?;
            prepared.copy(&self.reader()?, out)?;
            return Ok(prepared.size);
        };
        if let Some(size) = ahead.deliver(stretch, out) {
            return size;
        }
        let prepared = self.prepare(digest)?;
        let reader = self.reader()?.of_stretch(stretch);
        self.decoder.open(stretch);
        let copied = prepared.copy(&reader, out);
        self.decoder.close(stretch);
        copied?;
        Ok(prepared.size)
    }

    /// A blob's share of the bytes in packs: its recipe, sections and chunks, each
    /// by its part of its frame, and those of what it stands on. What it has in
    /// common with others counts fully.
    pub fn stored_bytes(&self, digest: Digest) -> Result<u64> {
        let mut bytes = 0;
        for (row, recipe) in self.chain(digest)? {
            bytes += self.stored_share(row.recipe, 1)?;
            self.each_section(&recipe, |place, runs| {
                bytes += self.stored_share(place, 1)?;
                for (place, count) in runs {
                    bytes += self.stored_share(*place, *count)?;
                }
                Ok(())
            })?;
        }
        Ok(bytes)
    }

    /// Goes through the sections of a recipe: where each is, and the chunks that
    /// it names.
    pub(super) fn each_section(
        &self,
        recipe: &Recipe,
        mut act: impl FnMut(Place, &[(Place, u32)]) -> Result<()>,
    ) -> Result<()> {
        let damaged = |source| StoreError::Recipe { digest: recipe.digest, source };
        for id in recipe.body.sections() {
            let place = self.section_place(*id)?;
            let mut runs = Vec::new();
            if let Some(names) = recipe.body.names() {
                let chunk = self.chunk_at(place)?;
                let mut section = Section::parse(chunk.as_slice()).map_err(damaged)?;
                while let Some((first, count)) = section.next_run().map_err(damaged)? {
                    for run in names.resolve(first, count).map_err(damaged)? {
                        self.home(run.directory)?.runs(run.first, run.count, |place, count| {
                            runs.push((place, count));
                            Ok(())
                        })?;
                    }
                }
            }
            act(place, &runs)?;
        }
        Ok(())
    }

    /// A blob of at most `limit` bytes, in memory.
    pub fn read_blob(&self, digest: Digest, limit: u64) -> Result<Vec<u8>> {
        let row = self.blob_row(digest)?.ok_or(StoreError::NoBlob { digest })?;
        if row.size > limit {
            return Err(StoreError::TooLarge { digest, size: row.size, limit });
        }
        let mut bytes = Vec::new();
        self.write_blob(digest, &mut bytes)?;
        Ok(bytes)
    }
}
