//! Packs, chunks and blobs in the catalog.
//!
//! A chunk has an 8-byte key, the start of its id, so a find is only a hint:
//! the caller compares the whole id with the pack's directory. Of two chunks
//! with the same key the last is found: where they are the same chunk, the first
//! was lost, or it would not have been stored again.

use rusqlite::{OptionalExtension, params};

use super::{Catalog, Result};
use crate::digest::{Digest, Id};

/// A chunk by its pack and position. The catalog's own numbers of packs stay
/// inside: another process may rebuild it at any time and number them anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The pack.
    pub pack: Id,
    /// Position in the pack's directory, under 2^24.
    pub position: u32,
}

/// A pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackRow {
    /// Its name.
    pub id: Id,
    /// Its directory.
    pub directory: Id,
    /// Whether a record names it.
    pub recorded: bool,
}

/// A blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRow {
    /// Bytes.
    pub size: u64,
    /// Where its recipe is.
    pub recipe: Place,
}

/// A pack's number and a position in one integer.
pub(super) fn encode_place(number: i64, position: u32) -> i64 {
    (number << 24) | i64::from(position)
}

fn pack_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<PackRow> {
    Ok(PackRow {
        id: Id::from_bytes(row.get(0)?),
        directory: Id::from_bytes(row.get(1)?),
        recorded: row.get(2)?,
    })
}

impl Catalog {
    /// All packs, in the order in which they were added.
    pub fn packs(&self) -> Result<Vec<PackRow>> {
        let query = "SELECT id, directory, recorded FROM pack ORDER BY number";
        let mut query = self.connection.prepare_cached(query)?;
        Ok(query.query_map([], pack_row)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The pack with this name.
    pub fn pack(&self, id: Id) -> Result<Option<PackRow>> {
        self.find_pack("SELECT id, directory, recorded FROM pack WHERE id = ?1", id)
    }

    /// A pack with this directory.
    pub fn pack_by_directory(&self, directory: Id) -> Result<Option<PackRow>> {
        let query = "SELECT id, directory, recorded FROM pack WHERE directory = ?1";
        self.find_pack(query, directory)
    }

    fn find_pack(&self, query: &str, id: Id) -> Result<Option<PackRow>> {
        let mut query = self.connection.prepare_cached(query)?;
        Ok(query.query_row([id.as_bytes()], pack_row).optional()?)
    }

    /// Adds a pack with its chunks, in the order of its directory, and the
    /// blobs whose recipes are in it (digest, size, position), which take the
    /// place of older ones. If it is there already, nothing changes. Call in a transaction.
    pub fn add_pack(
        &self,
        (id, kind, size): (Id, u8, u64),
        directory: (Id, &[Id]),
        blobs: &[(Digest, u64, u32)],
    ) -> Result<()> {
        if self.pack(id)?.is_some() {
            return Ok(());
        }
        self.connection.execute(
            "INSERT INTO pack (id, kind, size, directory, recorded) VALUES (?1, ?2, ?3, ?4, 0)",
            params![id.as_bytes(), kind, size.cast_signed(), directory.0.as_bytes()],
        )?;
        let number = self.connection.last_insert_rowid();
        let mut keys: Vec<(i64, u32)> = directory.1.iter().map(Id::key).zip(0..).collect();
        // In the order of the tree: some five times as fast as at random.
        keys.sort_unstable();
        let mut insert =
            self.connection.prepare_cached("INSERT OR REPLACE INTO chunk VALUES (?1, ?2)")?;
        for (key, position) in keys {
            insert.execute([key, encode_place(number, position)])?;
        }
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO blob VALUES (?1, ?2, ?3)")?;
        for (digest, size, position) in blobs {
            let place = encode_place(number, *position);
            insert.execute(params![digest.as_bytes(), place, size.cast_signed()])?;
        }
        Ok(())
    }

    /// Forgets a pack that was lost, its chunks and its blobs, so that others
    /// that hold the same are found.
    pub fn forget_pack(&self, id: Id) -> Result<()> {
        self.atomically(|| {
            for query in [
                "DELETE FROM chunk WHERE place >> 24 = (SELECT number FROM pack WHERE id = ?1)",
                "DELETE FROM blob WHERE place >> 24 = (SELECT number FROM pack WHERE id = ?1)",
                "DELETE FROM path WHERE recipe >> 24 = (SELECT number FROM pack WHERE id = ?1)",
                "DELETE FROM pack WHERE id = ?1",
            ] {
                self.connection.execute(query, [id.as_bytes()])?;
            }
            Ok(())
        })
    }

    /// Notes that a record names this pack.
    pub fn mark_recorded(&self, pack: Id) -> Result<()> {
        let mut update =
            self.connection.prepare_cached("UPDATE pack SET recorded = 1 WHERE id = ?1")?;
        update.execute([pack.as_bytes()])?;
        Ok(())
    }

    /// Where a chunk with the same key as this id is, and whether a record names
    /// that pack.
    pub fn chunk(&self, id: Id) -> Result<Option<(Place, bool)>> {
        let mut query = self.connection.prepare_cached(
            "SELECT pack.id, chunk.place & 0xffffff, pack.recorded FROM chunk
             JOIN pack ON pack.number = chunk.place >> 24 WHERE chunk.key = ?1",
        )?;
        let place = query.query_row([id.key()], |row| {
            let place = Place { pack: Id::from_bytes(row.get(0)?), position: row.get(1)? };
            Ok((place, row.get(2)?))
        });
        Ok(place.optional()?)
    }

    /// Where a recipe of a blob is. Of several, one in a pack that a record names,
    /// and the newest: a second is written where the first one's chunks were lost.
    pub fn blob(&self, digest: Digest) -> Result<Option<BlobRow>> {
        let mut query = self.connection.prepare_cached(
            "SELECT blob.size, pack.id, blob.place & 0xffffff FROM blob
             JOIN pack ON pack.number = blob.place >> 24
             WHERE blob.digest = ?1 ORDER BY pack.recorded DESC, blob.place DESC LIMIT 1",
        )?;
        let row = query.query_row([digest.as_bytes()], |row| {
            let size: i64 = row.get(0)?;
            let recipe = Place { pack: Id::from_bytes(row.get(1)?), position: row.get(2)? };
            Ok(BlobRow { size: size.cast_unsigned(), recipe })
        });
        Ok(row.optional()?)
    }

    /// Sums over all packs: bytes of data packs, bytes of metadata packs.
    pub fn pack_bytes(&self) -> Result<(u64, u64)> {
        let query = "SELECT coalesce(sum(size) FILTER (WHERE kind = 1), 0),
                            coalesce(sum(size) FILTER (WHERE kind = 2), 0) FROM pack";
        Ok(self.connection.query_row(query, [], |row| {
            let (data, metadata): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((data.cast_unsigned(), metadata.cast_unsigned()))
        })?)
    }
}
