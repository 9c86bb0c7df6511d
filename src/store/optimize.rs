//! Packs anew, compressed as hard as they can be, one after the other.
//!
//! A new pack has the directory of the old one, so recipes and frames that name it
//! go on to, whichever of the two they find. No chunk becomes deeper than it was:
//! another process may at any time be about to store what stands on it. A pack that
//! was dealt with says so in its header, so that a run goes on where the one before
//! ended, however that was. Old packs go as those do that garbage collection removes
//! (`generation`), but for that nothing can be lost with them: whatever needs one
//! finds another with the same directory. Deliberately doesn't know how long it may
//! take.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::decoder::FrameKey;
use super::generation::{self, Generation};
use super::record::{Action, Repack};
use super::workspace::Workspace;
use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::digest::Id;
use crate::fs;
use crate::pack::format::PackFeatures;
use crate::pack::reader::PackReader;
use crate::pack::rewrite::{rewrite, worker_memory};
use crate::pack::writer::PackWriter;
use crate::progress::Progress;
use crate::time::Time;
use crate::varint::in_memory;

/// The most memory, in bytes, that the store needs beside the workers: frames that
/// others stand on, tables of packs and the catalog.
const STORE_MEMORY: u64 = 256 << 20;

/// The least memory, in bytes, with which packs can be optimized.
pub fn memory_min() -> u64 {
    STORE_MEMORY + worker_memory()
}

/// How many workers there are where so many bytes of memory may be used.
fn workers(memory: u64, processors: usize) -> usize {
    let fit = memory.saturating_sub(STORE_MEMORY) / worker_memory();
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, processors.max(1))
}

/// A pack that wasn't optimized yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The pack.
    pub id: Id,
    /// Bytes.
    pub size: u64,
    /// Bytes of the chunks in it.
    pub raw: u64,
}

/// What packs there are to optimize.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Those that can be read, in the order in which records name them: none stands on
    /// a later one, and of recipes of a path the newest comes last.
    pub packs: Vec<Candidate>,
    /// Those that can't, and why.
    pub damaged: Vec<(Id, StoreError)>,
}

/// A pack that was optimized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Optimized {
    /// The new pack.
    pub id: Id,
    /// Its bytes.
    pub size: u64,
}

/// Optimizes packs of a store.
#[derive(Debug)]
pub struct Optimizer<'s> {
    store: &'s mut Store,
    workspace: Workspace,
    workers: usize,
    files: u64,
    /// Packs that have been replaced and are there still, and what by.
    replaced: Vec<(Id, Id)>,
}

/// What of the packs that were replaced is there no more, and what is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Bytes of those that were removed.
    pub removed: u64,
    /// Count of those that stay, since processes that run may need them.
    pub stay: u64,
}

impl Store {
    /// Starts to optimize, in at most so many bytes of memory, or in the least that
    /// is needed.
    pub fn begin_optimizing(&mut self, memory: u64) -> Result<Optimizer<'_>> {
        let workspace = self.begin_to_write()?;
        let processors = self.threads();
        let workers = workers(memory, processors);
        Ok(Optimizer { store: self, workspace, workers, files: 0, replaced: Vec::new() })
    }
}

