//! Records: what users did, as immutable JSON (docs/FORMAT.md section 7).
//!
//! Assumes nothing of the bytes: a record is checked against its name, its kind
//! and its features before anything in it is used.

mod action;
mod save;

use std::path::Path;

use serde::Deserialize;

use super::header::Features;
use super::{Result, StoreError};
use crate::digest::Id;
use crate::fs::{self, Fs};
use crate::time::Time;

pub use action::{Action, ActionRecord, GivenName, Pin, Remove, Repack, RevisionKey, Tag, Undo};
pub use save::{
    Ancestor, IndexedImage, Platform, Revision, Root, SaveRecord, SavedArchive, Source,
};

const FORMAT: u64 = 1;
/// A record of a save with some 100,000 images; memory is bounded by this.
const SIZE_MAX: u64 = 64 << 20;

/// A record of any kind.
#[derive(Debug, Clone)]
pub enum Record {
    /// An archive was saved.
    Save(Box<SaveRecord>),
    /// Anything else.
    Action(ActionRecord),
}

/// What is the same in records of all kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// When.
    pub saved_at: Time,
    /// Largest seen, plus one.
    pub sequence: u64,
}

/// What tells whether a record can be read.
#[derive(Deserialize)]
struct Head {
    format: u64,
    kind: String,
    #[serde(default)]
    features: Features,
}

impl Record {
    /// When it was written. Records are in the order of this and their ids.
    pub fn stamp(&self) -> Stamp {
        match self {
            Self::Save(save) => Stamp { saved_at: save.saved_at, sequence: save.sequence },
            Self::Action(action) => action.stamp(),
        }
    }

    /// The packs that it needs, or that it says are needed.
    pub fn packs(&self) -> &[Id] {
        match self {
            Self::Save(save) => &save.packs,
            Self::Action(ActionRecord { action: Action::Repack(repack), .. }) => &repack.packs,
            Self::Action(_) => &[],
        }
    }

    /// Reads the record `id` and refuses what this program doesn't know.
    pub(super) fn read(fs: &dyn Fs, path: &Path, id: Id) -> Result<Self> {
        let bytes = fs::read(fs, path, SIZE_MAX)?;
        let found = Id::of(&bytes);
        if found != id {
            return Err(StoreError::RecordHash { path: path.to_owned(), expected: id, found });
        }
        let json = |source| StoreError::Json { what: "record", path: path.to_owned(), source };
        let thing = format!("record `{}`", id.short());
        let head: Head = serde_json::from_slice(&bytes).map_err(json)?;
        let unsupported = |need| StoreError::Unsupported { thing: thing.clone(), need };
        if head.format != FORMAT {
            return Err(unsupported(format!("record format {}", head.format)));
        }
        let read = match head.kind.as_str() {
            save::KIND => serde_json::from_slice(&bytes).map(|save| Self::Save(Box::new(save))),
            kind => match ActionRecord::decode(kind, &bytes) {
                Some(action) => action.map(Self::Action),
                None => return Err(unsupported(format!("record kind `{kind}`"))),
            },
        };
        // What isn't as we know it may be so for a feature.
        head.features.check_read(&thing)?;
        // That writing is forbidden is noted of saves alone.
        match head.features.forbids_writing().filter(|_| head.kind != save::KIND) {
            Some(feature) => Err(unsupported(format!("feature `{feature}`"))),
            None => read.map_err(json),
        }
    }
}
