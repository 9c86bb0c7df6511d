//! `gc`: removes what no revision needs.
//!
//! Says which blobs those are: all that belongs to the revisions that weren't
//! removed, and archives as a whole of which every revision is there. How space is
//! made of that is the store's.

use std::collections::HashSet;

use super::gather::Gatherer;
use super::original::{Original, OriginalError};
use super::resolve::Resolved;
use crate::catalog::RevisionRow;
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::progress::Progress;
use crate::store::gc::{Collected, Outcome};
use crate::store::record::SaveRecord;
use crate::store::{Result, Store, StoreError};
use crate::time::Time;

/// How much may stay though nothing needs it, in hundredths of a percent of all, where
/// nobody says.
pub const WASTE: u64 = 500;

/// How to collect.
#[derive(Debug)]
pub struct GcOptions<'a> {
    /// How much may stay though nothing needs it, in hundredths of a percent of all.
    pub waste: u64,
    /// For what is compressed again.
    pub levels: Levels,
    /// The time now.
    pub now: Time,
    /// Who collects, for the record.
    pub program: &'a str,
}

/// What would be done, if so many revisions more were removed.
pub fn plan(store: &mut Store, waste: u64, removed: &[(Id, u32)]) -> Result<Collected> {
    let without = removed.iter().copied().collect();
    let mut needs = Needs { without, ..Needs::default() };
    store.collect(waste)?.look(&mut |store| needs.more(store))
}

/// Collects.
pub fn gc(store: &mut Store, options: &GcOptions<'_>, progress: &dyn Progress) -> Result<Outcome> {
    let mut needs = Needs::default();
    let collection = store.collect(options.waste)?;
    let writer = (options.program, options.now);
    collection.carry_out(&mut |store| needs.more(store), writer, options.levels, progress)
}

/// Which blobs revisions need.
#[derive(Debug, Default)]
struct Needs {
    /// Revisions that count as removed.
    without: HashSet<(Id, u32)>,
    /// Revisions whose blobs were told.
    told: HashSet<(Id, u32)>,
}

impl Needs {
    /// Those of revisions that were not told before.
    fn more(&mut self, store: &Store) -> Result<Vec<Digest>> {
        let mut revisions: Vec<RevisionRow> = Vec::new();
        for (_, revision) in store.catalog().revisions_named(true, |_, _| true)? {
            let key = (revision.record, revision.position);
            if !self.without.contains(&key) && self.told.insert(key) {
                revisions.push(revision);
            }
        }
        let mut blobs = Vec::new();
        let mut gatherer = Gatherer::new(store);
        for of_one_save in revisions.chunk_by(|one, next| one.record == next.record) {
            for revision in of_one_save {
                of_revision(store, &mut gatherer, revision, &mut blobs)?;
            }
            if let Some(revision) = of_one_save.first() {
                let save = gatherer.save(revision.record)?;
                blobs.extend(self.original(store, revision.record, save)?);
            }
        }
        Ok(blobs)
    }

    /// Those of an archive as a whole, if it is kept and all that was in it is there.
    fn original(&self, store: &Store, save: Id, record: &SaveRecord) -> Result<Vec<Digest>> {
        let all = (0..)
            .take(record.revisions.len())
            .all(|position| self.told.contains(&(save, position)));
        if !all {
            return Ok(Vec::new());
        }
        match Original::of_record(store, save, record).and_then(|original| original.blobs()) {
            Ok(blobs) => Ok(blobs),
            Err(OriginalError::Store(error)) => Err(error),
            Err(OriginalError::NotKept { .. }) => Ok(Vec::new()),
            Err(_) => Err(StoreError::Inconsistent("an archive that can't be read")),
        }
    }
}

/// The blobs of a revision.
fn of_revision(
    store: &Store,
    gatherer: &mut Gatherer<'_>,
    revision: &RevisionRow,
    blobs: &mut Vec<Digest>,
) -> Result<()> {
    let resolved = Resolved { revision: revision.clone(), reference: None, manifest: None };
    let gathered = gatherer.read(&resolved)?;
    blobs.extend(gathered.indexes.iter().map(|(digest, _)| *digest));
    for manifest in gathered.all() {
        blobs.push(manifest.descriptor.digest);
        let config = manifest.manifest.config.digest;
        blobs.extend(store.catalog().blob(config)?.map(|_| config));
        for layer in manifest.layers.iter().filter(|layer| layer.stored) {
            blobs.push(layer.descriptor.digest);
            // What it is made of may be known beside it, to list it.
            let plain = layer.plain_digest();
            blobs.extend(store.catalog().blob(plain)?.map(|_| plain));
        }
    }
    Ok(())
}
