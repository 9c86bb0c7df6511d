//! What was found in an image archive of any dialect: roots, and everything
//! below them, by member.
//!
//! Data only, made by the resolver. A root is what one revision will be: an
//! image, an image index or an artifact. Bodies of layers were not read yet:
//! what is said of them here is what the archive claims, and whoever reads them
//! compares. A part that the archive doesn't hold has no member; whether that is
//! an error depends on what a store holds, of which this module knows nothing.

use crate::digest::Digest;
use crate::image::archive::{Dialect, Warning};
use crate::image::config::Config;
use crate::image::manifest::{Descriptor, Platform};
use crate::image::reference::Reference;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Who wrote it, as far as its shape tells.
    pub dialect: Dialect,
    /// What it holds, in the order of `index.json`, then `manifest.json`.
    pub roots: Vec<Root>,
    /// What the user may want to know.
    pub warnings: Vec<Warning>,
}

/// An image, an image index or an artifact, with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its names; none, one or several, each once.
    pub references: Vec<Reference>,
    /// Its descriptor as given. `None` where a docker archive brought no
    /// manifest: `manifests` holds one, which is made once its layers are known.
    pub descriptor: Option<Descriptor>,
    /// The indexes from the root down, each once.
    pub indexes: Vec<Document>,
    /// The manifests below the root that the archive holds, each once, in the
    /// order of their indexes.
    pub manifests: Vec<FoundManifest>,
    /// Manifests and indexes that are listed below the root and not in the
    /// archive.
    pub not_shipped: Vec<Descriptor>,
    /// Manifests that say that they are about the root or something below it
    /// (`subject`), and are not below it themselves: signatures and the like.
    pub referrers: Vec<FoundManifest>,
    /// The images that an image was built on, one step each, nearest first, as far as
    /// the archive holds them. Those without a name are no roots.
    pub ancestors: Vec<FoundManifest>,
}

/// A small blob that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What its bytes hash to.
    pub digest: Digest,
    /// As its descriptor says, or else as it says itself.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a manifest is the manifest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image that can run: its config has a `rootfs`.
    Image,
    /// A statement about an image, as BuildKit puts beside it in an index.
    Attestation,
    /// Anything else.
    Artifact,
}

/// A manifest, or what a docker archive has in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundManifest {
    /// As given; `None` where it is still to be made.
    pub document: Option<Document>,
    /// What it is of.
    pub kind: ManifestKind,
    /// As its descriptor in an index says, or else as its config says.
    pub platform: Platform,
    /// Its config.
    pub config: FoundConfig,
    /// Its layers, lowest first.
    pub layers: Vec<FoundLayer>,
}

/// The config of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundConfig {
    /// Of an image, or of anything else whose config is a small document.
    Given {
        /// The config itself.
        document: Document,
        /// A view of it; empty where it is no image config.
        parsed: Config,
        /// The member that holds it.
        path: String,
    },
    /// A blob that is no small document, or isn't in the archive.
    Blob(FoundLayer),
    /// Of Docker before 1.10: the `json` of each layer, lowest first. The config
    /// is made from them once the diff IDs are known.
    V1(Vec<Vec<u8>>),
}

/// A layer, or another blob of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLayer {
    /// How messages call it: the member's path, or that of a missing one.
    pub path: String,
    /// As the manifest lists it; `None` where only a `manifest.json` does.
    pub descriptor: Option<Descriptor>,
    /// The digest that its plain tar must have; `None` where nothing says so.
    pub diff_id: Option<Digest>,
    /// Index of the member with the body, links followed; `None` if the archive
    /// doesn't hold it.
    pub member: Option<usize>,
    /// Whether it may be absent: a foreign or non-distributable layer.
    pub foreign: bool,
}
