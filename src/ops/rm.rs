//! `rm`: takes names from revisions, and removes those that have none left.
//!
//! Nothing is deleted: a record says what doesn't show any more, so that it can be
//! undone until garbage is collected.

use std::collections::BTreeMap;

use super::action::{Author, familiar, given_name, key_of};
use super::resolve::Resolved;
use crate::catalog::{GivenRow, ReferenceRow, RevisionRow};
use crate::digest::Id;
use crate::store::record::{Action, Remove, RevisionKey};
use crate::store::{Store, StoreError};

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RmError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of them is pinned.
    #[error("`{name}` is pinned")]
    Pinned {
        /// A name of it, or its image ID.
        name: String,
    },
    /// The history of something that is no name.
    #[error("`{asked}` is no name, and has no other revisions")]
    NoName {
        /// What was asked for.
        asked: String,
    },
    /// An image that was asked for by its ID is one of several in an index.
    #[error("`{asked}` is one of the images of an index, which are kept together")]
    InIndex {
        /// What was asked for.
        asked: String,
        /// The index.
        index: String,
    },
}

impl From<crate::catalog::CatalogError> for RmError {
    fn from(error: crate::catalog::CatalogError) -> Self {
        Self::Store(error.into())
    }
}

/// What is to go, or is gone.
#[derive(Debug, Default)]
pub struct Removal {
    /// The revisions that it is about, oldest first.
    pub revisions: Vec<Let>,
}

/// What happens to one revision.
#[derive(Debug, Clone)]
pub struct Let {
    /// The revision.
    pub revision: RevisionRow,
    /// The names that it loses.
    pub untagged: Vec<ReferenceRow>,
    /// Whether it has none left, and is removed.
    pub removed: bool,
    names: Vec<GivenRow>,
}

/// What was removed.
#[derive(Debug)]
pub struct Removed {
    /// The record.
    pub record: Id,
    /// What went.
    pub removal: Removal,
    /// Names that mean an older revision now.
    pub now: Vec<(ReferenceRow, RevisionRow)>,
}

/// Takes from each of these images the name by which it was asked for, and where it
/// was asked for by ID or digest all of its names; with `history`, takes the name
/// from all revisions that have it. All is checked before anything is written.
pub fn rm(
    store: &mut Store,
    images: &[(String, Resolved)],
    history: bool,
    author: Author<'_>,
) -> Result<Removed, RmError> {
    let removal = plan(store, images, history)?;
    if let Some(pinned) = removal.revisions.iter().find(|it| it.revision.pinned) {
        return Err(RmError::Pinned { name: name_now(store, pinned)? });
    }
    let record = write(store, "rm", &removal, author)?;
    let mut now: Vec<(ReferenceRow, RevisionRow)> = Vec::new();
    for name in removal.revisions.iter().flat_map(|it| &it.untagged) {
        let revision = store.catalog().revision(&name.repository, &name.tag, 0)?;
        if let Some(revision) = revision.filter(|_| now.iter().all(|(known, _)| known != name)) {
            now.push((name.clone(), revision));
        }
    }
    Ok(Removed { record, removal, now })
}

/// How this revision can be asked for.
fn name_now(store: &Store, it: &Let) -> Result<String, RmError> {
    let Some(name) = it.untagged.first() else {
        return Ok(format!("sha256:{}", it.revision.image_id.short()));
    };
    let history = store.catalog().history(&name.repository, &name.tag)?;
    let this = |(of, _): &(RevisionRow, GivenRow)| key_of(of) == key_of(&it.revision);
    Ok(match history.iter().rev().position(this) {
        None | Some(0) => familiar(name),
        Some(back) => format!("{}~{back}", familiar(name)),
    })
}

fn plan(store: &Store, images: &[(String, Resolved)], history: bool) -> Result<Removal, RmError> {
    let catalog = store.catalog();
    let mut chosen: Vec<(RevisionRow, Vec<GivenRow>)> = Vec::new();
    for (asked, Resolved { revision, reference, manifest }) in images {
        match reference {
            None if history => return Err(RmError::NoName { asked: asked.clone() }),
            None if manifest.is_some() => {
                let (asked, index) = (asked.clone(), format!("@{}", revision.root));
                return Err(RmError::InIndex { asked, index });
            }
            None => chosen.push((revision.clone(), catalog.names_given_to(revision)?)),
            Some(name) => {
                let all = catalog.history(name.repository(), name.tag())?;
                let this = |of: &RevisionRow| history || key_of(of) == key_of(revision);
                let of = all.into_iter().filter(|(of, _)| this(of));
                chosen.extend(of.map(|(of, given)| (of, vec![given])));
            }
        }
    }
    Ok(removal(store, chosen)?)
}

/// What letting go of these names comes to, and of these revisions where they have
/// no other.
pub(super) fn removal(
    store: &Store,
    chosen: Vec<(RevisionRow, Vec<GivenRow>)>,
) -> Result<Removal, StoreError> {
    let mut revisions: BTreeMap<_, (RevisionRow, Vec<GivenRow>)> = BTreeMap::new();
    for (revision, names) in chosen {
        let order = (revision.saved_at, revision.sequence, key_of(&revision));
        let (_, known) = revisions.entry(order).or_insert_with(|| (revision, Vec::new()));
        for name in names {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    let mut removal = Removal::default();
    for (revision, names) in revisions.into_values() {
        let all = store.catalog().names_given_to(&revision)?;
        let removed = all.iter().all(|name| names.contains(name));
        let mut untagged: Vec<ReferenceRow> = names.iter().map(|it| it.name.clone()).collect();
        untagged.sort_unstable();
        untagged.dedup();
        removal.revisions.push(Let { revision, untagged, removed, names });
    }
    Ok(removal)
}

/// Writes the record of a removal.
pub(super) fn write(
    store: &mut Store,
    reason: &str,
    removal: &Removal,
    author: Author<'_>,
) -> Result<Id, StoreError> {
    let removed = removal.revisions.iter().filter(|it| it.removed);
    let revisions: Vec<RevisionKey> = removed.map(|it| key_of(&it.revision)).collect();
    let names = removal.revisions.iter().flat_map(|it| &it.names).map(given_name).collect();
    let remove = Remove { reason: reason.to_owned(), revisions, names };
    author.write(store, Action::Remove(remove))
}
