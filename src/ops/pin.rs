//! `pin` and `unpin`: which revisions must not be removed.

use super::action::{Author, key_of};
use super::resolve::Resolved;
use crate::digest::Id;
use crate::store::record::{Action, Pin};
use crate::store::{Result, Store};

/// Says of revisions that they must not be removed, or else that they may be.
/// Returns the record; `None` where all of them are so already.
pub fn pin(
    store: &mut Store,
    images: &[Resolved],
    pinned: bool,
    author: Author<'_>,
) -> Result<Option<Id>> {
    let mut revisions = Vec::new();
    for image in images {
        let key = key_of(&image.revision);
        if image.revision.pinned != pinned && !revisions.contains(&key) {
            revisions.push(key);
        }
    }
    if revisions.is_empty() {
        // Whoever did it may have been killed before that was durable.
        store.make_durable()?;
        return Ok(None);
    }
    author.write(store, Action::Pin(Pin { pinned, revisions })).map(Some)
}
