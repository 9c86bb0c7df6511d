//! What garbage collection is going to do, before it does anything.
//!
//! A pack without a needed chunk goes. Of the others those are packed again that
//! waste most, until what is wasted is within bounds; and small ones, if there are
//! many. A frame that stands on chunks which nothing else needs is compressed anew
//! where that takes less than to keep them. It reads tables of packs and headers of
//! frames, and no content.

use std::collections::HashSet;

use super::deltas::Deltas;
use super::marks::{ELSEWHERE, LIVE, Marks};
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::format::PackKind;
use crate::pack::reader::PackReader;
use crate::pack::tables::FrameEntry;
use crate::store::decoder::FrameKey;
use crate::store::homes::Home;
use crate::store::{Result, Store};
use crate::varint::in_memory;

/// A pack of content with less than this is small.
const SMALL_DATA: u64 = 8 << 20;
/// And one of metadata.
const SMALL_METADATA: u64 = 1 << 20;
/// So many small packs of a kind are made one.
const SMALL_MANY: usize = 8;

/// A pack, and what of it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) id: Id,
    pub(super) kind: PackKind,
    pub(super) directory: Id,
    /// Bytes.
    pub(super) size: u64,
    /// Bytes of it that nothing needs.
    pub(super) waste: u64,
    pub(super) needed: bool,
}

/// What is going to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All packs, oldest first.
    pub(super) packs: Vec<Judged>,
    /// Packs that go as they are.
    pub(super) dead: Vec<Id>,
    /// Packs whose needed chunks are written again, oldest first.
    pub(super) again: Vec<Id>,
    /// Frames that are to stand on nothing any more.
    pub(super) rebased: HashSet<FrameKey>,
    /// Directories that something goes on naming though their pack goes.
    pub(super) outliving: Vec<Id>,
    /// Bytes that stay and that nothing needs.
    pub(super) waste: u64,
}

/// How far to go.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    /// Hundredths of a percent of the store that may be wasted.
    pub(super) waste: u64,
    /// Whether packs are written again at all.
    pub(super) again: bool,
    /// Packs that have to go.
    pub(super) must: HashSet<Id>,
}

/// Looks at everything, and decides.
pub(super) fn plan(store: &Store, marks: &mut Marks, bounds: &Bounds) -> Result<Plan> {
    let mut plan = Plan::default();
    let deltas = Deltas::collect(store, marks)?;
    mark_kept(store, marks, &deltas)?;
    let mut again = HashSet::new();
    if bounds.again {
        plan.rebased = deltas.worth_rebasing(store, marks)?;
        deltas.support(store, marks, &plan.rebased)?;
        plan.judge(store, marks)?;
        again = plan.choose(bounds);
        // That pays only where the chunks below it go.
        plan.rebased.retain(|frame| deltas.stands_on_dead(*frame, marks, &again));
        again.extend(plan.rebased.iter().map(|frame| frame.pack));
        deltas.support(store, marks, &plan.rebased)?;
    }
    plan.judge(store, marks)?;
    plan.settle(&again);
    plan.find_elsewhere(store, marks)?;
    // What was found stands on others, perhaps.
    let deltas = Deltas::collect(store, marks)?;
    deltas.support(store, marks, &plan.rebased)?;
    plan.find_outliving(store, marks, &deltas)?;
    Ok(plan)
}

impl Plan {
    /// Bytes of the packs that are written again.
    pub(super) fn again_bytes(&self) -> u64 {
        self.bytes_of(&self.again)
    }

    /// Bytes of some of the packs.
    pub(super) fn bytes_of(&self, packs: &[Id]) -> u64 {
        self.sum(packs, |pack| pack.size)
    }

    /// Bytes of some of the packs that nothing needs.
    pub(super) fn waste_of(&self, packs: &[Id]) -> u64 {
        self.sum(packs, |pack| pack.waste)
    }

    fn sum(&self, packs: &[Id], bytes: impl Fn(&Judged) -> u64) -> u64 {
        let packs: HashSet<&Id> = packs.iter().collect();
        self.packs.iter().filter(|pack| packs.contains(&pack.id)).map(bytes).sum()
    }

