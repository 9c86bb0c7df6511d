//! Records of all that users did but saving, and of what garbage collection did.
//!
//! Data alone. Each says in full what it is about, so that what it means never
//! depends on what its writer knew.

use serde::{Deserialize, Serialize};

use super::{FORMAT, Stamp};
use crate::digest::Id;
use crate::store::header::Features;
use crate::time::Time;

/// A record that is no save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRecord {
    /// Who wrote it.
    pub program: String,
    /// When.
    pub saved_at: Time,
    /// Largest seen, plus one.
    pub sequence: u64,
    /// What was done.
    pub action: Action,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Action {
    /// A revision got names.
    Tag(Tag),
    /// Names and revisions were let go.
    Remove(Remove),
    /// Revisions were protected from being removed, or are so no more.
    Pin(Pin),
    /// A record counts no more.
    Undo(Undo),
    /// Garbage collection changed which packs there are.
    Repack(Repack),
}

/// Which revision, of all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevisionKey {
    /// The record of its save.
    pub record: Id,
    /// Its place among that record's revisions.
    pub position: u32,
}

/// A name that a record gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GivenName {
    /// Fully qualified.
    pub reference: String,
    /// The save or tag that gave it.
    pub record: Id,
    /// Of a save, the place of the revision; of a tag, 0.
    pub position: u32,
}

/// A revision got names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Which.
    pub revision: RevisionKey,
    /// Fully qualified names.
    pub references: Vec<String>,
}

/// Names and revisions were let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// Which command it was: `rm` or `forget`.
    pub reason: String,
    /// The revisions.
    pub revisions: Vec<RevisionKey>,
    /// The names.
    pub names: Vec<GivenName>,
}

/// Revisions were protected from being removed, or are so no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Whether they are from now on.
    pub pinned: bool,
    /// Which.
    pub revisions: Vec<RevisionKey>,
}

/// A record counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// A tag or a removal.
    pub undone: Id,
}

/// Garbage collection changed which packs there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repack {
    /// Those that it wrote, and those that are needed and that no other record
    /// names.
    pub packs: Vec<Id>,
    /// Those that records name and that it removed.
    pub dropped: Vec<Id>,
    /// Whether packs were only compressed anew, and nothing was collected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optimized: bool,
}

impl Action {
    /// What records call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tag(_) => "tag",
            Self::Remove(_) => "remove",
            Self::Pin(_) => "pin",
            Self::Undo(_) => "undo",
            Self::Repack(_) => "repack",
        }
    }

    /// Reads what a record of this kind says; `None` of a kind that is none.
    fn decode(kind: &str, json: &[u8]) -> Option<serde_json::Result<Self>> {
        Some(match kind {
            "tag" => serde_json::from_slice(json).map(Self::Tag),
            "remove" => serde_json::from_slice(json).map(Self::Remove),
            "pin" => serde_json::from_slice(json).map(Self::Pin),
            "undo" => serde_json::from_slice(json).map(Self::Undo),
            "repack" => serde_json::from_slice(json).map(Self::Repack),
            _ => return None,
        })
    }
}

/// What stands in a file, in this order.
#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    kind: &'a str,
    features: Features,
    program: &'a str,
    saved_at: Time,
    sequence: u64,
    #[serde(flatten)]
    action: &'a Action,
}

/// What every action has beside what `Action` says.
#[derive(Deserialize)]
struct Common {
    program: String,
    saved_at: Time,
    sequence: u64,
}

impl ActionRecord {
    /// When it was written.
    pub fn stamp(&self) -> Stamp {
        Stamp { saved_at: self.saved_at, sequence: self.sequence }
    }

    /// The record in its stored form.
    pub fn encode(&self) -> Vec<u8> {
        let Self { program, saved_at, sequence, action } = self;
        let written = Written {
            format: FORMAT,
            kind: action.kind(),
            features: Features::default(),
            program,
            saved_at: *saved_at,
            sequence: *sequence,
            action,
        };
        let mut bytes = serde_json::to_vec(&written).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one of this kind; `None` of a kind that is none.
    pub(in crate::store) fn decode(kind: &str, json: &[u8]) -> Option<serde_json::Result<Self>> {
        let action = Action::decode(kind, json)?;
        Some(action.and_then(|action| {
            let Common { program, saved_at, sequence } = serde_json::from_slice(json)?;
            Ok(Self { program, saved_at, sequence, action })
        }))
    }
}
