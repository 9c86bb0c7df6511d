//! What users did other than saving, in the catalog, and what that makes of
//! revisions and names.
//!
//! Keeps what actions say as it was written and deliberately doesn't read it:
//! whoever does hands back which rows are removed and pinned, and which names
//! there are besides.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use super::images::{COLUMNS, COUNT, OF, revision_row};
use super::{Catalog, ReferenceRow, Result, RevisionRow};
use crate::digest::Id;
use crate::time::Time;

/// A record that is no save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// Its id.
    pub record: Id,
    /// What it calls itself.
    pub kind: String,
    /// All of it, as it is.
    pub body: Vec<u8>,
}

/// Where a revision is: its record, and its place among that record's.
pub type RevisionPlace = (Id, u32);

/// A name that an action gave to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    /// The name.
    pub name: ReferenceRow,
    /// The record of the action, which has no more than this one of this name.
    pub record: (Id, Time, u64),
    /// The revision.
    pub revision: RevisionPlace,
}

/// A name, and the record that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRow {
    /// The name.
    pub name: ReferenceRow,
    /// Of a save, at the place of the revision; of an action, at 0.
    pub given: RevisionPlace,
}

/// What all actions together make of revisions and names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Names that actions gave.
    pub tags: Vec<TagRow>,
    /// Revisions that don't show any more; nor do their names.
    pub removed: Vec<RevisionPlace>,
    /// Names that don't show any more, and the record that gave them: of a save,
    /// at the place of the revision, and of an action, at 0.
    pub removed_names: Vec<(ReferenceRow, RevisionPlace)>,
    /// Revisions that are to stay.
    pub pinned: Vec<RevisionPlace>,
}

/// Takes the marks off, and the names that actions gave: those of which the
/// record that gave them is not the one of the revision.
const CLEAR: &str = "
UPDATE revision SET removed = 0, pinned = 0 WHERE removed = 1 OR pinned = 1;
DELETE FROM reference WHERE record <> of_record;
UPDATE reference SET removed = 0 WHERE removed = 1;
";

/// Which revision a statement is about, by the whole of its key.
const AT: &str = "saved_at = (SELECT saved_at FROM record WHERE id = ?1)
    AND sequence = (SELECT sequence FROM record WHERE id = ?1) AND record = ?1";