    /// Says of each pack how much of it is needed.
    fn judge(&mut self, store: &Store, marks: &Marks) -> Result<()> {
        self.packs.clear();
        for row in store.catalog.packs()? {
            let pack = store.pack(row.id)?;
            let mut waste = 0;
            for (number, entry) in pack.frames().iter().enumerate() {
                // What that becomes was counted when it was chosen.
                if !self.rebased.contains(&FrameKey { pack: row.id, number }) {
                    waste += wasted(&pack, row.id, entry, marks);
                }
            }
            self.packs.push(Judged {
                id: row.id,
                kind: pack.kind(),
                directory: row.directory,
                size: pack.size(),
                waste,
                needed: marks.any(row.id),
            });
        }
        Ok(())
    }

    /// Chooses packs that are written again.
    fn choose(&self, bounds: &Bounds) -> HashSet<Id> {
        let needed = || self.packs.iter().filter(|pack| pack.needed);
        let mut size: u64 = needed().map(|pack| pack.size).sum();
        let mut waste: u64 = needed().map(|pack| pack.waste).sum();
        let mut again = bounds.must.clone();
        let mut worst: Vec<&Judged> = needed().filter(|pack| pack.waste > 0).collect();
        worst.sort_by_key(|pack| (std::cmp::Reverse(pack.waste * 1000 / pack.size), pack.id));
        for pack in worst {
            if waste * 10_000 <= size * bounds.waste {
                break;
            }
            again.insert(pack.id);
            waste -= pack.waste;
            size -= pack.waste;
        }
        for (kind, limit) in [(PackKind::Data, SMALL_DATA), (PackKind::Metadata, SMALL_METADATA)] {
            let of_kind = needed().filter(|pack| pack.kind == kind);
            let small = of_kind.map(|pack| (pack.size - pack.waste, pack.id));
            again.extend(to_merge(small.filter(|(size, _)| *size < limit).collect()));
        }
        again
    }

    /// Sets what is written again, and what goes.
    fn settle(&mut self, again: &HashSet<Id>) {
        for pack in &self.packs {
            if !pack.needed {
                self.dead.push(pack.id);
            } else if again.contains(&pack.id) {
                self.again.push(pack.id);
            } else {
                self.waste += pack.waste;
            }
        }
    }

