//! Packs, chunks and blobs in the catalog.
//!
//! A chunk has an 8-byte key, the start of its id, so a find is only a hint:
//! the caller compares the whole id with the pack's directory. Of several with
//! the same key one is found in a pack that a record names, and in the newest of
//! these: where they are the same chunk, it was written because the others were
//! lost, or are to go.

use std::collections::HashSet;

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

/// A recipe in a pack: digest and size of its blob, position.
pub type BlobIn = (Digest, u64, u32);
/// A piece of a kept directory in a pack: which directory, where the piece begins in
/// it, position.
pub type PieceIn = (Id, u64, u32);

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

    /// A pack with this directory; of several, one that a record names, and the newest.
    pub fn pack_by_directory(&self, directory: Id) -> Result<Option<PackRow>> {
        let query = "SELECT id, directory, recorded FROM pack WHERE directory = ?1
                     ORDER BY recorded DESC, number DESC LIMIT 1";
        self.find_pack(query, directory)
    }

    fn find_pack(&self, query: &str, id: Id) -> Result<Option<PackRow>> {
        let mut query = self.connection.prepare_cached(query)?;
        Ok(query.query_row([id.as_bytes()], pack_row).optional()?)
    }

    /// Adds a pack with its chunks, in the order of its directory, and what is in it
    /// by other names: the blobs whose recipes it has (digest, size, position), and the
    /// pieces of kept directories (id, start, position). If it is there already, nothing
    /// changes. Call in a transaction.
    pub fn add_pack(
        &self,
        (id, kind, size): (Id, u8, u64),
        directory: (Id, &[Id]),
        (blobs, pieces): (&[BlobIn], &[PieceIn]),
    ) -> Result<()> {
        if self.pack(id)?.is_some() {
            return Ok(());
        }
        self.connection.execute(
            "INSERT INTO pack (id, kind, size, directory, recorded)
             VALUES (?1, ?2, ?3, ?4, EXISTS (SELECT 1 FROM named WHERE pack = ?1))",
            params![id.as_bytes(), kind, size.cast_signed(), directory.0.as_bytes()],
        )?;
        let number = self.connection.last_insert_rowid();
        let mut keys: Vec<(i64, u32)> = directory.1.iter().map(Id::key).zip(0..).collect();
        // In the order of the tree: some five times as fast as at random.
        keys.sort_unstable();
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO chunk VALUES (?1, ?2)")?;
        for (key, position) in keys {
            insert.execute([key, encode_place(number, position)])?;
        }
        let mut insert =
            self.connection.prepare_cached("INSERT OR IGNORE INTO blob VALUES (?1, ?2, ?3)")?;
        for (digest, size, position) in blobs {
            let place = encode_place(number, *position);
            insert.execute(params![digest.as_bytes(), place, size.cast_signed()])?;
        }
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO directory VALUES (?1, ?2, ?3)")?;
        for (id, start, position) in pieces {
            let place = encode_place(number, *position);
            insert.execute(params![id.as_bytes(), start.cast_signed(), place])?;
        }
        Ok(())
    }

    /// Forgets packs that are gone, their chunks and their blobs, so that others
    /// that hold the same are found. Reads each table once, however many they are.
    pub fn forget_packs(&self, ids: &[Id]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.atomically(|| {
            self.connection.execute_batch(
                "CREATE TEMP TABLE IF NOT EXISTS gone (number INTEGER PRIMARY KEY);
                 DELETE FROM temp.gone;",
            )?;
            let query = "INSERT INTO temp.gone SELECT number FROM pack WHERE id = ?1";
            let mut gone = self.connection.prepare_cached(query)?;
            for id in ids {
                gone.execute([id.as_bytes()])?;
            }
            let query = "DELETE FROM chunk WHERE place >> 24 IN (SELECT number FROM temp.gone)";
            let deleted = self.connection.execute(query, [])? as u64;
            self.deleted.set(self.deleted.get() + deleted);
            self.connection.execute_batch(
                "DELETE FROM blob WHERE place >> 24 IN (SELECT number FROM temp.gone);
                 DELETE FROM directory WHERE place >> 24 IN (SELECT number FROM temp.gone);
                 DELETE FROM path WHERE recipe >> 24 IN (SELECT number FROM temp.gone);
                 DELETE FROM pack WHERE number IN (SELECT number FROM temp.gone);",
            )?;
            Ok(())
        })
    }

    /// Notes that a record names this pack, whether it is there or not.
    pub fn name_pack(&self, pack: Id, record: Id) -> Result<()> {
        let query = "INSERT OR IGNORE INTO named VALUES (?1, ?2)";
        let mut insert = self.connection.prepare_cached(query)?;
        insert.execute([pack.as_bytes(), record.as_bytes()])?;
        let query = "UPDATE pack SET recorded = 1 WHERE id = ?1";
        self.connection.prepare_cached(query)?.execute([pack.as_bytes()])?;
        Ok(())
    }

    /// Whether a record names this pack, whether it is there or not.
    pub fn is_named(&self, pack: Id) -> Result<bool> {
        let query = "SELECT 1 FROM named WHERE pack = ?1 LIMIT 1";
        let mut query = self.connection.prepare_cached(query)?;
        Ok(query.query_row([pack.as_bytes()], |_| Ok(())).optional()?.is_some())
    }

    /// Where a chunk with the same key as this id is, and whether a record names
    /// that pack.
    pub fn chunk(&self, id: Id) -> Result<Option<(Place, bool)>> {
        self.chunk_where(id, |_| true)
    }

    /// The same, at a place that will do.
    pub fn chunk_where(
        &self,
        id: Id,
        mut will_do: impl FnMut(Place) -> bool,
    ) -> Result<Option<(Place, bool)>> {
        let mut query = self.connection.prepare_cached(
            "SELECT pack.id, chunk.place & 0xffffff, pack.recorded FROM chunk
             JOIN pack ON pack.number = chunk.place >> 24 WHERE chunk.key = ?1
             ORDER BY pack.recorded DESC, chunk.place DESC",
        )?;
        let mut rows = query.query([id.key()])?;
        while let Some(row) = rows.next()? {
            let place = Place { pack: Id::from_bytes(row.get(0)?), position: row.get(1)? };
            if will_do(place) {
                return Ok(Some((place, row.get(2)?)));
            }
        }
        Ok(None)
    }

    /// Where a recipe of a blob is. Of several, one in a pack that a record names,
    /// and the newest: a second is written where the first one's chunks were lost,
    /// or moved.
    pub fn blob(&self, digest: Digest) -> Result<Option<BlobRow>> {
        Ok(self.blobs(digest)?.into_iter().next())
    }

    /// Where all recipes of a blob are, in this order.
    pub fn blobs(&self, digest: Digest) -> Result<Vec<BlobRow>> {
        let mut query = self.connection.prepare_cached(
            "SELECT blob.size, pack.id, blob.place & 0xffffff FROM blob
             JOIN pack ON pack.number = blob.place >> 24
             WHERE blob.digest = ?1 ORDER BY pack.recorded DESC, blob.place DESC",
        )?;
        let rows = query.query_map([digest.as_bytes()], |row| {
            let size: i64 = row.get(0)?;
            let recipe = Place { pack: Id::from_bytes(row.get(1)?), position: row.get(2)? };
            Ok(BlobRow { size: size.cast_unsigned(), recipe })
        })?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Where the pieces of a kept directory are.
    pub fn directory_pieces(&self, directory: Id) -> Result<Vec<Place>> {
        let mut query = self.connection.prepare_cached(
            "SELECT pack.id, directory.place & 0xffffff FROM directory
             JOIN pack ON pack.number = directory.place >> 24
             WHERE directory.id = ?1 ORDER BY directory.start, directory.place DESC",
        )?;
        let rows = query.query_map([directory.as_bytes()], |row| {
            Ok(Place { pack: Id::from_bytes(row.get(0)?), position: row.get(1)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The directories that are kept, or parts of them.
    pub fn kept_directories(&self) -> Result<HashSet<Id>> {
        let mut query = self.connection.prepare_cached("SELECT DISTINCT id FROM directory")?;
        let ids = query.query_map([], |row| Ok(Id::from_bytes(row.get(0)?)))?;
        Ok(ids.collect::<rusqlite::Result<_>>()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn add(catalog: &Catalog, pack: u8, chunks: &[u8], blob: &[u8]) {
        let ids: Vec<Id> = chunks.iter().map(|chunk| Id::of(&[*chunk])).collect();
        let blobs: Vec<_> = blob.iter().map(|blob| (Digest::of(&[*blob]), 1, 0)).collect();
        let directory = (Id::of(chunks), ids.as_slice());
        catalog.add_pack((Id::of(&[100, pack]), 1, 10), directory, (&blobs, &[])).unwrap();
    }

    #[test]
    fn what_another_pack_holds_is_found_when_one_is_forgotten() {
        let catalog = Catalog::in_memory("store").unwrap();
        add(&catalog, 1, &[1, 2], &[9]);
        add(&catalog, 2, &[2, 3], &[9]);
        add(&catalog, 3, &[2, 3], &[8]);
        let pack = |number: u8| Id::of(&[100, number]);
        let found = |chunk: u8| catalog.chunk(Id::of(&[chunk])).unwrap().map(|(it, _)| it);
        let at = |number: u8, position| Some(Place { pack: pack(number), position });
        let directory = || catalog.pack_by_directory(Id::of(&[2, 3])).unwrap().map(|it| it.id);
        let blob = |blob: u8| catalog.blob(Digest::of(&[blob])).unwrap().map(|it| it.recipe.pack);
        assert_eq!((found(1), found(2), found(3)), (at(1, 0), at(3, 0), at(3, 1)));
        assert_eq!((directory(), blob(9), blob(8)), (Some(pack(3)), Some(pack(2)), Some(pack(3))));
        catalog.forget_packs(&[pack(3), pack(7)]).unwrap();
        assert_eq!((found(1), found(2), found(3)), (at(1, 0), at(2, 0), at(2, 1)));
        assert_eq!((directory(), blob(9), blob(8)), (Some(pack(2)), Some(pack(2)), None));
        catalog.forget_packs(&[pack(1), pack(2)]).unwrap();
        assert_eq!(
            (found(1), found(2), found(3), directory(), blob(9)),
            (None, None, None, None, None)
        );
        assert_eq!(catalog.packs().unwrap(), []);
    }

    #[test]
    fn the_file_becomes_smaller_when_much_of_it_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let catalog = Catalog::open(&path, "store").unwrap().0;
        let ids = |from: u64| (from..from + 4000).map(|it| Id::of(&it.to_le_bytes()));
        let pack = |number: u8| (Id::of(&[100, number]), 1, 10);
        for (number, ids) in [(1, ids(0)), (2, ids(0)), (3, ids(4000))] {
            let ids: Vec<Id> = ids.collect();
            catalog.add_pack(pack(number), (Id::of(&[number]), &ids), (&[], &[])).unwrap();
        }
        let pages = || -> i64 {
            catalog.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
        };
        let before = pages();
        catalog.shrink().unwrap();
        assert_eq!(pages(), before);
        catalog.forget_packs(&[pack(1).0]).unwrap();
        assert_eq!(pages(), before);
        let other = Catalog::open(&path, "store").unwrap().0;
        catalog.shrink().unwrap();
        assert!(pages() * 10 < before * 8, "{before} became {}", pages());
        for catalog in [&catalog, &other] {
            for (at, id) in (0..).zip(ids(0)) {
                let place = Place { pack: pack(2).0, position: at };
                assert_eq!(catalog.chunk(id).unwrap(), Some((place, false)));
            }
        }
    }

    #[test]
    fn a_pack_is_recorded_while_a_record_names_it() {
        let catalog = Catalog::in_memory("store").unwrap();
        let (pack, early, late) = (Id::of(&[100, 1]), Id::of(b"early"), Id::of(b"late"));
        let recorded = || catalog.pack(pack).unwrap().unwrap().recorded;
        // Before the pack is known.
        catalog.name_pack(pack, early).unwrap();
        add(&catalog, 1, &[1], &[]);
        assert!(recorded());
        catalog.name_pack(pack, late).unwrap();
        catalog.forget_records(&[early].into()).unwrap();
        assert!(recorded() && catalog.is_named(pack).unwrap());
        catalog.forget_records(&[late].into()).unwrap();
        assert!(!recorded() && !catalog.is_named(pack).unwrap());
    }
}
