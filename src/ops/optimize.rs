//! `optimize`: packs are compressed again, as hard as they can be, while there is
//! time.
//!
//! One pack after the other, each of which is kept whatever comes of the rest; so it
//! can be ended at any moment, and goes on where it was. What is damaged is left
//! alone, and told of. Gives no space back itself: the packs that were replaced are
//! garbage.

use crate::digest::Id;
use crate::progress::Progress;
use crate::store::optimize::{Candidate, Optimizer, memory_min};
use crate::store::{Result, Store, StoreError};
use crate::time::Time;

/// New packs are named by a record when they have this many bytes together, so that
/// many small ones don't need a record each.
const BATCH: u64 = 8 << 20;

/// What a new pack takes at most beyond the old one: a line in its header, and its
/// share of a record, all of it where it has one for itself.
const EXTRA: u64 = 512;

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
    /// The most bytes that are written: as much space is needed, since the old packs
    /// stay until garbage is collected.
    pub space: u64,
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
    let mut optimizer = store.begin_optimizing(options.memory)?;
    let found = optimizer.candidates()?;
    let mut outcome = OptimizeOutcome { damaged: found.damaged, ..OptimizeOutcome::default() };
    if found.packs.is_empty() {
        return Ok(outcome);
    }
    let sum = |bytes: fn(&Candidate) -> u64| found.packs.iter().map(bytes).sum();
    watch.planned(&Plan { packs: found.packs.len() as u64, space: sum(|pack| pack.size + EXTRA) });
    watch.begin(Some(sum(|pack| pack.raw)));
    let result = each(&mut optimizer, &found.packs, options, watch, &mut outcome);
    watch.finish();
    result.map(|()| outcome)
}

fn each(
    optimizer: &mut Optimizer<'_>,
    packs: &[Candidate],
    options: &OptimizeOptions<'_>,
    watch: &dyn Watch,
    outcome: &mut OptimizeOutcome,
) -> Result<()> {
    let (mut replaced, mut bytes) = (Vec::new(), 0);
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
        if bytes >= BATCH {
            optimizer.replace(&std::mem::take(&mut replaced), options.program, options.now)?;
            bytes = 0;
        }
    }
    optimizer.replace(&replaced, options.program, options.now)
}