impl Optimizer<'_> {
    /// The packs that weren't optimized yet and that records name. Finds out as well
    /// which of the others were replaced by runs before.
    pub fn candidates(&mut self) -> Result<Candidates> {
        let mut found = Candidates::default();
        let (mut others, mut done) = (Vec::new(), HashMap::new());
        for row in self.store.catalog.packs()? {
            if !row.recorded {
                continue;
            }
            let pack = match self.store.pack(row.id) {
                Err(error) if error.is_damage() => {
                    found.damaged.push((row.id, error));
                    continue;
                }
                pack => pack?,
            };
            let doomed = self.workspace.generation.doomed.contains_key(&row.id);
            if !pack.is_optimized() {
                let lengths = &pack.directory().lengths;
                let raw = lengths.iter().map(|length| u64::from(*length)).sum();
                let candidate = Candidate { id: row.id, size: pack.size(), raw };
                others.push((candidate, row.directory, doomed));
            } else if !doomed {
                done.insert(row.directory, row.id);
            }
        }
        for (candidate, directory, doomed) in others {
            match done.get(&directory) {
                Some(new) if self.replaces(*new, candidate.id)? => {
                    self.replaced.push((candidate.id, *new));
                }
                None if !doomed && self.stands(candidate.id)? => found.packs.push(candidate),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether all frames of a pack have what they stand on: of one that nothing needs it
    /// may have been collected, and then the pack can only be collected as well.
    fn stands(&self, id: Id) -> Result<bool> {
        for entry in self.store.pack(id)?.frames() {
            if !self.store.is_sound(Place { pack: id, position: entry.first })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether what can be decoded of a pack can be in another one with its directory: of
    /// one that a run left which was killed, what it stood on may have been collected.
    fn replaces(&self, new: Id, old: Id) -> Result<bool> {
        for entry in self.store.pack(old)?.frames() {
            let sound = |pack| self.store.is_sound(Place { pack, position: entry.first });
            if sound(old)? && !sound(new)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a pack in its place that has the same chunks in the same order and as few
    /// bytes as can be. The old one stays where it is.
    pub fn rewrite(&mut self, id: Id, progress: &dyn Progress) -> Result<Optimized> {
        let pack = self.store.pack(id)?;
        if let Some(done) = self.rewritten_before(pack.directory_id())? {
            progress.advance(pack.directory().lengths.iter().map(|it| u64::from(*it)).sum());
            return Ok(done);
        }
        let path = self.next_file();
        let file = self.store.fs.create(&path)?;
        let generation = self.workspace.generation.apart();
        let features = PackFeatures { optimized: true, generation };
        let writer = PackWriter::create_with(file, pack.kind(), features)?;
        let store = &*self.store;
        let frames = (0..pack.frames().len()).map(|number| {
            let resolve = |directory| store.home(directory);
            let frame = store.decoder.stored_frame(FrameKey { pack: id, number }, &resolve)?;
            let entry = pack.frames()[number];
            let first = in_memory(entry.first);
            let ids = pack.directory().ids[first..first + in_memory(entry.count)].to_vec();
            Ok::<_, StoreError>((frame, ids))
        });
        let new = rewrite(frames, writer, self.workers, &|bytes| progress.advance(bytes))?;
        if new.directory_id != pack.directory_id() {
            return Err(StoreError::Inconsistent("a pack whose directory changed"));
        }
        fs::publish(&*store.fs, &path, &store.layout.pack(new.id))?;
        store.index(new.id)?;
        Ok(Optimized { id: new.id, size: new.size })
    }

    /// Writes the record that names new packs, the second of each pair, and lets go of
    /// those that they replace. These are there until they are removed.
    pub fn replace(&mut self, replaced: &[(Id, Id)], program: &str, now: Time) -> Result<()> {
        if replaced.is_empty() {
            return Ok(());
        }
        self.replaced.extend(replaced);
        let (dropped, packs) = replaced.iter().copied().unzip();
        let action = Action::Repack(Repack { packs, dropped, optimized: true });
        self.store.write_record_in(&self.workspace, action, program, (now, false)).map(drop)
    }

    /// Removes packs that were replaced, but for those that processes may need which
    /// began before; all of them stay while garbage is collected.
    pub fn remove_replaced(&mut self) -> Result<Gone> {
        if self.replaced.is_empty() {
            return Ok(Gone::default());
        }
        let (fs, layout) = (&*self.store.fs, &self.store.layout);
        let Some(_lock) = generation::lock(fs, layout)? else {
            return Ok(Gone { removed: 0, stay: self.replaced.len() as u64 });
        };
        let mut open = Generation::current(fs, layout)?;
        // Garbage collection may have put others in the place of a new one.
        let doomed = |id: &Id| open.doomed.contains_key(id);
        let to_go: Vec<Id> =
            self.replaced.iter().filter(|(_, new)| !doomed(new)).map(|(old, _)| *old).collect();
        open.number += 1;
        for id in &to_go {
            open.doomed.entry(*id).or_insert(open.number);
        }
        open.open(fs, layout, self.workspace.path())?;
        let older = generation::older(fs, layout, open.number, &self.workspace)?;
        let oldest = older.iter().map(|owner| owner.generation).min().unwrap_or(u64::MAX);
        let goes: HashSet<Id> = to_go.into_iter().filter(|id| open.doomed[id] <= oldest).collect();
        let removed = self.store.remove_packs(&goes)?;
        self.replaced.retain(|(old, _)| !goes.contains(old));
        open.number += 1;
        open.doomed.retain(|id, _| !goes.contains(id));
        open.open(&*self.store.fs, &self.store.layout, self.workspace.path())?;
        Ok(Gone { removed, stay: self.replaced.len() as u64 })
    }

    /// Ends it: gives back what the catalog needs no more.
    pub fn finish(self) {
        self.store.shrink_catalog();
    }

    /// An optimized pack with this directory that a run left which ended before a
    /// record named it.
    fn rewritten_before(&self, directory: Id) -> Result<Option<Optimized>> {
        for row in self.store.catalog.packs()? {
            if row.directory != directory {
                continue;
            }
            match self.store.pack(row.id) {
                Ok(pack) if pack.is_optimized() && self.is_whole(row.id, &pack)? => {
                    return Ok(Some(Optimized { id: row.id, size: pack.size() }));
                }
                Err(error) if !error.is_damage() => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether every frame of a pack can be decoded: nothing may depend on it before.
    fn is_whole(&self, id: Id, pack: &PackReader) -> Result<bool> {
        let resolve = |directory| self.store.home(directory);
        for number in 0..pack.frames().len() {
            match self.store.decoder.stored_frame(FrameKey { pack: id, number }, &resolve) {
                Err(error) if error.is_damage() => return Ok(false),
                frame => drop(frame?),
            }
        }
        Ok(true)
    }

    fn next_file(&mut self) -> PathBuf {
        self.files += 1;
        self.workspace.path().join(format!("{}.pack", self.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_fit_into_memory() {
        let mib = |count: u64| count << 20;
        assert_eq!((STORE_MEMORY, worker_memory()), (mib(256), mib(192)));
        assert_eq!(memory_min(), mib(448));
        assert_eq!(workers(0, 8), 1);
        assert_eq!(workers(memory_min(), 8), 1);
        assert_eq!(workers(mib(256 + 2 * 192) - 1, 8), 1);
        assert_eq!(workers(mib(256 + 2 * 192), 8), 2);
        assert_eq!(workers(mib(1024), 8), 4);
        assert_eq!(workers(mib(1024), 2), 2);
        assert_eq!(workers(u64::MAX, 64), 64);
        assert_eq!(workers(u64::MAX, 0), 1);
    }
}