    /// Finds chunks that needn't be written again since another pack has them: from
    /// a collection that didn't end, or of two saves at once.
    fn find_elsewhere(&mut self, store: &Store, marks: &mut Marks) -> Result<()> {
        let again: HashSet<Id> = self.again.iter().copied().collect();
        for id in &self.again {
            let pack = store.pack(*id)?;
            for (position, chunk) in (0..).zip(&pack.directory().ids) {
                let here = Place { pack: *id, position };
                if !marks.is_needed(here) {
                    continue;
                }
                let Some(there) = store.other_place(*chunk, &again)? else { continue };
                // What stands on it must be able to stand on the other.
                if store.depth_of(there)? <= store.depth_of(here)? {
                    marks.mark(store, there, 1, LIVE)?;
                    marks.mark(store, here, 1, ELSEWHERE)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the directories that have to be kept without their packs.
    fn find_outliving(&mut self, store: &Store, marks: &mut Marks, deltas: &Deltas) -> Result<()> {
        let goes: HashSet<Id> = self.dead.iter().chain(&self.again).copied().collect();
        let directories = |gone: bool| {
            let packs = self.packs.iter().filter(|pack| goes.contains(&pack.id) == gone);
            packs.map(|pack| pack.directory).collect::<HashSet<Id>>()
        };
        let (stay, gone) = (directories(false), directories(true));
        let mut named = marks.named.clone();
        deltas.add_named(store, marks, &self.rebased, &mut named)?;
        for directory in named {
            let home = stay.contains(&directory).then(|| store.home(directory)).transpose()?;
            // Chunks of what stays may be deeper than those that go.
            if matches!(home, Some(Home::Pack(pack)) if !goes.contains(&pack)) {
                continue;
            }
            let pieces = store.kept_pieces(directory)?;
            for place in &pieces {
                marks.mark(store, *place, 1, LIVE)?;
            }
            // A collection that didn't end may have kept a part of it.
            if gone.contains(&directory) && !store.is_kept(directory, &pieces)? {
                self.outliving.push(directory);
            }
        }
        self.outliving.sort_unstable();
        // A pack with pieces of these isn't dead, nor one with what was found there.
        self.dead.retain(|id| !marks.any(*id));
        Ok(())
    }
}

/// Marks the pieces of directories that something names and whose packs are gone.
fn mark_kept(store: &Store, marks: &mut Marks, deltas: &Deltas) -> Result<()> {
    let mut named = marks.named.clone();
    deltas.add_named(store, marks, &HashSet::new(), &mut named)?;
    for directory in named {
        for place in store.kept_pieces(directory)? {
            marks.mark(store, place, 1, LIVE)?;
        }
    }
    Ok(())
}

/// Which of small packs are made one: the smallest, if they are many, up to one that
/// is no larger than those before it together. So each merge doubles at least the size
/// of what it takes in, and nothing is written again more than a few times, however
/// often one is made.
fn to_merge(mut small: Vec<(u64, Id)>) -> impl Iterator<Item = Id> {
    small.sort_unstable();
    let (mut before, mut count) = (0, 0);
    for (number, (size, _)) in (1..).zip(&small) {
        if *size <= before {
            count = number;
        }
        before += size;
    }
    small.truncate(if count < SMALL_MANY { 0 } else { count });
    small.into_iter().map(|(_, id)| id)
}

/// The stored bytes of a frame that nothing needs.
fn wasted(pack: &PackReader, id: Id, entry: &FrameEntry, marks: &Marks) -> u64 {
    let stored = u64::from(entry.stored_len) + u64::from(entry.header_len);
    let needed = needed_raw(pack, id, entry, marks);
    stored - stored * needed / u64::from(entry.raw_len.max(1))
}

/// The bytes of a frame's chunks that are needed.
pub(super) fn needed_raw(pack: &PackReader, id: Id, entry: &FrameEntry, marks: &Marks) -> u64 {
    let positions = entry.first..entry.first + entry.count;
    let needed =
        positions.filter(|position| marks.is_needed(Place { pack: id, position: *position }));
    needed.map(|position| u64::from(pack.directory().lengths[in_memory(position)])).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id::of(&number.to_le_bytes())
    }

    /// How many packs of these sizes are merged; the smallest, whatever the order.
    fn merged(sizes: &[u64]) -> usize {
        let small = sizes.iter().zip(0..).map(|(size, number)| (*size, id(number)));
        let mut merged: Vec<Id> = to_merge(small.clone().collect()).collect();
        let mut by_size: Vec<(u64, Id)> = small.collect();
        by_size.sort_unstable();
        let smallest = by_size.into_iter().take(merged.len()).map(|(_, id)| id);
        let mut smallest: Vec<Id> = smallest.collect();
        merged.sort_unstable();
        smallest.sort_unstable();
        assert_eq!(merged, smallest, "{sizes:?}");
        merged.len()
    }

    #[test]
    fn many_small_packs_are_merged_and_larger_ones_left_alone() {
        assert_eq!(merged(&[]), 0);
        assert_eq!(merged(&[20; 7]), 0);
        assert_eq!(merged(&[20; 8]), 8);
        assert_eq!(merged(&[3000, 20, 20, 20, 20, 20, 20, 20]), 0);
        assert_eq!(merged(&[3000, 20, 20, 20, 20, 20, 20, 20, 20]), 8);
        assert_eq!(merged(&[140, 20, 20, 20, 20, 20, 20, 20, 3000]), 8);
        assert_eq!(merged(&[1, 2, 4, 8, 16, 32, 64, 128]), 0);
        assert_eq!(merged(&[1, 1, 2, 4, 8, 16, 32, 64]), 8);
    }

    #[test]
    fn what_comes_in_bit_by_bit_is_written_a_few_times_only() {
        let (mut packs, mut written, mut most) = (Vec::new(), 0, 0);
        for _ in 0..1000 {
            packs.extend([20; 7]);
            most = packs.len().max(most);
            let merged = merged(&packs);
            packs.sort_unstable();
            let one: u64 = packs.drain(..merged).sum();
            written += one;
            packs.extend((one > 0).then_some(one));
        }
        let all: u64 = packs.iter().sum();
        assert_eq!(all, 140_000);
        assert!(written < 8 * all, "{written}");
        assert!(most < 24, "{most}");
    }
}
