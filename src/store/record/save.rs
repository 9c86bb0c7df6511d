//! Records of saves: one archive, and the images that it held.
//!
//! Data alone. Whoever reads one has checked its name, kind and features.

use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::digest::{Digest, Id};
use crate::store::header::{ANCESTORS, Features};
use crate::time::Time;

pub(super) const KIND: &str = "save";

/// A record of a save.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SaveRecord {
    format: u64,
    kind: String,
    #[serde(default)]
    features: Features,
    /// Who wrote it.
    pub program: String,
    /// When.
    pub saved_at: Time,
    /// Largest seen, plus one.
    pub sequence: u64,
    /// Where the images came from.
    pub source: Source,
    /// The packs that it needs and that no record before it names.
    pub packs: Vec<Id>,
    /// The blob that says how the archive was put together; see `archive`.
    pub assembly: Option<Digest>,
    /// What is known of the archive as a whole, where there is an `assembly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<SavedArchive>,
    /// The images.
    pub revisions: Vec<Revision>,
}

/// The archive as a whole, as it can be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedArchive {
    /// Bytes of the tar.
    pub size: u64,
    /// SHA-256 of the tar, where all of it was read.
    pub digest: Option<Digest>,
    /// How the file around the tar was compressed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// SHA-256 of the compressed file, where that was kept as well: as a blob, or
    /// by its `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Digest>,
    /// What makes the compressed file of the tar again, as hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
}

/// Where images came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// File name without folders; `-` for standard input.
    pub name: String,
    /// Which kind of archive.
    pub dialect: String,
}

/// One image in a save.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The manifest.
    pub root: Root,
    /// Digest of the config; of an index, that of one of its images.
    pub image_id: Digest,
    /// What it runs on; of an index, what that image runs on.
    pub platform: Platform,
    /// The images of an index that the archive held; empty for all else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<IndexedImage>,
    /// Manifests about the root, or about what is below it: signatures and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Root>,
    /// The images that it was built on, one step each, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
    /// Fully qualified names; may be empty.
    pub references: Vec<String>,
    /// What the root lists and the archive didn't hold.
    #[serde(default)]
    pub not_shipped: Vec<Digest>,
    /// As the config says.
    pub created: Option<String>,
    /// How many layers.
    pub layers: u64,
    /// Sum of the layer tars in bytes.
    pub size: u64,
    /// Its share of the bytes by which the store grew.
    pub added: u64,
}

/// An image of an image index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedImage {
    /// Its manifest.
    pub manifest: Digest,
    /// Digest of its config.
    pub image_id: Digest,
    /// What it runs on.
    pub platform: Platform,
    /// How many layers.
    pub layers: u64,
    /// Sum of the layer tars in bytes.
    pub size: u64,
}

/// An image that another was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its manifest.
    pub root: Root,
    /// Digest of its config.
    pub image_id: Digest,
}

/// The descriptor of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Of the root.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Of the root.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, ...
    pub os: String,
    /// `amd64`, ...
    pub architecture: String,
    /// `v8`, ...
    pub variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What runs nowhere, such as an artifact.
        if self.os.is_empty() && self.architecture.is_empty() {
            return Ok(());
        }
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Revision {
    /// What it runs on, for people: of an index, all that its images run on.
    pub fn platforms(&self) -> String {
        if self.images.is_empty() {
            return self.platform.to_string();
        }
        let mut all: Vec<String> = Vec::new();
        for image in &self.images {
            let platform = image.platform.to_string();
            if !all.contains(&platform) {
                all.push(platform);
            }
        }
        all.join(",")
    }
}

impl SaveRecord {
    /// A record of these revisions; packs and times are filled in by the commit.
    pub fn new(program: &str, source: Source, revisions: Vec<Revision>) -> Self {
        let mut features = Features::default();
        // Who doesn't know of them would collect them.
        if revisions.iter().any(|revision| !revision.ancestors.is_empty()) {
            features.read_only.push(ANCESTORS.to_owned());
        }
        Self {
            format: FORMAT,
            kind: KIND.to_owned(),
            features,
            program: program.to_owned(),
            saved_at: Time::from_nanos(0),
            sequence: 0,
            source,
            packs: Vec::new(),
            assembly: None,
            archive: None,
            revisions,
        }
    }

    /// A feature for which this program must not write to the store, if there is one.
    pub(in crate::store) fn forbids_writing(&self) -> Option<&str> {
        self.features.forbids_writing()
    }

    /// The record in its stored form.
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}
