//! What records that are no saves make of the catalog: which revisions and names
//! show, and which packs may be gone.
//!
//! The catalog keeps what they say; all of it is added up again whenever one is
//! new or gone, or a save turns up that is older than the newest of them.

use std::collections::HashSet;

use super::record::{ActionRecord, GivenName, RevisionKey};
use super::state::{State, fold};
use super::{FileMaps, Result, Store, StoreError};
use crate::catalog::{Marks, ReferenceRow, RevisionPlace, TagRow};
use crate::digest::Id;

impl Store {
    /// What all records that are no saves add up to.
    pub fn state(&self) -> Result<State> {
        let rows = self.catalog.actions()?.into_iter();
        let actions = rows.map(|row| match ActionRecord::decode(&row.kind, &row.body) {
            Some(Ok(action)) => Ok((row.record, action)),
            _ => Err(StoreError::Inconsistent("a record that is none")),
        });
        Ok(fold(actions.collect::<Result<Vec<_>>>()?))
    }

    /// Adds them up, and notes the result in the catalog.
    pub(super) fn note_marks(&self) -> Result<()> {
        Ok(self.catalog.set_marks(&marks(&self.state()?))?)
    }

    /// Forgets packs that the catalog knows and that are gone; false where records
    /// name one of them and none says that it was dropped.
    pub(super) fn forget_gone(&mut self, gone: &HashSet<Id>) -> Result<bool> {
        if gone.is_empty() {
            return Ok(true);
        }
        let dropped = self.state()?.dropped;
        for pack in gone {
            if !dropped.contains(pack) && self.catalog.is_named(*pack)? {
                return Ok(false);
            }
        }
        self.forget_packs(gone.iter().copied())?;
        self.file_maps = FileMaps::default();
        Ok(true)
    }

    /// Forgets packs of those that the catalog knows and that aren't there.
    pub(super) fn forget_dropped(&self, dropped: &[Id]) -> Result<()> {
        let mut gone = Vec::new();
        for pack in dropped {
            let known = self.catalog.pack(*pack)?.is_some();
            if known && !self.fs.exists(&self.layout.pack(*pack)) {
                gone.push(*pack);
            }
        }
        self.forget_packs(gone.into_iter())
    }

    fn forget_packs(&self, packs: impl Iterator<Item = Id>) -> Result<()> {
        // Others may stand on them, or hold the same directory.
        self.sound.borrow_mut().clear();
        self.whole.borrow_mut().clear();
        self.homes.take();
        Ok(self.catalog.forget_packs(&packs.collect::<Vec<_>>())?)
    }
}

/// A fully qualified name in two parts; `None` for what is none.
pub(super) fn name_of(reference: &str) -> Option<ReferenceRow> {
    let (repository, tag) = reference.rsplit_once(':')?;
    Some(ReferenceRow { repository: repository.to_owned(), tag: tag.to_owned() })
}

/// The same in the terms of the catalog.
fn marks(state: &State) -> Marks {
    let place = |key: &RevisionKey| -> RevisionPlace { (key.record, key.position) };
    let tags = state.tags.iter().flat_map(|tag| {
        let record = (tag.record, tag.stamp.saved_at, tag.stamp.sequence);
        let names = tag.references.iter().filter_map(|reference| name_of(reference));
        names.map(move |name| TagRow { name, record, revision: place(&tag.revision) })
    });
    let given = |name: &GivenName| Some((name_of(&name.reference)?, (name.record, name.position)));
    Marks {
        tags: tags.collect(),
        removed: state.removed.iter().map(place).collect(),
        removed_names: state.removed_names.iter().filter_map(given).collect(),
        pinned: state.pinned.iter().map(place).collect(),
    }
}
