//! `optimize`: packs are compressed again, as hard as they can be, while there is
//! time.
//!
//! One pack after the other, each of which is kept whatever comes of the rest; so it
//! can be ended at any moment, and goes on where it was. What is damaged is left
//! alone, and told of. Packs that were replaced are removed on the way, so that no
//! more space is needed than for a few of them, unless others use the store.

use crate::digest::Id;
use crate::progress::Progress;
use crate::store::optimize::{Candidate, Optimizer, memory_min};
use crate::store::{Result, Store, StoreError};
use crate::time::Time;

/// New packs are named by a record when they have this many bytes together, so that
/// many small ones don't need a record each.
const BATCH: u64 = 8 << 20;

/// What a new pack takes at most beyond the old one: a line in its header, its share
/// of a record, all of it where it has one for itself, folders for both, and what
/// file systems take for the rest of a block.
const EXTRA: u64 = 20 << 10;

/// Old packs are removed when they are this part of all that is to be replaced: the
/// catalog is read for it from end to end.
const REMOVE_PART: u64 = 32;

/// How to optimize.
#[derive(Debug)]
pub struct OptimizeOptions<'a> {
    /// The most bytes of memory.
    pub memory: u64,
    /// The time now.
    pub now: Time,
    /// Who optimizes, for the record.
    pub program: &'a str,
}

/// Who is told how it goes, and may end it.
pub trait Watch: Progress {
    /// What there is to do, before it begins.
    fn planned(&self, plan: &Plan);
    /// Whether there is time for another pack.
    fn has_time(&self) -> bool;
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Count of packs.
    pub packs: u64,
    /// The most bytes of free space that are needed, as old packs go on the way.
    pub space: u64,
    /// The same where all of them stay, since others may be reading them.
    pub space_in_use: u64,
}

/// What was done.
#[derive(Debug, Default)]
pub struct OptimizeOutcome {
    /// Count of packs that were optimized.
    pub packs: u64,
    /// Their bytes before, ...
    pub before: u64,
    /// ... and after that.
    pub after: u64,
    /// Bytes of packs that were removed: of these, and of those that a run before had
    /// to leave.
    pub removed: u64,
    /// Count of packs that were replaced and are still there, since processes that run
    /// may need them.
    pub stay: u64,
    /// Count of packs that there was no time for.
    pub left: u64,
    /// Packs that can't be read, and why.
    pub damaged: Vec<(Id, StoreError)>,
}

/// The least memory, in bytes, that this can be done with.
pub fn least_memory() -> u64 {
    memory_min()
}

/// Optimizes the packs that weren't yet, the oldest first, as long as there is time.
pub fn optimize(
    store: &mut Store,
    options: &OptimizeOptions<'_>,
    watch: &dyn Watch,
) -> Result<OptimizeOutcome> {
    let catalog = store.catalog_bytes();
    let mut optimizer = store.begin_optimizing(options.memory)?;
    let found = optimizer.candidates()?;
    let mut outcome = OptimizeOutcome { damaged: found.damaged, ..OptimizeOutcome::default() };
    if found.packs.is_empty() {
        remove(&mut optimizer, &mut outcome)?;
        optimizer.finish();
        return Ok(outcome);
    }
    watch.planned(&Plan::of(&found.packs, catalog));
    watch.begin(Some(found.packs.iter().map(|pack| pack.raw).sum()));
    let result = each(&mut optimizer, &found.packs, options, watch, &mut outcome);
    watch.finish();
    result?;
    optimizer.finish();
    Ok(outcome)
}

impl Plan {
    fn of(packs: &[Candidate], catalog: u64) -> Self {
        let most = |pack: &Candidate| pack.size + EXTRA;
        let all: u64 = packs.iter().map(most).sum();
        let step = all / REMOVE_PART + BATCH + packs.iter().map(most).max().unwrap_or(0);
        // It lists both packs for a while, and has a journal of its own.
        let catalog = 2 * catalog;
        let space_in_use = all + catalog;
        Self { packs: packs.len() as u64, space: all.min(step) + catalog, space_in_use }
    }
}

fn each(
    optimizer: &mut Optimizer<'_>,
    packs: &[Candidate],
    options: &OptimizeOptions<'_>,
    watch: &dyn Watch,
    outcome: &mut OptimizeOutcome,
) -> Result<()> {
    let part = packs.iter().map(|pack| pack.size).sum::<u64>() / REMOVE_PART;
    let (mut replaced, mut bytes, mut old) = (Vec::new(), 0, 0);
    for (pack, number) in packs.iter().zip(0..) {
        if !watch.has_time() {
            outcome.left = packs.len() as u64 - number;
            break;
        }
        let new = match optimizer.rewrite(pack.id, watch) {
            Err(error) if error.is_damage() => {
                outcome.damaged.push((pack.id, error));
                continue;
            }
            new => new?,
        };
        outcome.packs += 1;
        outcome.before += pack.size;
        outcome.after += new.size;
        replaced.push((pack.id, new.id));
        bytes += new.size;
        old += pack.size;
        if bytes >= BATCH {
            optimizer.replace(&std::mem::take(&mut replaced), options.program, options.now)?;
            bytes = 0;
            if old >= part {
                remove(optimizer, outcome)?;
                old = 0;
            }
        }
    }
    optimizer.replace(&replaced, options.program, options.now)?;
    remove(optimizer, outcome)
}

fn remove(optimizer: &mut Optimizer<'_>, outcome: &mut OptimizeOutcome) -> Result<()> {
    let gone = optimizer.remove_replaced()?;
    outcome.removed += gone.removed;
    outcome.stay = gone.stay;
    Ok(())
}
