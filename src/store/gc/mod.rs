//! Garbage collection: removes what no revision needs, and writes again what is
//! scattered among it.
//!
//! One process at a time collects, while others read and save. It marks what is
//! needed, writes new packs, says in a record which packs there are, and opens a
//! generation that lists those which are about to go. What began before may still
//! refer to these: while it lives, they stay. Then it looks again at what was saved
//! meanwhile, and removes the rest: records, rows of the catalog, packs, in this
//! order. Whatever moment it ends at, the store is whole, and the next collection
//! goes on from what is there. It knows blobs; which of them revisions need is for
//! the caller to say.

mod deltas;
mod marks;
mod plan;
mod records;
mod repack;

use std::collections::{BTreeSet, HashSet};

use super::generation::{self, Generation};
use super::homes::Home;
use super::record::Action;
use super::removal;
use super::workspace::Workspace;
use super::{Result, Store, StoreError};
use crate::catalog::{Found, Place};
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::Lock;
use crate::progress::Progress;
use crate::time::Time;
use marks::Marks;
use plan::{Bounds, Plan, plan};
use records::{Obsolete, Records};
use repack::{Written, repack};

/// A collection that is going on.
#[derive(Debug)]
pub struct Collection<'s> {
    store: &'s mut Store,
    _lock: Box<dyn Lock>,
    workspace: Workspace,
    marks: Marks,
    /// The blobs that are needed.
    needed: Vec<Digest>,
    waste: u64,
}

/// What a collection would do, or did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes of packs before it.
    pub before: u64,
    /// Bytes of packs that nothing needs any more.
    pub dead: u64,
    /// Bytes of packs whose needed chunks are written again.
    pub again: u64,
    /// Bytes of what that makes: at most, where it is only planned.
    pub written: u64,
    /// Bytes that nothing needs and that stay where they are.
    pub waste: u64,
    /// Packs that go.
    pub packs: u64,
    /// Records that go.
    pub records: u64,
    /// Bytes of packs that were removed.
    pub removed: u64,
    /// Whether something that should go stays, since there was no room to write.
    pub no_room: bool,
}

impl Collected {
    /// Bytes that come free, as far as can be told beforehand.
    pub fn free(&self) -> u64 {
        (self.dead + self.again).saturating_sub(self.written)
    }
}

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was done.
    pub collected: Collected,
    /// Processes for whose sake packs stayed: 0 for one that isn't known.
    pub waiting_for: Vec<u32>,
}

/// Says which blobs revisions need, of those revisions that it wasn't asked about
/// before.
pub type Needed<'n> = dyn FnMut(&Store) -> Result<Vec<Digest>> + 'n;

impl Store {
    /// Begins to collect. At most so much may remain wasted, in hundredths of a
    /// percent.
    pub fn collect(&mut self, waste: u64) -> Result<Collection<'_>> {
        self.check_write()?;
        self.make_folders()?;
        let lock = generation::lock(&*self.fs, &self.layout)?;
        let lock = lock.ok_or(StoreError::Locked { what: "collect garbage" })?;
        let workspace = Workspace::create(&self.fs, &self.layout)?;
        // Its own reading is no reason to keep anything.
        self.hold = None;
        self.doom(&workspace.generation);
        self.bring_up_to_date(Found::Usable)?;
        self.adopt_packs()?;
        self.make_durable()?;
        let (marks, needed) = (Marks::default(), Vec::new());
        Ok(Collection { store: self, _lock: lock, workspace, marks, needed, waste })
    }
}

