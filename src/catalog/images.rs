//! Records, revisions and references in the catalog.
//!
//! The order of revisions is that of their records: time, sequence, id. The
//! newest revision of a reference is the one that was given it last, by its save
//! or later. What was removed is in the tables, and in no answer.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{Catalog, Result};
use crate::digest::{Digest, Id};
use crate::time::Time;

/// One image in a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionRow {
    /// The record that it is in.
    pub record: Id,
    /// Its place among that record's revisions.
    pub position: u32,
    /// When it was saved.
    pub saved_at: Time,
    /// The record's sequence.
    pub sequence: u64,
    /// Digest of the root: the manifest.
    pub root: Digest,
    /// Media type of the root.
    pub root_type: String,
    /// Bytes of the root.
    pub root_size: u64,
    /// Digest of the config.
    pub image_id: Digest,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// As the config says.
    pub created: Option<String>,
    /// How many layers.
    pub layers: u64,
    /// Sum of the layer tars in bytes.
    pub size: u64,
    /// Bytes by which the store grew for it.
    pub added: u64,
    /// Whether it must not be removed.
    pub pinned: bool,
}

/// A name of a revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferenceRow {
    /// Fully qualified, without the tag.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

pub(super) const COLUMNS: &str =
    "v.record, v.position, v.saved_at, v.sequence, v.root, v.root_type,
    v.root_size, v.image_id, v.platform, v.created, v.layers, v.size, v.added, v.pinned";
/// How many these are.
pub(super) const COUNT: usize = 14;

/// Joins a name to its revision.
pub(super) const OF: &str = "v.saved_at = r.of_saved_at AND v.sequence = r.of_sequence
    AND v.record = r.of_record AND v.position = r.of_position";

pub(super) fn revision_row(row: &Row<'_>) -> rusqlite::Result<RevisionRow> {
    let unsigned = |column| row.get(column).map(i64::cast_unsigned);
    Ok(RevisionRow {
        record: Id::from_bytes(row.get(0)?),
        position: row.get(1)?,
        saved_at: Time::from_nanos(row.get(2)?),
        sequence: unsigned(3)?,
        root: Digest::from_bytes(row.get(4)?),
        root_type: row.get(5)?,
        root_size: unsigned(6)?,
        image_id: Digest::from_bytes(row.get(7)?),
        platform: row.get(8)?,
        created: row.get(9)?,
        layers: unsigned(10)?,
        size: unsigned(11)?,
        added: unsigned(12)?,
        pinned: row.get(13)?,
    })
}

/// Where a revision stands among all: time, sequence, record, position.
type Order = (i64, i64, [u8; 32], u32);

/// A name of the revision that stands there; `None` for one that isn't asked for.
type Named = (Order, Option<ReferenceRow>);

/// All names, those of one reference from the first to the last that was given: as
/// the table has them, so that nothing is sorted.
const NAMES: &str = "SELECT repository, tag, of_saved_at, of_sequence, of_record, of_position
    FROM reference WHERE removed = 0
    ORDER BY repository, tag, saved_at, sequence, record, position";

/// All revisions, oldest first, as the table has them.
fn revisions_in_order() -> String {
    format!(
        "SELECT {COLUMNS} FROM revision v WHERE v.removed = 0
         ORDER BY v.saved_at, v.sequence, v.record, v.position"
    )
}

