//! `undo`: takes back the last removal or tag.

use super::action::Author;
use crate::digest::Id;
use crate::store::record::{Action, ActionRecord, GivenName, RevisionKey, Undo};
use crate::store::{Store, StoreError};
use crate::time::Time;
use crate::varint::in_memory;

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing that can be.
    #[error("no rm, forget or tag is left since garbage was collected last")]
    Nothing,
    /// What would come back isn't whole any more.
    #[error("garbage was collected since, and {what} is gone")]
    Gone {
        /// An image or a save.
        what: String,
    },
}

/// What was undone.
#[derive(Debug)]
pub struct Undone {
    /// The record of the undo.
    pub record: Id,
    /// The record that doesn't count any more.
    pub undone: Id,
    /// `rm`, `forget` or `tag`.
    pub what: String,
    /// When that was.
    pub saved_at: Time,
    /// Names that are back, or of a tag, that are gone; fully qualified.
    pub names: Vec<String>,
    /// How many revisions are back.
    pub revisions: usize,
}

/// Takes back the last removal or tag that counts, unless garbage was collected
/// since.
pub fn undo(store: &mut Store, author: Author<'_>) -> Result<Undone, UndoError> {
    let _lock = store.keep_garbage()?;
    let undone = store.state()?.last.ok_or(UndoError::Nothing)?;
    let ActionRecord { saved_at, action, .. } = store.action(undone)?;
    let (what, names, revisions) = match action {
        Action::Tag(tag) => ("tag".to_owned(), tag.references, 0),
        Action::Remove(remove) => {
            check_whole(store, &remove.revisions, &remove.names)?;
            let names = remove.names.into_iter().map(|name| name.reference);
            let mut names: Vec<String> = names.collect();
            names.sort_unstable();
            names.dedup();
            (remove.reason, names, remove.revisions.len())
        }
        _ => return Err(UndoError::Nothing),
    };
    let record = author.write(store, Action::Undo(Undo { undone }))?;
    Ok(Undone { record, undone, what, saved_at, names, revisions })
}

/// Whether all that comes back is there, as far as that can be told without
/// reading it.
fn check_whole(
    store: &Store,
    revisions: &[RevisionKey],
    names: &[GivenName],
) -> Result<(), UndoError> {
    let mut keys = revisions.to_vec();
    for name in names {
        let GivenName { record, position, .. } = *name;
        keys.push(match store.action(record) {
            Ok(ActionRecord { action: Action::Tag(tag), .. }) => tag.revision,
            _ => RevisionKey { record, position },
        });
    }
    keys.sort_unstable();
    keys.dedup();
    let mut last = None;
    for RevisionKey { record, position } in keys {
        let known = last.take().filter(|(id, _)| *id == record);
        let save = match known {
            Some((_, save)) => save,
            None => match store.record(record) {
                Err(StoreError::Fs(error)) if error.is_missing() => {
                    return Err(UndoError::Gone { what: format!("save `{}`", record.short()) });
                }
                save => save?,
            },
        };
        if let Some(revision) = save.revisions.get(in_memory(position)) {
            let root = revision.root.digest;
            if store.blob(root)?.is_none() {
                return Err(UndoError::Gone { what: format!("image {root}") });
            }
        }
        last = Some((record, save));
    }
    Ok(())
}