impl Collection<'_> {
    /// The store, to look things up in it.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// What would be done.
    pub fn look(mut self, needed: &mut Needed<'_>) -> Result<Collected> {
        let (plan, records) = self.plan(needed, true)?;
        Ok(summary(&plan, &records.obsolete()))
    }

    /// Does it. `now` is the time, and `program` who does it.
    pub fn carry_out(
        mut self,
        needed: &mut Needed<'_>,
        (program, now): (&str, Time),
        levels: Levels,
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        let (plan, records) = self.plan(needed, true)?;
        let obsolete = records.obsolete();
        if plan.dead.is_empty() && plan.again.is_empty() && obsolete.is_empty() {
            let collected = summary(&plan, &obsolete);
            return Ok(Outcome { collected, waiting_for: Vec::new() });
        }
        progress.begin(Some(plan.again_bytes()));
        let written = repack(self.store, &self.workspace, (&plan, &self.marks), levels, progress);
        progress.finish();
        match written {
            Ok(written) => self.replace(needed, &plan, &written, (program, now)),
            Err(error) if is_full(&error) => {
                // What is dead can go without room for anything new.
                let (plan, _) = self.plan(needed, false)?;
                let mut outcome =
                    self.replace(needed, &plan, &Written::default(), (program, now))?;
                outcome.collected.no_room = true;
                Ok(outcome)
            }
            Err(error) => Err(error),
        }
    }

    fn plan(&mut self, needed: &mut Needed<'_>, again: bool) -> Result<(Plan, Records)> {
        self.needed.extend(needed(self.store)?);
        let must = self.workspace.generation.doomed.keys().copied().collect();
        let bounds = Bounds { waste: self.waste, again, must };
        self.marks = Marks::default();
        for digest in &self.needed {
            self.marks.blob(self.store, *digest)?;
        }
        let plan = plan(self.store, &mut self.marks, &bounds)?;
        Ok((plan, Records::read(self.store)?))
    }

    /// Lets new packs take the place of old ones.
    fn replace(
        &mut self,
        needed: &mut Needed<'_>,
        plan: &Plan,
        written: &Written,
        writer: (&str, Time),
    ) -> Result<Outcome> {
        let records = Records::read(self.store)?;
        let obsolete = records.obsolete();
        let mut collected = summary(plan, &obsolete);
        collected.written = written.bytes;
        let mut goes: HashSet<Id> = plan.dead.iter().chain(&plan.again).copied().collect();
        // What a collection left that didn't end may be what this one made again.
        goes.retain(|id| !written.packs.contains(id));
        if goes.is_empty() && obsolete.is_empty() {
            return Ok(Outcome { collected, waiting_for: Vec::new() });
        }
        let stay = plan.packs.iter().map(|pack| pack.id).filter(|id| !goes.contains(id));
        let mut stay: Vec<Id> = stay.chain(written.packs.iter().copied()).collect();
        self.write_repack(&records, &stay, &goes, &obsolete, writer)?;

        let number = self.workspace.generation.number + 1;
        let since = |id: &Id| *self.workspace.generation.doomed.get(id).unwrap_or(&number);
        let doomed = goes.iter().map(|id| (*id, since(id))).collect();
        let mut opened = Generation { number, doomed };
        opened.open(&*self.store.fs, &self.store.layout, self.workspace.path())?;
        let older =
            generation::older(&*self.store.fs, &self.store.layout, number, &self.workspace)?;

        // What was saved meanwhile may need what was to go.
        self.store.bring_up_to_date(Found::Usable)?;
        let back = self.needed_after_all(needed, &goes)?;
        let records = Records::read(self.store)?;
        let obsolete = records.obsolete();
        if !back.is_empty() {
            goes.retain(|id| !back.contains(id));
            stay.extend(&back);
            self.write_repack(&records, &stay, &goes, &obsolete, writer)?;
            opened.number += 1;
            opened.doomed.retain(|id, _| goes.contains(id));
            opened.open(&*self.store.fs, &self.store.layout, self.workspace.path())?;
        }
        let oldest = older.iter().map(|owner| owner.generation).min().unwrap_or(u64::MAX);
        let all = older.is_empty();
        let should_go = goes.len();
        goes.retain(|id| opened.doomed.get(id).is_some_and(|since| *since <= oldest));
        let stayed = goes.len() < should_go;
        if all {
            let records = Records::read(self.store)?;
            self.remove_records(&records, &obsolete)?;
        }
        collected.removed = self.store.remove_packs(&goes)?;
        if all {
            let next = Generation { number: opened.number + 1, ..Generation::default() };
            next.open(&*self.store.fs, &self.store.layout, self.workspace.path())?;
        }
        self.store.shrink_catalog();
        let mut waiting_for: Vec<u32> = older.iter().map(|owner| owner.pid).collect();
        waiting_for.retain(|_| stayed);
        waiting_for.sort_unstable();
        waiting_for.dedup();
        Ok(Outcome { collected, waiting_for })
    }

    fn write_repack(
        &mut self,
        records: &Records,
        stay: &[Id],
        goes: &HashSet<Id>,
        obsolete: &Obsolete,
        (program, now): (&str, Time),
    ) -> Result<()> {
        let (fs, layout) = (&*self.store.fs, &self.store.layout);
        let is_there = |id| fs.exists(&layout.pack(id));
        let repack = Action::Repack(records.repack(stay, goes, obsolete, is_there));
        self.store.write_record_in(&self.workspace, repack, program, (now, false))?;
        Ok(())
    }

    /// The packs that were to go and that revisions need which weren't there before,
    /// with all that they stand on.
    fn needed_after_all(
        &mut self,
        needed: &mut Needed<'_>,
        goes: &HashSet<Id>,
    ) -> Result<BTreeSet<Id>> {
        let mut marks = Marks::default();
        for digest in needed(self.store)? {
            marks.blob(self.store, digest)?;
        }
        let mut back = BTreeSet::new();
        let mut next: Vec<Id> = marks.packs().collect();
        for directory in &marks.named {
            next.extend(self.packs_of(*directory, goes)?);
        }
        let mut seen = HashSet::new();
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            if goes.contains(&id) {
                self.store.index(id)?;
                back.insert(id);
            }
            let pack = self.store.pack(id)?;
            for number in (0..pack.frames().len()).filter(|at| pack.frames()[*at].depth > 0) {
                for directory in
                    pack.frame_header(number)?.bases.iter().filter_map(|it| it.directory)
                {
                    match self.packs_of(directory, goes) {
                        // That of a frame which nothing needs may have gone before.
                        Err(error) if error.is_damage() => {}
                        packs => next.extend(packs?),
                    }
                }
            }
        }
        Ok(back)
    }

    /// The packs that the chunks of a directory are in, and those that have the directory
    /// itself where no other would when `goes` are gone.
    fn packs_of(&self, directory: Id, goes: &HashSet<Id>) -> Result<Vec<Id>> {
        let home = self.store.home(directory)?;
        let mut packs = home.packs().to_vec();
        if let Home::Moved(_) = home {
            let (catalog, store) = (&self.store.catalog, &*self.store);
            let (go, stay): (Vec<Place>, Vec<Place>) = catalog
                .directory_pieces(directory)?
                .into_iter()
                .partition(|place| goes.contains(&place.pack));
            if !store.is_kept(directory, &stay)? {
                packs.extend(go.iter().map(|place| place.pack));
                packs.extend(catalog.pack_by_directory(directory)?.map(|row| row.id));
            }
        }
        Ok(packs)
    }

    /// Removes records that are obsolete, or older collections.
    fn remove_records(&mut self, records: &Records, obsolete: &Obsolete) -> Result<()> {
        let others: Vec<Id> = obsolete.others.iter().copied().chain(records.repacks()).collect();
        self.remove_files(&obsolete.saves_and_tags)?;
        if !others.is_empty() {
            // Whoever removed what these speak of may have ended before that was durable.
            let folder = self.store.layout.records();
            for name in self.store.fs.list(&folder)? {
                self.store.fs.sync_dir(&folder.join(name))?;
            }
            self.remove_files(&others)?;
        }
        self.store.bring_up_to_date(Found::Usable)
    }

    /// Removes records, durably.
    fn remove_files(&self, records: &[Id]) -> Result<()> {
        let paths = records.iter().map(|id| self.store.layout.record(*id));
        removal::remove_files(&*self.store.fs, paths)
    }
}

/// What a plan comes to.
fn summary(plan: &Plan, obsolete: &Obsolete) -> Collected {
    Collected {
        before: plan.packs.iter().map(|pack| pack.size).sum(),
        dead: plan.bytes_of(&plan.dead),
        again: plan.again_bytes(),
        written: plan.again_bytes() - plan.waste_of(&plan.again),
        waste: plan.waste,
        packs: (plan.dead.len() + plan.again.len()) as u64,
        records: (obsolete.saves_and_tags.len() + obsolete.others.len()) as u64,
        removed: 0,
        no_room: false,
    }
}

/// Whether there was no room to write.
fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Fs(error) if matches!(
        error.source.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    ))
}