impl Catalog {
    /// The ids of all records.
    pub fn records(&self) -> Result<HashSet<Id>> {
        let mut query = self.connection.prepare_cached("SELECT id FROM record")?;
        let rows = query.query_map([], |row| row.get(0).map(Id::from_bytes))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Records whose names may not be durable.
    pub fn records_not_durable(&self) -> Result<Vec<Id>> {
        let query = "SELECT id FROM record WHERE durable = 0";
        let mut query = self.connection.prepare_cached(query)?;
        let rows = query.query_map([], |row| row.get(0).map(Id::from_bytes))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Notes that the names of these records are durable.
    pub fn mark_durable(&self, records: &[Id]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.atomically(|| {
            let query = "UPDATE record SET durable = 1 WHERE id = ?1";
            let mut update = self.connection.prepare_cached(query)?;
            for record in records {
                update.execute([record.as_bytes()])?;
            }
            Ok(())
        })
    }

    /// The largest time and the largest sequence of all records.
    pub fn newest_record(&self) -> Result<Option<(Time, u64)>> {
        let query = "SELECT max(saved_at), max(sequence) FROM record";
        let (saved_at, sequence): (Option<i64>, Option<i64>) =
            self.connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(saved_at.map(Time::from_nanos).zip(sequence.map(i64::cast_unsigned)))
    }

    /// Adds a record with its revisions and their references. If it is there
    /// already, nothing changes. Call in a transaction.
    pub fn add_record(
        &self,
        (id, saved_at, sequence): (Id, Time, u64),
        revisions: &[(RevisionRow, Vec<ReferenceRow>)],
    ) -> Result<()> {
        let order = (saved_at.nanos(), sequence.cast_signed());
        self.connection.execute(
            "INSERT OR IGNORE INTO record VALUES (?1, ?2, ?3, 0)",
            params![id.as_bytes(), order.0, order.1],
        )?;
        let mut add_revision = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO revision
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, 0)",
        )?;
        let mut add_reference = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO reference
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?3, ?4, ?5, ?6, 0)",
        )?;
        for (row, references) in revisions {
            add_revision.execute(params![
                id.as_bytes(),
                row.position,
                order.0,
                order.1,
                row.root.as_bytes(),
                row.root_type,
                row.root_size.cast_signed(),
                row.image_id.as_bytes(),
                row.platform,
                row.created,
                row.layers.cast_signed(),
                row.size.cast_signed(),
                row.added.cast_signed(),
            ])?;
            for name in references {
                let ReferenceRow { repository, tag } = name;
                add_reference.execute(params![
                    repository,
                    tag,
                    order.0,
                    order.1,
                    id.as_bytes(),
                    row.position
                ])?;
            }
        }
        Ok(())
    }

    /// Adds the images of a record's indexes: position, manifest and image ID. Call
    /// in a transaction.
    pub fn add_indexed(
        &self,
        (id, saved_at, sequence): (Id, Time, u64),
        images: &[(u32, Digest, Digest)],
    ) -> Result<()> {
        let mut add = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO indexed VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for (position, manifest, image_id) in images {
            add.execute(params![
                saved_at.nanos(),
                sequence.cast_signed(),
                id.as_bytes(),
                position,
                manifest.as_bytes(),
                image_id.as_bytes(),
            ])?;
        }
        Ok(())
    }

    /// Revisions with each of their names that is `wanted` (repository, tag),
    /// oldest first; unless `all`, with a name only where they are the newest that
    /// has it. Those that have no name at all are in it as well.
    ///
    /// Each table is read once, in its own order.
    pub fn revisions_named(
        &self,
        all: bool,
        wanted: impl FnMut(&str, &str) -> bool,
    ) -> Result<Vec<(Option<ReferenceRow>, RevisionRow)>> {
        // Between the two queries another process may add to both.
        let deferred =
            || Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred);
        let _reading = self.connection.is_autocommit().then(deferred).transpose()?;
        let mut names = self.names(all, wanted)?.into_iter().peekable();
        let mut query = self.connection.prepare_cached(&revisions_in_order())?;
        let mut rows = query.query([])?;
        let mut listed = Vec::new();
        while let Some(row) = rows.next()? {
            let order = (row.get(2)?, row.get(3)?, row.get(0)?, row.get(1)?);
            while names.next_if(|(of, _)| *of < order).is_some() {}
            if names.peek().is_none_or(|(of, _)| *of != order) {
                listed.push((None, revision_row(row)?));
            }
            while let Some((_, name)) = names.next_if(|(of, _)| *of == order) {
                if name.is_some() {
                    listed.push((name, revision_row(row)?));
                }
            }
        }
        Ok(listed)
    }

    /// All names, in the order of their revisions.
    fn names(&self, all: bool, mut wanted: impl FnMut(&str, &str) -> bool) -> Result<Vec<Named>> {
        let mut query = self.connection.prepare_cached(NAMES)?;
        let mut rows = query.query([])?;
        let mut names: Vec<Named> = Vec::new();
        while let Some(row) = rows.next()? {
            let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
            let (repository, tag) = (text(0)?, text(1)?);
            let older = names.last_mut().map(|(_, name)| name).filter(|name| {
                let same = |name: &ReferenceRow| name.repository == repository && name.tag == tag;
                !all && name.as_ref().is_some_and(same)
            });
            let name = match older {
                Some(older) => older.take(),
                None => wanted(repository, tag).then(|| ReferenceRow {
                    repository: repository.to_owned(),
                    tag: tag.to_owned(),
                }),
            };
            names.push(((row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?), name));
        }
        names.sort_unstable();
        // One that was given twice shows once.
        names.dedup();
        Ok(names)
    }

    /// Whether any revision has a name in this repository.
    pub fn has_repository(&self, repository: &str) -> Result<bool> {
        let query = "SELECT 1 FROM reference WHERE repository = ?1 AND removed = 0 LIMIT 1";
        let mut query = self.connection.prepare_cached(query)?;
        Ok(query.query_row([repository], |_| Ok(())).optional()?.is_some())
    }

    /// The revision of a reference that is `back` before the newest.
    pub fn revision(&self, repository: &str, tag: &str, back: u32) -> Result<Option<RevisionRow>> {
        let query = format!(
            "SELECT {COLUMNS} FROM reference r JOIN revision v ON {OF}
             WHERE r.removed = 0 AND r.repository = ?1 AND r.tag = ?2
             ORDER BY r.saved_at DESC, r.sequence DESC, r.record DESC, r.position DESC
             LIMIT 1 OFFSET ?3"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        Ok(query.query_row(params![repository, tag, back], revision_row).optional()?)
    }

    /// The revision of a reference that is `back` before the one it meant at `time`.
    pub fn revision_at(
        &self,
        repository: &str,
        tag: &str,
        time: Time,
        back: u32,
    ) -> Result<Option<RevisionRow>> {
        let query = format!(
            "SELECT {COLUMNS} FROM reference r JOIN revision v ON {OF}
             WHERE r.removed = 0 AND r.repository = ?1 AND r.tag = ?2 AND r.saved_at <= ?3
             ORDER BY r.saved_at DESC, r.sequence DESC, r.record DESC, r.position DESC
             LIMIT 1 OFFSET ?4"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        let parameters = params![repository, tag, time.nanos(), back];
        Ok(query.query_row(parameters, revision_row).optional()?)
    }

    /// Whether this repository has a tag, or had one before, on a revision that is this manifest, or
    /// has it among its images.
    pub fn repository_has_manifest(&self, repository: &str, digest: Digest) -> Result<bool> {
        let query = "SELECT 1 FROM revision v
                     JOIN reference r ON r.of_record = v.record AND r.of_position = v.position
                     WHERE v.removed = 0 AND r.removed = 0 AND r.repository = ?2
                     AND (v.root = ?1 OR EXISTS (SELECT 1 FROM indexed i
                     WHERE i.manifest = ?1 AND i.record = v.record AND i.position = v.position))
                     LIMIT 1";
        let mut query = self.connection.prepare_cached(query)?;
        let found = query.query_row(params![digest.as_bytes(), repository], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }

    /// The newest revision of this image that has no name.
    pub fn unnamed_revision(&self, image: Digest, platform: &str) -> Result<Option<RevisionRow>> {
        let query = format!(
            "SELECT {COLUMNS} FROM revision v WHERE v.image_id = ?1 AND v.platform = ?2
             AND v.removed = 0 AND NOT EXISTS (SELECT 1 FROM reference r
             WHERE r.of_record = v.record AND r.of_position = v.position AND r.removed = 0)
             ORDER BY v.saved_at DESC, v.sequence DESC, v.record DESC, v.position DESC LIMIT 1"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        Ok(query.query_row(params![image.as_bytes(), platform], revision_row).optional()?)
    }

    /// The newest revision whose root has this digest, or else one of an index that
    /// has it among its images, with that digest.
    pub fn revision_by_manifest(
        &self,
        digest: Digest,
    ) -> Result<Option<(RevisionRow, Option<Digest>)>> {
        let newest = "ORDER BY v.saved_at DESC, v.sequence DESC, v.record DESC, v.position DESC";
        let query = format!(
            "SELECT {COLUMNS} FROM revision v WHERE v.root = ?1 AND v.removed = 0 {newest} LIMIT 1"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        if let Some(row) = query.query_row([digest.as_bytes()], revision_row).optional()? {
            return Ok(Some((row, None)));
        }
        let query = format!(
            "SELECT {COLUMNS} FROM indexed i
             JOIN revision v USING (saved_at, sequence, record, position)
             WHERE i.manifest = ?1 AND v.removed = 0 {newest} LIMIT 1"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        let found = query.query_row([digest.as_bytes()], revision_row).optional()?;
        Ok(found.map(|row| (row, Some(digest))))
    }

    /// The newest revision of each image whose ID lies between `low` and `high`:
    /// the ID, and where the revision is an index, the image's manifest.
    pub fn revisions_by_image(
        &self,
        (low, high): (Digest, Digest),
    ) -> Result<Vec<(Digest, RevisionRow, Option<Digest>)>> {
        let query = format!(
            "SELECT {COLUMNS}, v.image_id, NULL FROM revision v
             WHERE v.image_id BETWEEN ?1 AND ?2 AND v.removed = 0 AND NOT EXISTS
             (SELECT 1 FROM indexed i WHERE i.saved_at = v.saved_at
              AND i.sequence = v.sequence AND i.record = v.record AND i.position = v.position)
             UNION ALL
             SELECT {COLUMNS}, i.image_id, i.manifest FROM indexed i
             JOIN revision v USING (saved_at, sequence, record, position)
             WHERE i.image_id BETWEEN ?1 AND ?2 AND v.removed = 0
             ORDER BY 3 DESC, 4 DESC, 1 DESC, 2 DESC"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        let rows = query.query_map(params![low.as_bytes(), high.as_bytes()], |row| {
            let manifest: Option<[u8; 32]> = row.get(COUNT + 1)?;
            let image = Digest::from_bytes(row.get(COUNT)?);
            Ok((image, revision_row(row)?, manifest.map(Digest::from_bytes)))
        })?;
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for row in rows {
            let row = row?;
            if seen.insert(row.0) {
                found.push(row);
            }
        }
        Ok(found)
    }

    /// The names of one revision, sorted.
    pub fn references_of(&self, revision: &RevisionRow) -> Result<Vec<ReferenceRow>> {
        let query = "SELECT repository, tag FROM reference
                     WHERE of_record = ?1 AND of_position = ?2 AND removed = 0
                     GROUP BY repository, tag ORDER BY repository, tag";
        let mut query = self.connection.prepare_cached(query)?;
        let rows = query
            .query_map(params![revision.record.as_bytes(), revision.position], |row| {
                Ok(ReferenceRow { repository: row.get(0)?, tag: row.get(1)? })
            })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u8) -> RevisionRow {
        RevisionRow {
            record: Id::of(&[number]),
            position: 0,
            saved_at: Time::from_nanos(i64::from(number)),
            sequence: number.into(),
            root: Digest::of(&[number]),
            root_type: String::new(),
            root_size: 0,
            image_id: Digest::of(&[number]),
            platform: String::new(),
            created: None,
            layers: 0,
            size: 0,
            added: 0,
            pinned: false,
        }
    }

    fn name(tag: &str) -> ReferenceRow {
        ReferenceRow { repository: "app".to_owned(), tag: tag.to_owned() }
    }

    #[test]
    fn names_go_with_their_revisions() {
        let catalog = Catalog::in_memory("store").unwrap();
        let saves = [(3, vec!["b"]), (1, vec!["a", "b"]), (4, vec![]), (2, vec!["b", "c"])];
        for (number, tags) in saves {
            let row = revision(number);
            let names = tags.iter().map(|tag| name(tag)).collect();
            let order = (row.record, row.saved_at, row.sequence);
            catalog.add_record(order, &[(row, names)]).unwrap();
        }
        let listed = |all, unwanted| {
            let rows = catalog.revisions_named(all, |_, tag| tag != unwanted).unwrap();
            rows.into_iter()
                .map(|(name, row)| (name.map_or("-".to_owned(), |name| name.tag), row.sequence))
                .collect::<Vec<_>>()
        };
        let pairs = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(tag, number)| ((*tag).to_owned(), *number)).collect::<Vec<_>>()
        };
        assert_eq!(listed(false, ""), pairs(&[("a", 1), ("c", 2), ("b", 3), ("-", 4)]));
        let every = [("a", 1), ("b", 1), ("b", 2), ("c", 2), ("b", 3), ("-", 4)];
        assert_eq!(listed(true, ""), pairs(&every));
        assert_eq!(listed(true, "b"), pairs(&[("a", 1), ("c", 2), ("-", 4)]));
        assert_eq!(listed(false, "a"), pairs(&[("c", 2), ("b", 3), ("-", 4)]));
    }

    #[test]
    fn a_listing_reads_each_table_once_and_sorts_nothing() {
        let catalog = Catalog::in_memory("store").unwrap();
        for query in [NAMES, &revisions_in_order()] {
            let plan = format!("EXPLAIN QUERY PLAN {query}");
            let mut plan = catalog.connection.prepare(&plan).unwrap();
            let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let steps: Vec<_> = steps.collect::<rusqlite::Result<_>>().unwrap();
            assert_eq!(steps.len(), 1, "{steps:?}");
            assert!(steps[0].starts_with("SCAN"), "{steps:?}");
        }
    }
}
