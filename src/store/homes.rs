//! Where the chunks of a directory are: in the pack that has it, or, where that
//! pack is gone, each wherever its id is found.
//!
//! Recipes and frames name chunks by a directory and a position in it, and go on
//! doing so when garbage collection has moved the chunks: the directory itself is
//! then kept, as chunks of a metadata pack (docs/FORMAT.md section 4.3). Looking
//! ids up needs the catalog, so it is done once, before threads read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::directories::Pieces;
use crate::pack::tables::Directory;
use crate::varint::in_memory;

/// Stands for a chunk that no pack holds any more.
const NOWHERE: u32 = u32::MAX;

/// Where the chunks of one directory are.
#[derive(Debug, Clone)]
pub(super) enum Home {
    /// All of them, in this pack, at their positions.
    Pack(Id),
    /// Each somewhere else.
    Moved(Arc<Moved>),
}

/// The chunks of a directory whose pack is gone.
#[derive(Debug)]
pub(super) struct Moved {
    directory: Id,
    packs: Vec<Id>,
    /// Index of the pack, and position there.
    places: Vec<(u32, u32)>,
}

/// What threads know of directories.
#[derive(Debug, Default)]
pub(super) struct Homes {
    packs: HashMap<Id, Id>,
    moved: Mutex<HashMap<Id, Arc<Moved>>>,
}

impl Home {
    /// The packs that hold the chunks.
    pub(super) fn packs(&self) -> &[Id] {
        match self {
            Self::Pack(id) => std::slice::from_ref(id),
            Self::Moved(moved) => &moved.packs,
        }
    }

    /// Where `count` chunks from a position on are, as runs of neighbours.
    pub(super) fn runs(
        &self,
        first: u32,
        count: u32,
        mut act: impl FnMut(Place, u32) -> Result<()>,
    ) -> Result<()> {
        let moved = match self {
            Self::Pack(pack) => return act(Place { pack: *pack, position: first }, count),
            Self::Moved(moved) => moved,
        };
        let missing = || StoreError::NoChunkOf { directory: moved.directory };
        let end = first.checked_add(count).ok_or_else(missing)?;
        let places = moved.places.get(in_memory(first)..in_memory(end)).ok_or_else(missing)?;
        let mut rest = places;
        while let Some((pack, position)) = rest.first().copied() {
            let id = *moved.packs.get(in_memory(pack)).ok_or_else(missing)?;
            let next = (position..).map(|position| (pack, position));
            let together = rest.iter().zip(next).take_while(|(one, next)| *one == next).count();
            act(Place { pack: id, position }, u32::try_from(together).unwrap_or(u32::MAX))?;
            rest = &rest[together..];
        }
        Ok(())
    }
}

impl Homes {
    pub(super) fn new(packs: HashMap<Id, Id>) -> Self {
        Self { packs, moved: Mutex::default() }
    }

    fn moved(&self) -> MutexGuard<'_, HashMap<Id, Arc<Moved>>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the chunks of a directory are that was looked up before, or has a pack.
    pub(super) fn home(&self, directory: Id) -> Result<Home> {
        if let Some(pack) = self.packs.get(&directory) {
            return Ok(Home::Pack(*pack));
        }
        let moved = self.moved().get(&directory).cloned();
        moved.map(Home::Moved).ok_or(StoreError::NoDirectory { id: directory })
    }
}

impl Store {
    /// What threads need to know of directories: all that have a pack which stays.
    pub(super) fn homes(&self) -> Result<Arc<Homes>> {
        if let Some(known) = &*self.homes.borrow() {
            return Ok(Arc::clone(known));
        }
        let mut packs = HashMap::new();
        // Of several with the same one, one that a record names, and the newest.
        let mut rows = self.catalog.packs()?;
        rows.sort_by_key(|row| row.recorded);
        for row in rows.iter().filter(|row| !self.doomed.contains(&row.id)) {
            packs.insert(row.directory, row.id);
        }
        let homes = Arc::new(Homes::new(packs));
        self.homes.replace(Some(Arc::clone(&homes)));
        Ok(homes)
    }

    /// Where the chunks of a directory are; from then on threads know it as well.
    pub(super) fn home(&self, directory: Id) -> Result<Home> {
        let homes = self.homes()?;
        match homes.home(directory) {
            Err(StoreError::NoDirectory { .. }) => {}
            home => return home,
        }
        let moved = Arc::new(self.look_up(directory)?);
        homes.moved().insert(directory, Arc::clone(&moved));
        Ok(Home::Moved(moved))
    }

    /// Where the pieces of a kept directory are that stay.
    pub(super) fn kept_pieces(&self, directory: Id) -> Result<Vec<Place>> {
        let mut places = self.catalog.directory_pieces(directory)?;
        places.retain(|place| !self.doomed.contains(&place.pack));
        Ok(places)
    }

    /// The directory with this id, whose pack is gone.
    pub(super) fn kept_directory(&self, id: Id) -> Result<Directory> {
        let mut pieces = Pieces::default();
        for place in self.catalog.directory_pieces(id)? {
            let chunk = match self.chunk_at(place) {
                // Another pack may have the same piece.
                Err(error) if error.is_damage() => continue,
                chunk => chunk?,
            };
            pieces.add(id, chunk.as_slice());
        }
        pieces.finish(id).ok_or(StoreError::NoDirectory { id })
    }

    /// Finds the chunks of a directory by their ids: of one that is kept, or whose
    /// pack is about to go.
    fn look_up(&self, directory: Id) -> Result<Moved> {
        let goes = self.catalog.pack_by_directory(directory)?;
        let ids = match (self.kept_directory(directory), goes) {
            (Err(error), Some(row)) if error.is_damage() => {
                self.pack(row.id)?.directory().ids.clone()
            }
            (kept, _) => kept?.ids,
        };
        let mut moved =
            Moved { directory, packs: Vec::new(), places: Vec::with_capacity(ids.len()) };
        let mut numbers: HashMap<Id, u32> = HashMap::new();
        let mut last: Option<Place> = None;
        for id in ids {
            let place = match self.next_to(last, id)? {
                Some(next) => Some(next),
                // Whether it can be decoded isn't asked: that may depend on this.
                None => self.listed_chunk(id)?,
            };
            last = place.or(last);
            moved.places.push(place.map_or((NOWHERE, 0), |place| {
                let next = u32::try_from(moved.packs.len()).unwrap_or(NOWHERE);
                let number = *numbers.entry(place.pack).or_insert_with(|| {
                    moved.packs.push(place.pack);
                    next
                });
                (number, place.position)
            }));
        }
        Ok(moved)
    }

    /// The place after another, if this chunk is there.
    pub(super) fn next_to(&self, last: Option<Place>, id: Id) -> Result<Option<Place>> {
        let Some(last) = last.filter(|last| !self.doomed.contains(&last.pack)) else {
            return Ok(None);
        };
        let next = Place { position: last.position + 1, ..last };
        let pack = self.pack(next.pack)?;
        Ok((pack.directory().ids.get(in_memory(next.position)) == Some(&id)).then_some(next))
    }
}