impl Catalog {
    /// All actions, in no order.
    pub fn actions(&self) -> Result<Vec<ActionRow>> {
        let mut query = self.connection.prepare_cached("SELECT record, kind, body FROM action")?;
        let rows = query.query_map([], |row| {
            let record = Id::from_bytes(row.get(0)?);
            Ok(ActionRow { record, kind: row.get(1)?, body: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The newest action: its time, its sequence and its record.
    pub fn newest_action(&self) -> Result<Option<(Time, u64, Id)>> {
        let query = "SELECT saved_at, sequence, record FROM action
                     ORDER BY saved_at DESC, sequence DESC, record DESC LIMIT 1";
        let mut query = self.connection.prepare_cached(query)?;
        let newest = query.query_row([], |row| {
            let sequence: i64 = row.get(1)?;
            let id = Id::from_bytes(row.get(2)?);
            Ok((Time::from_nanos(row.get(0)?), sequence.cast_unsigned(), id))
        });
        Ok(newest.optional()?)
    }

    /// Adds an action. If it is there already, nothing changes. Call in a
    /// transaction, together with `add_record`.
    pub fn add_action(&self, row: &ActionRow, saved_at: Time, sequence: u64) -> Result<()> {
        let query = "INSERT OR IGNORE INTO action VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut add = self.connection.prepare_cached(query)?;
        let (record, order) = (row.record.as_bytes(), (saved_at.nanos(), sequence.cast_signed()));
        add.execute(params![order.0, order.1, record, row.kind, row.body])?;
        Ok(())
    }

    /// Notes that a record has a feature for which the store must not be written to.
    pub fn forbid_writing(&self, record: Id, feature: &str) -> Result<()> {
        let query = "INSERT OR IGNORE INTO meta VALUES ('unknown ' || hex(?1), ?2)";
        self.connection.execute(query, params![record.as_bytes(), feature])?;
        Ok(())
    }

    /// A feature for which the store must not be written to, if a record has one.
    pub fn forbids_writing(&self) -> Result<Option<String>> {
        let query = "SELECT value FROM meta WHERE key LIKE 'unknown %' ORDER BY key LIMIT 1";
        Ok(self.connection.query_row(query, [], |row| row.get(0)).optional()?)
    }

    /// Makes these the marks, and no others.
    pub fn set_marks(&self, marks: &Marks) -> Result<()> {
        self.atomically(|| {
            self.connection.execute_batch(CLEAR)?;
            let mut add = self.connection.prepare_cached(
                "INSERT OR IGNORE INTO reference
                 SELECT ?1, ?2, ?3, ?4, ?5, 0, v.saved_at, v.sequence, v.record, v.position, 0
                 FROM record r JOIN revision v
                 ON v.saved_at = r.saved_at AND v.sequence = r.sequence AND v.record = r.id
                 WHERE r.id = ?6 AND v.position = ?7",
            )?;
            for TagRow { name, record: (id, saved_at, sequence), revision } in &marks.tags {
                add.execute(params![
                    name.repository,
                    name.tag,
                    saved_at.nanos(),
                    sequence.cast_signed(),
                    id.as_bytes(),
                    revision.0.as_bytes(),
                    revision.1
                ])?;
            }
            let update = |what: &str, condition: &str| {
                self.connection.prepare(&format!("UPDATE {what} = 1 WHERE {condition}"))
            };
            let mut remove = update("revision SET removed", &format!("{AT} AND position = ?2"))?;
            let of = "of_record = ?1 AND of_position = ?2";
            let mut remove_names = update("reference SET removed", of)?;
            for (record, position) in &marks.removed {
                remove.execute(params![record.as_bytes(), position])?;
                remove_names.execute(params![record.as_bytes(), position])?;
            }
            let mut pin = update("revision SET pinned", &format!("{AT} AND position = ?2"))?;
            for (record, position) in &marks.pinned {
                pin.execute(params![record.as_bytes(), position])?;
            }
            let named = format!("{AT} AND position = ?2 AND repository = ?3 AND tag = ?4");
            let mut remove_name = update("reference SET removed", &named)?;
            for (ReferenceRow { repository, tag }, (record, position)) in &marks.removed_names {
                remove_name.execute(params![record.as_bytes(), position, repository, tag])?;
            }
            Ok(())
        })
    }

    /// The names of a revision, each as often as it was given.
    pub fn names_given_to(&self, revision: &RevisionRow) -> Result<Vec<GivenRow>> {
        let query = "SELECT repository, tag, record, position FROM reference
                     WHERE of_record = ?1 AND of_position = ?2 AND removed = 0
                     ORDER BY repository, tag, saved_at, sequence, record";
        let mut query = self.connection.prepare_cached(query)?;
        let of = params![revision.record.as_bytes(), revision.position];
        let rows = query.query_map(of, |row| {
            let name = ReferenceRow { repository: row.get(0)?, tag: row.get(1)? };
            Ok(GivenRow { name, given: (Id::from_bytes(row.get(2)?), row.get(3)?) })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The revisions of a reference, oldest first, each as often as it was given.
    pub fn history(&self, repository: &str, tag: &str) -> Result<Vec<(RevisionRow, GivenRow)>> {
        let query = format!(
            "SELECT {COLUMNS}, r.record, r.position FROM reference r JOIN revision v ON {OF}
             WHERE r.removed = 0 AND r.repository = ?1 AND r.tag = ?2
             ORDER BY r.saved_at, r.sequence, r.record, r.position"
        );
        let mut query = self.connection.prepare_cached(&query)?;
        let rows = query.query_map([repository, tag], |row| {
            let (repository, tag) = (repository.to_owned(), tag.to_owned());
            let name = ReferenceRow { repository, tag };
            let given = (Id::from_bytes(row.get(COUNT)?), row.get(COUNT + 1)?);
            Ok((revision_row(row)?, GivenRow { name, given }))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The places of the revisions of a save that were removed.
    pub fn removed_in(&self, record: Id) -> Result<Vec<u32>> {
        let query = format!("SELECT position FROM revision WHERE {AT} AND removed = 1");
        let mut query = self.connection.prepare_cached(&query)?;
        let rows = query.query_map([record.as_bytes()], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets records that are gone, with their revisions and names. What actions
    /// make of the others is to be set anew.
    pub fn forget_records(&self, records: &HashSet<Id>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.atomically(|| {
            let mut named = Vec::new();
            let mut query = self.connection.prepare_cached("SELECT pack, record FROM named")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (pack, record) = (row.get::<_, [u8; 32]>(0)?, Id::from_bytes(row.get(1)?));
                if records.contains(&record) {
                    named.push((pack, record));
                }
            }
            for (pack, record) in named {
                let query = "DELETE FROM named WHERE pack = ?1 AND record = ?2";
                self.connection.prepare_cached(query)?.execute([pack, *record.as_bytes()])?;
                let query = "UPDATE pack SET recorded = EXISTS
                             (SELECT 1 FROM named WHERE pack = ?1) WHERE id = ?1";
                self.connection.prepare_cached(query)?.execute([pack])?;
            }
            for query in [
                &format!("DELETE FROM revision WHERE {AT}"),
                &format!("DELETE FROM indexed WHERE {AT}"),
                "DELETE FROM reference WHERE of_record = ?1",
                &format!("DELETE FROM action WHERE {AT}"),
                "DELETE FROM meta WHERE key = 'unknown ' || hex(?1)",
                "DELETE FROM record WHERE id = ?1",
            ] {
                let mut delete = self.connection.prepare_cached(query)?;
                for record in records {
                    delete.execute([record.as_bytes()])?;
                }
            }
            Ok(())
        })
    }
}
