//! The needed frames that stand on others, and whether they should go on doing so.
//!
//! To keep a frame against a base that nothing else needs costs that base, or the
//! frame's part of it where several stand on it. Where that is more than the frame
//! would take by itself, it is better compressed anew.

use std::collections::{BTreeMap, HashSet};

use super::marks::{LIVE, Marks, SUPPORT};
use super::plan::needed_raw;
use crate::catalog::Place;
use crate::digest::Id;
use crate::pack::format::DEPTH_MAX;
use crate::store::decoder::FrameKey;
use crate::store::homes::Home;
use crate::store::{Result, Store};

/// What content takes by itself, in hundredths of its length, where no base tells.
const PLAIN_PERCENT: u64 = 35;

/// How much a frame with what it stands on must take, in percent of what it would take
/// by itself, to be compressed anew: what it becomes is a guess.
const WORTH_PERCENT: u64 = 110;

/// What a frame stands on.
#[derive(Debug)]
struct Delta {
    depth: u8,
    /// Neighbouring chunks.
    bases: Vec<(Place, u32)>,
    /// By which directories it names them.
    directories: HashSet<Id>,
}

/// Frames that stand on others.
#[derive(Debug, Default)]
pub(super) struct Deltas(BTreeMap<FrameKey, Delta>);

impl Deltas {
    /// Finds all that are needed, and marks what they stand on as support.
    pub(super) fn collect(store: &Store, marks: &mut Marks) -> Result<Self> {
        let mut deltas = Self::default();
        for depth in (1..=DEPTH_MAX).rev() {
            for row in store.catalog.packs()? {
                if !marks.any(row.id) {
                    continue;
                }
                let pack = store.pack(row.id)?;
                for (number, entry) in pack.frames().iter().enumerate() {
                    if entry.depth == depth && marks.any_of(row.id, entry.first, entry.count) {
                        let key = FrameKey { pack: row.id, number };
                        let delta = Delta::read(store, key, row.directory)?;
                        for (place, count) in &delta.bases {
                            marks.use_chunks(store, *place, *count)?;
                            marks.mark(store, *place, *count, SUPPORT)?;
                        }
                        deltas.0.insert(key, delta);
                    }
                }
            }
        }
        Ok(deltas)
    }

    /// Marks as support what is stood on by needed frames alone, other than these.
    pub(super) fn support(
        &self,
        store: &Store,
        marks: &mut Marks,
        rebased: &HashSet<FrameKey>,
    ) -> Result<()> {
        marks.clear(SUPPORT);
        for depth in (1..=DEPTH_MAX).rev() {
            for (key, delta) in self.0.iter().filter(|(_, delta)| delta.depth == depth) {
                let entry = store.pack(key.pack)?.frames()[key.number];
                if rebased.contains(key) || !marks.any_of(key.pack, entry.first, entry.count) {
                    continue;
                }
                for (place, count) in &delta.bases {
                    marks.mark(store, *place, *count, SUPPORT)?;
                }
            }
        }
        Ok(())
    }

    /// The frames that take less by themselves than with what only they need.
    pub(super) fn worth_rebasing(&self, store: &Store, marks: &Marks) -> Result<HashSet<FrameKey>> {
        let mut worth = HashSet::new();
        for (key, delta) in &self.0 {
            let pack = store.pack(key.pack)?;
            let entry = pack.frames()[key.number];
            let needed = needed_raw(&pack, key.pack, &entry, marks);
            let stored = u64::from(entry.stored_len) * needed / u64::from(entry.raw_len.max(1));
            let (mut dead, mut base_raw, mut base_stored) = (0, 0, 0);
            for (first, count) in &delta.bases {
                for position in first.position..first.position.saturating_add(*count) {
                    let place = Place { position, ..*first };
                    let share = store.stored_share(place, 1)?;
                    if marks.of(place) & LIVE == 0 {
                        dead += share / u64::from(marks.users(place).max(1));
                    }
                    if store.depth_of(place)? == 0 {
                        base_stored += share;
                        base_raw += store.chunk_length(place)? as u64;
                    }
                }
            }
            let plain = match base_raw {
                0 => needed * PLAIN_PERCENT / 100,
                raw => needed * base_stored / raw,
            };
            if dead > 0 && (stored + dead) * 100 >= plain * WORTH_PERCENT {
                worth.insert(*key);
            }
        }
        Ok(worth)
    }

    /// Whether all chunks below a frame that aren't live are in packs that go.
    pub(super) fn stands_on_dead(
        &self,
        frame: FrameKey,
        marks: &Marks,
        goes: &HashSet<Id>,
    ) -> bool {
        let Some(delta) = self.0.get(&frame) else { return false };
        delta.bases.iter().all(|(first, count)| {
            goes.contains(&first.pack)
                || !marks.any(first.pack)
                || (first.position..first.position.saturating_add(*count))
                    .all(|position| marks.of(Place { position, ..*first }) & LIVE != 0)
        })
    }

    /// Adds the directories by which needed frames other than these name others.
    pub(super) fn add_named(
        &self,
        store: &Store,
        marks: &Marks,
        rebased: &HashSet<FrameKey>,
        named: &mut HashSet<Id>,
    ) -> Result<()> {
        for (key, delta) in &self.0 {
            let entry = store.pack(key.pack)?.frames()[key.number];
            if !rebased.contains(key) && marks.any_of(key.pack, entry.first, entry.count) {
                named.extend(&delta.directories);
            }
        }
        Ok(())
    }
}

impl Delta {
    fn read(store: &Store, key: FrameKey, own: Id) -> Result<Self> {
        let pack = store.pack(key.pack)?;
        let header = pack.frame_header(key.number)?;
        let mut delta =
            Self { depth: header.depth, bases: Vec::new(), directories: HashSet::new() };
        for run in header.bases {
            let home = run.directory.map_or(Ok(Home::Pack(key.pack)), |id| store.home(id))?;
            delta.directories.insert(run.directory.unwrap_or(own));
            home.runs(run.first, run.count, |place, count| {
                delta.bases.push((place, count));
                Ok(())
            })?;
        }
        Ok(delta)
    }
}
