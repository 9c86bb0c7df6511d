//! `tag`: gives a revision one more name.

use super::action::{Author, key_of};
use super::resolve::Resolved;
use crate::catalog::RevisionRow;
use crate::digest::Id;
use crate::image::Reference;
use crate::store::record::{Action, Tag};
use crate::store::{Result, Store};

/// What a tag did.
#[derive(Debug, Clone)]
pub struct Tagged {
    /// The record; `None` where the name meant this revision already.
    pub record: Option<Id>,
    /// What it meant before.
    pub before: Option<RevisionRow>,
}

/// Makes `name` mean this revision from now on. What it meant before is the
/// revision before.
pub fn tag(
    store: &mut Store,
    resolved: &Resolved,
    name: &Reference,
    author: Author<'_>,
) -> Result<Tagged> {
    let before = store.catalog().revision(name.repository(), name.tag(), 0)?;
    let revision = key_of(&resolved.revision);
    if before.as_ref().is_some_and(|before| key_of(before) == revision) {
        // Whoever gave it that name may have been killed before that was durable.
        store.make_durable()?;
        return Ok(Tagged { record: None, before });
    }
    let tag = Tag { revision, references: vec![name.to_string()] };
    let record = author.write(store, Action::Tag(tag))?;
    Ok(Tagged { record: Some(record), before })
}
