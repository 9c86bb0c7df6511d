//! Generations of garbage collection: who may still use what is to be removed.
//!
//! Each collection opens a generation: a file that lists the packs that are about
//! to be removed, the doomed. A process that begins from then on takes no notice of
//! them; one that began before may refer to them, and while it lives they stay.
//! Which generation a process began in stands in its locked folder (`workspace`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::workspace::{LOCK, Owner, Workspace};
use super::{Result, StoreError};
use crate::digest::Id;
use crate::fs::{self, Fs, Lock};

/// The largest file of a generation that is read: some 800,000 packs.
const SIZE_MAX: u64 = 64 << 20;

/// A generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    /// Counts up.
    pub(super) number: u64,
    /// Packs that are to be removed, and the generation since which they are.
    pub(super) doomed: BTreeMap<Id, u64>,
}

impl Generation {
    /// What keeps the names of new packs apart from those of the doomed, if there are
    /// any.
    pub(super) fn apart(&self) -> Option<u64> {
        (!self.doomed.is_empty()).then_some(self.number)
    }

    /// The generation that is open.
    pub(super) fn current(fs: &dyn Fs, layout: &Layout) -> Result<Self> {
        loop {
            let Some(number) = numbers(fs, layout)?.into_iter().max() else {
                return Ok(Self::default());
            };
            let path = path(layout, number);
            let bytes = match fs::read(fs, &path, SIZE_MAX) {
                // A newer one has taken its place.
                Err(error) if error.is_missing() => continue,
                bytes => bytes?,
            };
            let json = |source| StoreError::Json { what: "generation", path, source };
            let mut generation: Self = serde_json::from_slice(&bytes).map_err(json)?;
            generation.number = number;
            return Ok(generation);
        }
    }

    /// Opens the generation, through a file in `folder`. Those before it are over.
    pub(super) fn open(
        &self,
        fs: &dyn Fs,
        layout: &Layout,
        folder: &std::path::Path,
    ) -> Result<()> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        let part = folder.join("generation.json");
        let mut file = fs.create(&part)?;
        file.write_all(&bytes)?;
        file.sync()?;
        drop(file);
        fs::publish(fs, &part, &path(layout, self.number))?;
        for number in numbers(fs, layout)?.into_iter().filter(|number| *number < self.number) {
            fs.remove_file(&path(layout, number))?;
        }
        Ok(())
    }
}

/// The generations that have a file.
fn numbers(fs: &dyn Fs, layout: &Layout) -> Result<Vec<u64>> {
    let folder = layout.collection();
    if !fs.exists(&folder) {
        return Ok(Vec::new());
    }
    let names = fs.list(&folder)?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
    Ok(numbers.collect())
}

fn path(layout: &Layout, number: u64) -> PathBuf {
    layout.collection().join(format!("{number}.json"))
}

/// Makes this process the only one that collects; `None` where another one does.
pub(super) fn lock(fs: &dyn Fs, layout: &Layout) -> Result<Option<Box<dyn Lock>>> {
    fs::create_dir_all(fs, &layout.collection())?;
    let path = layout.collection().join(LOCK);
    match fs.create(&path) {
        Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error.into());
        }
        _ => {}
    }
    Ok(fs.try_lock(&path)?)
}

/// The processes that live and that began before a generation, but for one's own.
pub(super) fn older(
    fs: &dyn Fs,
    layout: &Layout,
    number: u64,
    own: &Workspace,
) -> Result<Vec<Owner>> {
    let mut older = Vec::new();
    for name in fs.list(&layout.tmp())? {
        let folder = layout.tmp().join(&name);
        if folder == layout.collection() || folder == own.path() || !fs.exists(&folder.join(".")) {
            continue;
        }
        let lock = folder.join(LOCK);
        match fs.try_lock(&lock) {
            // Its owner ended, and it is swept sooner or later.
            Ok(Some(_)) => {}
            Ok(None) => {
                let owner = Owner::read(fs, &lock);
                if owner.generation < number {
                    older.push(owner);
                }
            }
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(older)
}
