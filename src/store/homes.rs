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
use crate::catalog::{PackRow, Place};
use crate::digest::Id;
use crate::pack::directories::Pieces;
use crate::pack::format::DEPTH_MAX;
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
    /// Whether the directory is kept where it stays.
    stays: bool,
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
    /// Whether the directory itself isn't about to go.
    pub(super) fn stays(&self) -> bool {
        match self {
            Self::Pack(_) => true,
            Self::Moved(moved) => moved.stays,
        }
    }

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

impl Moved {
    fn new(directory: Id, stays: bool, chunks: &[Option<Place>]) -> Self {
        let mut packs = Vec::new();
        let mut numbers: HashMap<Id, u32> = HashMap::new();
        let place = |place: &Option<Place>| {
            place.map_or((NOWHERE, 0), |place| {
                let next = u32::try_from(packs.len()).unwrap_or(NOWHERE);
                let number = *numbers.entry(place.pack).or_insert_with(|| {
                    packs.push(place.pack);
                    next
                });
                (number, place.position)
            })
        };
        let places = chunks.iter().map(place).collect();
        Self { directory, stays, packs, places }
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
    /// What threads need to know of directories: all whose chunks are in a pack that
    /// stays.
    pub(super) fn homes(&self) -> Result<Arc<Homes>> {
        if let Some(known) = &*self.homes.borrow() {
            return Ok(Arc::clone(known));
        }
        // Where a directory was kept, its chunks were moved: a pack that has it again, of
        // a process that began before, may have lost what its frames stood on.
        let kept = self.catalog.kept_directories()?;
        let mut rows = self.catalog.packs()?;
        rows.retain(|row| !kept.contains(&row.directory));
        let mut several: HashMap<Id, Vec<PackRow>> = HashMap::new();
        let mut packs = HashMap::with_capacity(rows.len());
        for row in rows {
            if let Some(before) = packs.insert(row.directory, row) {
                several.entry(row.directory).or_insert_with(|| vec![before]).push(row);
            }
        }
        packs.retain(|directory, row| {
            !self.doomed.contains(&row.id) && !several.contains_key(directory)
        });
        let mut packs: HashMap<Id, Id> =
            packs.into_iter().map(|(directory, row)| (directory, row.id)).collect();
        for (directory, rows) in several {
            packs.extend(self.one_home(rows)?.map(|pack| (directory, pack)));
        }
        let homes = Arc::new(Homes::new(packs));
        self.homes.replace(Some(Arc::clone(&homes)));
        Ok(homes)
    }

    /// The pack that stays, of those with one directory: of several, one that a record
    /// names, and the newest. There is none where a chunk is less deep in another of
    /// them: frames may count on that.
    fn one_home(&self, mut rows: Vec<PackRow>) -> Result<Option<Id>> {
        rows.sort_by_key(|row| row.recorded);
        let stays = |row: &&PackRow| !self.doomed.contains(&row.id);
        let Some(home) = rows.iter().rev().find(stays).map(|row| row.id) else { return Ok(None) };
        for other in rows.iter().filter(|row| row.id != home) {
            let (ours, theirs) = match (self.depths(home), self.depths(other.id)) {
                (Err(error), _) | (_, Err(error)) if error.is_damage() => continue,
                (ours, theirs) => (ours?, theirs?),
            };
            if ours.iter().zip(&theirs).any(|(ours, theirs)| ours > theirs) {
                return Ok(None);
            }
        }
        Ok(Some(home))
    }

    /// The depth of each chunk of a pack.
    fn depths(&self, pack: Id) -> Result<Vec<u8>> {
        let pack = self.pack(pack)?;
        let frames = pack.frames().iter();
        Ok(frames.flat_map(|it| (0..it.count).map(|_| it.depth)).collect())
    }

    /// Where the chunks of a directory are; from then on threads know it as well.
    pub(super) fn home(&self, directory: Id) -> Result<Home> {
        let homes = self.homes()?;
        match homes.home(directory) {
            Err(StoreError::NoDirectory { .. }) => {}
            home => return home,
        }
        self.look_up(directory, &homes).map(Home::Moved)
    }

    /// Where the pieces of a kept directory are that stay; where these aren't all of it,
    /// those as well that are about to go.
    pub(super) fn kept_pieces(&self, directory: Id) -> Result<Vec<Place>> {
        let all = self.catalog.directory_pieces(directory)?;
        let mut stay = all.clone();
        stay.retain(|place| !self.doomed.contains(&place.pack));
        if stay.len() < all.len() && !self.is_kept(directory, &stay)? {
            return Ok(all);
        }
        Ok(stay)
    }

    /// Whether these pieces are all of a directory.
    pub(super) fn is_kept(&self, directory: Id, pieces: &[Place]) -> Result<bool> {
        match self.kept_directory(directory, pieces) {
            Err(error) if error.is_damage() => Ok(false),
            kept => kept.map(|_| true),
        }
    }

    /// The directory with this id, whose pack is gone, from these pieces.
    fn kept_directory(&self, id: Id, kept: &[Place]) -> Result<Directory> {
        let mut pieces = Pieces::default();
        for place in kept.iter().copied() {
            let chunk = match self.chunk_at(place) {
                // Another pack may have the same piece.
                Err(error) if error.is_damage() => continue,
                chunk => chunk?,
            };
            pieces.add(id, chunk.as_slice());
        }
        pieces.finish(id).ok_or(StoreError::NoDirectory { id })
    }

    /// The chunks of a directory that is kept, or whose pack is about to go, and whether
    /// it is kept where it stays.
    fn moved_ids(&self, directory: Id) -> Result<(Vec<Id>, bool)> {
        let pieces = self.kept_pieces(directory)?;
        match self.kept_directory(directory, &pieces) {
            Err(error) if error.is_damage() => {
                let mut packs = self.catalog.packs()?;
                packs.retain(|row| row.directory == directory);
                // What is doomed may be needed after all.
                let stays = |row: &&PackRow| !self.doomed.contains(&row.id);
                let pack = packs.iter().find(stays).or(packs.first()).ok_or(error)?;
                Ok((self.pack(pack.id)?.directory().ids.clone(), stays(&pack)))
            }
            kept => {
                let stays = pieces.iter().all(|place| !self.doomed.contains(&place.pack));
                Ok((kept?.ids, stays))
            }
        }
    }

    /// Finds the chunks of a directory by their ids. Of several with an id, the one that
    /// is least deep: what stands on it was made when it wasn't deeper; and of those that
    /// are as deep, one that can be decoded.
    fn look_up(&self, directory: Id, homes: &Homes) -> Result<Arc<Moved>> {
        let (ids, stays) = self.moved_ids(directory)?;
        let mut places = Vec::with_capacity(ids.len());
        let mut several = Vec::new();
        let mut last: Option<Place> = None;
        for (at, id) in ids.into_iter().enumerate() {
            let place = if let Some(next) = self.next_to(last, id)? {
                Some(next)
            } else {
                let copies = self.copies(id)?;
                let first = copies.first().copied();
                if copies.len() > 1 && first.is_some_and(|(depth, _)| depth > 0) {
                    several.push((at, copies));
                }
                first.map(|(_, place)| place)
            };
            last = place.or(last);
            places.push(place);
        }
        let note = |places: &[Option<Place>]| {
            let moved = Arc::new(Moved::new(directory, stays, places));
            homes.moved().insert(directory, Arc::clone(&moved));
            moved
        };
        let mut moved = note(&places);
        // Whether one can be decoded may depend on this very directory, but only on
        // chunks that are less deep.
        for depth in 1..=DEPTH_MAX {
            let of_depth = several.iter().filter(|(_, copies)| copies[0].0 == depth);
            let mut better = false;
            for (at, copies) in of_depth {
                for (number, (_, place)) in copies.iter().enumerate() {
                    if self.stands(*place, DEPTH_MAX + 1)? {
                        places[*at] = Some(*place);
                        better |= number > 0;
                        break;
                    }
                }
            }
            if better {
                moved = note(&places);
                self.sound.borrow_mut().retain(|_, sound| *sound);
            }
        }
        Ok(moved)
    }

    /// The place after another, if this chunk is there and stands on nothing.
    fn next_to(&self, last: Option<Place>, id: Id) -> Result<Option<Place>> {
        let Some(last) = last.filter(|last| !self.doomed.contains(&last.pack)) else {
            return Ok(None);
        };
        let next = Place { position: last.position + 1, ..last };
        let pack = self.pack(next.pack)?;
        let is_it = pack.directory().ids.get(in_memory(next.position)) == Some(&id);
        Ok((is_it && self.depth_of(next)? == 0).then_some(next))
    }
}
