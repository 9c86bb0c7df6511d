//! What the operations have in common that change which names and revisions show.
//!
//! Each finds out what it would change, checks all of it, and then writes one
//! record, or none.

use crate::catalog::{GivenRow, ReferenceRow, RevisionRow};
use crate::digest::Id;
use crate::image::familiar_repository;
use crate::store::record::{Action, GivenName, RevisionKey};
use crate::store::{Result, Store};
use crate::time::Time;

/// Who writes a record, and when.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The program, for people.
    pub program: &'a str,
    /// The time.
    pub now: Time,
}

impl Author<'_> {
    /// Writes a record; returns its id.
    pub(super) fn write(self, store: &mut Store, action: Action) -> Result<Id> {
        Ok(store.write_record(action, self.program, self.now, false)?.0)
    }
}

/// The revision in terms of records.
pub(super) fn key_of(revision: &RevisionRow) -> RevisionKey {
    RevisionKey { record: revision.record, position: revision.position }
}

/// A name in terms of records.
pub(super) fn given_name(row: &GivenRow) -> GivenName {
    let ReferenceRow { repository, tag } = &row.name;
    let (record, position) = row.given;
    GivenName { reference: format!("{repository}:{tag}"), record, position }
}

/// A name as people write it.
pub fn familiar(name: &ReferenceRow) -> String {
    format!("{}:{}", familiar_repository(&name.repository), name.tag)
}
