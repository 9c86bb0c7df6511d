//! What is needed of packs: a mark for each chunk.
//!
//! A chunk is *live* where the recipe of a needed blob names it, and a *support*
//! where only frames stand on it that are needed. Memory is a byte for each chunk
//! of packs that have any such, and two where frames stand on chunks that aren't
//! live.

use std::collections::{HashMap, HashSet};

use crate::catalog::Place;
use crate::digest::{Digest, Id};
use crate::store::{Result, Store};
use crate::varint::in_memory;

/// A recipe names it.
pub(super) const LIVE: u8 = 1;
/// A needed frame stands on it.
pub(super) const SUPPORT: u8 = 2;
/// It is needed, and there is another copy elsewhere that will do.
pub(super) const ELSEWHERE: u8 = 4;

/// The marks of chunks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    packs: HashMap<Id, Vec<u8>>,
    /// How many needed frames stand on a chunk that isn't live.
    users: HashMap<Id, Vec<u16>>,
    /// Directories that recipes of needed blobs name.
    pub(super) named: HashSet<Id>,
    done: HashSet<Digest>,
}

impl Marks {
    /// Marks all that a blob needs, and what it stands on.
    pub(super) fn blob(&mut self, store: &Store, digest: Digest) -> Result<()> {
        if self.done.contains(&digest) {
            return Ok(());
        }
        for (row, recipe) in store.chain(digest)? {
            if !self.done.insert(recipe.digest) {
                break;
            }
            self.mark(store, row.recipe, 1, LIVE)?;
            store.each_section(&recipe, |place, runs| {
                self.mark(store, place, 1, LIVE)?;
                runs.iter().try_for_each(|(place, count)| self.mark(store, *place, *count, LIVE))
            })?;
            self.named.extend(recipe.body.names().iter().flat_map(|names| &names.directories));
        }
        Ok(())
    }

    /// Marks neighbouring chunks.
    pub(super) fn mark(&mut self, store: &Store, place: Place, count: u32, mark: u8) -> Result<()> {
        let marks = match self.packs.entry(place.pack) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(vec![0; store.pack(place.pack)?.directory().ids.len()])
            }
        };
        for it in slice(marks, place.position, count) {
            *it |= mark;
        }
        Ok(())
    }

    /// Takes a mark from all chunks.
    pub(super) fn clear(&mut self, mark: u8) {
        for it in self.packs.values_mut().flatten() {
            *it &= !mark;
        }
    }

    /// The mark of a chunk.
    pub(super) fn of(&self, place: Place) -> u8 {
        let marks = self.packs.get(&place.pack);
        marks.and_then(|marks| marks.get(in_memory(place.position))).copied().unwrap_or(0)
    }

    /// Whether a chunk is needed where it is.
    pub(super) fn is_needed(&self, place: Place) -> bool {
        let mark = self.of(place);
        mark != 0 && mark & ELSEWHERE == 0
    }

    /// The packs that any mark is in.
    pub(super) fn packs(&self) -> impl Iterator<Item = Id> {
        self.packs.keys().copied()
    }

    /// Whether any chunk of a pack is needed.
    pub(super) fn any(&self, pack: Id) -> bool {
        let marks = self.packs.get(&pack);
        marks.is_some_and(|marks| marks.iter().any(|mark| *mark != 0 && mark & ELSEWHERE == 0))
    }

    /// Whether any of a pack's neighbouring chunks is needed.
    pub(super) fn any_of(&self, pack: Id, first: u32, count: u32) -> bool {
        (first..first + count).any(|position| self.is_needed(Place { pack, position }))
    }

    /// Notes one frame more that stands on these chunks, as far as they aren't live.
    pub(super) fn use_chunks(&mut self, store: &Store, place: Place, count: u32) -> Result<()> {
        for position in place.position..place.position.saturating_add(count) {
            let place = Place { position, ..place };
            if self.of(place) & LIVE != 0 {
                continue;
            }
            let users = match self.users.entry(place.pack) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(vec![0; store.pack(place.pack)?.directory().ids.len()])
                }
            };
            for it in slice(users, position, 1) {
                *it = it.saturating_add(1);
            }
        }
        Ok(())
    }

    /// How many frames stand on a chunk that isn't live.
    pub(super) fn users(&self, place: Place) -> u16 {
        let users = self.users.get(&place.pack);
        users.and_then(|users| users.get(in_memory(place.position))).copied().unwrap_or(0)
    }
}

/// The part of a list that a pack's neighbouring chunks have, as far as it goes.
fn slice<T>(all: &mut [T], first: u32, count: u32) -> &mut [T] {
    let first = in_memory(first).min(all.len());
    let end = first.saturating_add(in_memory(count)).min(all.len());
    &mut all[first..end]
}
