//! Packs anew, compressed as hard as they can be, one after the other.
//!
//! A new pack has the directory of the old one, so recipes and frames that name it
//! go on to, whichever of the two they find. No chunk becomes deeper than it was:
//! another process may at any time be about to store what stands on it. A pack that
//! was dealt with says so in its header, so that a run goes on where the one before
//! ended, however that was. Deliberately doesn't know how long it may take.

use std::collections::HashSet;
use std::path::PathBuf;

use super::decoder::FrameKey;
use super::record::{Action, Repack};
use super::workspace::Workspace;
use super::{Result, Store, StoreError};
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
}

impl Store {
    /// Starts to optimize, in at most so many bytes of memory, or in the least that
    /// is needed.
    pub fn begin_optimizing(&mut self, memory: u64) -> Result<Optimizer<'_>> {
        let workspace = self.begin_to_write()?;
        let processors = self.threads();
        let workers = workers(memory, processors);
        Ok(Optimizer { store: self, workspace, workers, files: 0 })
    }
}

impl Optimizer<'_> {
    /// The packs that weren't optimized yet and that records name.
    pub fn candidates(&self) -> Result<Candidates> {
        let mut found = Candidates::default();
        let mut done = HashSet::new();
        for row in self.store.catalog.packs()? {
            let pack = match self.store.pack(row.id) {
                Err(error) if error.is_damage() => {
                    found.damaged.push((row.id, error));
                    continue;
                }
                pack => pack?,
            };
            if pack.is_optimized() && row.recorded {
                done.insert(row.directory);
            } else if row.recorded {
                let lengths = &pack.directory().lengths;
                let raw = lengths.iter().map(|length| u64::from(*length)).sum();
                found.packs.push(Candidate { id: row.id, size: pack.size(), raw });
            }
        }
        let replaced = |candidate: &Candidate| {
            let directory = self.store.pack(candidate.id).map(|pack| pack.directory_id());
            directory.is_ok_and(|directory| done.contains(&directory))
        };
        found.packs.retain(|candidate| !replaced(candidate));
        Ok(found)
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
    /// those that they replace. These stay until garbage collection removes them:
    /// others may be reading them.
    pub fn replace(&mut self, replaced: &[(Id, Id)], program: &str, now: Time) -> Result<()> {
        if replaced.is_empty() {
            return Ok(());
        }
        let (dropped, packs) = replaced.iter().copied().unzip();
        let action = Action::Repack(Repack { packs, dropped, optimized: true });
        self.store.write_record_in(&self.workspace, action, program, (now, false)).map(drop)
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
