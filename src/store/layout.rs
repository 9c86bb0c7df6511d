//! Every path inside a store is built here and nowhere else.

use std::path::{Path, PathBuf};

use crate::digest::Id;

/// Folders directly under the root.
pub(super) const FOLDERS: [&str; 3] = ["packs", "records", "tmp"];

/// The paths of one store.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn header(&self) -> PathBuf {
        self.root.join("orlop.json")
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.sqlite")
    }

    pub(super) fn folders(&self) -> [PathBuf; 3] {
        FOLDERS.map(|name| self.root.join(name))
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    pub(super) fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// What garbage collection says to others.
    pub(super) fn collection(&self) -> PathBuf {
        self.tmp().join("gc")
    }

    /// Locked by whoever makes the store.
    pub(super) fn creation(&self) -> PathBuf {
        self.tmp().join("creation")
    }

    pub(super) fn pack(&self, id: Id) -> PathBuf {
        fan_out(&self.packs(), id, "pack")
    }

    pub(super) fn record(&self, id: Id) -> PathBuf {
        fan_out(&self.records(), id, "json")
    }
}

fn fan_out(folder: &Path, id: Id, extension: &str) -> PathBuf {
    let name = id.to_string();
    folder.join(&name[..2]).join(format!("{name}.{extension}"))
}

/// The id in a file name of this extension, if it is one of ours.
pub(super) fn id_in(name: &str, extension: &str) -> Option<Id> {
    name.strip_suffix(extension)?.strip_suffix('.')?.parse().ok()
}
