//! Removes files of packs and records, durably.
//!
//! Assumes that the caller knows that nobody needs them any more (`generation`), and
//! holds the lock for it. Guarantees that what was removed doesn't come back after a
//! power cut.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::{Result, Store};
use crate::digest::Id;
use crate::fs::Fs;

impl Store {
    /// Removes packs from the catalog, and then their files. Returns their bytes.
    pub(super) fn remove_packs(&mut self, goes: &HashSet<Id>) -> Result<u64> {
        let mut ids: Vec<Id> = goes.iter().copied().collect();
        // In an order of their own, so that what a crash leaves can be repeated.
        ids.sort_unstable();
        let length = |id: &Id| self.fs.open(&self.layout.pack(*id)).and_then(|file| file.len());
        let bytes = ids.iter().map(|id| length(id).unwrap_or(0)).sum();
        self.catalog.forget_packs(&ids)?;
        self.forget_places();
        self.decoder.close_packs(&ids);
        // One that came back would be taken for one that stays when nothing is doomed
        // any more, and what it stands on may be gone.
        remove_files(&*self.fs, ids.iter().map(|id| self.layout.pack(*id)))?;
        Ok(bytes)
    }

    /// Makes the catalog smaller after packs were removed, if it can be done now, and
    /// pays: it is a cache, and as good as it was if not.
    pub(super) fn shrink_catalog(&self) {
        drop(self.catalog.shrink());
    }
}

/// Removes files, some of which may be gone.
pub(super) fn remove_files(fs: &dyn Fs, paths: impl Iterator<Item = PathBuf>) -> Result<()> {
    let mut folders = BTreeSet::new();
    for path in paths {
        match fs.remove_file(&path) {
            Err(error) if !error.is_missing() => return Err(error.into()),
            _ => {}
        }
        folders.extend(path.parent().map(Path::to_owned));
    }
    folders.iter().try_for_each(|folder| Ok(fs.sync_dir(folder)?))
}
