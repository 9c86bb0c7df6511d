//! All that the store has of a revision: its root, what is below it, and what is
//! about it.
//!
//! Documents are read into memory, layers are only named. A manifest counts as
//! there if all of its blobs are, but for layers that are meant to be elsewhere.
//! What a root lists and the store lacks is `absent`, and no error: archives
//! often hold one image of an index.

use std::collections::HashSet;

use super::resolve::Resolved;
use crate::catalog::RevisionRow;
use crate::digest::Digest;
use crate::image::{Config, Descriptor, Index, Manifest, ManifestKind, Platform, media_type};
use crate::store::record::Revision;
use crate::store::{Result, Store, StoreError};
use crate::varint::in_memory;

/// The largest document that is read into memory.
pub(super) const DOCUMENT_MAX: u64 = 8 << 20;
/// Indexes in indexes; nobody nests them deeper.
const DEPTH_MAX: usize = 4;

/// What BuildKit says of the manifests of its attestations.
const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");
/// And which manifest they speak of.
pub(super) const ATTESTED: &str = "vnd.docker.reference.digest";

/// A revision with all that belongs to it.
#[derive(Debug)]
pub(super) struct Gathered {
    /// What the root is.
    pub(super) root: Descriptor,
    /// The indexes from the root down: digests and bytes.
    pub(super) indexes: Vec<(Digest, Vec<u8>)>,
    /// The manifests that are there, each once, in the order of their indexes.
    pub(super) manifests: Vec<GatheredManifest>,
    /// What is listed and not there, in whole or in part.
    pub(super) absent: Vec<Descriptor>,
    /// Manifests that are about the root or something below it.
    pub(super) referrers: Vec<GatheredManifest>,
}

/// A manifest and what it lists.
#[derive(Debug, Clone)]
pub(super) struct GatheredManifest {
    /// As its index lists it.
    pub(super) descriptor: Descriptor,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// A view of them.
    pub(super) manifest: Manifest,
    /// What it is of.
    pub(super) kind: ManifestKind,
    /// The config of an image, with a view of it.
    pub(super) config: Option<(Vec<u8>, Config)>,
    /// Its layers, lowest first.
    pub(super) layers: Vec<GatheredLayer>,
}

/// A layer of a manifest.
#[derive(Debug, Clone)]
pub(super) struct GatheredLayer {
    /// As its manifest lists it.
    pub(super) descriptor: Descriptor,
    /// Digest of its plain tar, as the config says; only images have them.
    pub(super) diff_id: Option<Digest>,
    /// Whether the store has the blob.
    pub(super) stored: bool,
}

impl Gathered {
    /// Reads what belongs to a revision.
    pub(super) fn read(store: &Store, resolved: &Resolved) -> Result<Self> {
        let revision = &resolved.revision;
        let root = Descriptor::new(&revision.root_type, revision.root, revision.root_size);
        let mut gathered = Self {
            root: root.clone(),
            indexes: Vec::new(),
            manifests: Vec::new(),
            absent: Vec::new(),
            referrers: Vec::new(),
        };
        let recorded = recorded(store, revision)?;
        for referrer in recorded.iter().flat_map(|recorded| &recorded.referrers) {
            let bytes = store.read_blob(referrer.digest, DOCUMENT_MAX)?;
            let given = Descriptor::new(&referrer.media_type, referrer.digest, referrer.size);
            if let (manifest, true) = GatheredManifest::read(store, given, bytes)? {
                gathered.referrers.push(manifest);
            }
        }
        let bytes = store.read_blob(revision.root, DOCUMENT_MAX)?;
        if is_index(&revision.root_type, &bytes) {
            gathered.descend(store, revision.root, bytes, &mut HashSet::new(), 0)?;
            return Ok(gathered);
        }
        let (manifest, whole) = GatheredManifest::read(store, root, bytes)?;
        if !whole {
            let layers = manifest.layers.iter().filter(|layer| !layer.stored);
            let missing = layers.map(|layer| layer.descriptor.digest).next();
            let digest = missing.unwrap_or(manifest.manifest.config.digest);
            return Err(StoreError::NoBlob { digest });
        }
        // A manifest may say what it is, where the revision doesn't.
        if let Some(own) = &manifest.manifest.media_type {
            gathered.root.media_type.clone_from(own);
        }
        gathered.manifests.push(manifest);
        Ok(gathered)
    }

    /// Reads an index and what it lists.
    fn descend(
        &mut self,
        store: &Store,
        digest: Digest,
        bytes: Vec<u8>,
        seen: &mut HashSet<Digest>,
        depth: usize,
    ) -> Result<()> {
        let index = Index::parse(&bytes).map_err(|source| damaged(digest, source))?;
        self.indexes.push((digest, bytes));
        for child in index.manifests {
            if !seen.insert(child.digest) {
                continue;
            }
            let small = child.size <= DOCUMENT_MAX && depth < DEPTH_MAX;
            if !small || !is_listed(store, child.digest)? {
                self.absent.push(child);
                continue;
            }
            let bytes = store.read_blob(child.digest, DOCUMENT_MAX)?;
            if is_index(&child.media_type, &bytes) {
                self.descend(store, child.digest, bytes, seen, depth + 1)?;
                continue;
            }
            match GatheredManifest::read(store, child.clone(), bytes)? {
                (manifest, true) => self.manifests.push(manifest),
                (_, false) => self.absent.push(child),
            }
        }
        Ok(())
    }

    /// The layers of all manifests.
    pub(super) fn layers(&self) -> impl Iterator<Item = &GatheredLayer> {
        self.manifests.iter().chain(&self.referrers).flat_map(|manifest| &manifest.layers)
    }

    /// All blobs that belong to the revision and are there.
    pub(super) fn blobs(&self) -> Vec<Digest> {
        let mut blobs: Vec<Digest> = self.indexes.iter().map(|(digest, _)| *digest).collect();
        for manifest in self.manifests.iter().chain(&self.referrers) {
            blobs.extend([manifest.descriptor.digest, manifest.manifest.config.digest]);
        }
        let stored = self.layers().filter(|layer| layer.stored);
        blobs.extend(stored.map(|layer| layer.descriptor.digest));
        blobs
    }

    /// Whether the root is an index.
    pub(super) fn is_index(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// The images that can run.
    pub(super) fn images(&self) -> impl Iterator<Item = &GatheredManifest> {
        self.manifests.iter().filter(|manifest| manifest.kind == ManifestKind::Image)
    }
}

impl GatheredManifest {
    /// Reads a manifest; also says whether all that it lists is there.
    fn read(store: &Store, descriptor: Descriptor, bytes: Vec<u8>) -> Result<(Self, bool)> {
        let failed = |source| damaged(descriptor.digest, source);
        let manifest = Manifest::parse(&bytes).map_err(failed)?;
        let mut whole = is_listed(store, manifest.config.digest)?;
        let mut config = None;
        if whole && manifest.config.size <= DOCUMENT_MAX {
            let bytes = store.read_blob(manifest.config.digest, DOCUMENT_MAX)?;
            let parsed = Config::parse(&bytes).ok().filter(|config| config.rootfs.is_some());
            config = parsed.map(|parsed| (bytes, parsed));
        }
        let diff_ids = config.as_ref().map(|(_, config)| config.diff_ids()).unwrap_or_default();
        let kind = kind(&descriptor, config.is_some());
        let mut layers = Vec::new();
        for (at, layer) in manifest.layers.iter().enumerate() {
            let stored = is_listed(store, layer.digest)?;
            whole &= stored || is_foreign(&layer.media_type);
            let diff_id = diff_ids.get(at).copied();
            layers.push(GatheredLayer { descriptor: layer.clone(), diff_id, stored });
        }
        // A config that lists other layers can't say what ours are.
        if diff_ids.len() != layers.len() {
            for layer in &mut layers {
                layer.diff_id = None;
            }
        }
        Ok((Self { descriptor, bytes, manifest, kind, config, layers }, whole))
    }

    /// What the image runs on: as its index says, or else its config.
    pub(super) fn platform(&self) -> Platform {
        let listed = self.descriptor.platform.clone();
        listed.filter(|platform| !platform.os.is_empty()).unwrap_or_else(|| {
            let config = self.config.as_ref().map(|(_, config)| config);
            let of = |field: fn(&Config) -> &Option<String>| config.and_then(|c| field(c).clone());
            Platform {
                os: of(|config| &config.os).unwrap_or_default(),
                architecture: of(|config| &config.architecture).unwrap_or_default(),
                variant: of(|config| &config.variant).filter(|variant| !variant.is_empty()),
                ..Platform::default()
            }
        })
    }
}

/// What the record says of a revision; `None` where that can't be read any more,
/// since images are whole without it.
pub(super) fn recorded(store: &Store, revision: &RevisionRow) -> Result<Option<Revision>> {
    match store.record(revision.record) {
        Ok(record) => Ok(record.revisions.into_iter().nth(in_memory(revision.position))),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the store ever had it. If it is damaged, reading it says how.
fn is_listed(store: &Store, digest: Digest) -> Result<bool> {
    Ok(store.catalog().blob(digest)?.is_some())
}

fn damaged(digest: Digest, source: serde_json::Error) -> StoreError {
    StoreError::Json { what: "image", path: digest.hex().into(), source }
}

/// By its media type, or else by what it holds.
fn is_index(media_type: &str, bytes: &[u8]) -> bool {
    if media_type::is_index(media_type) || media_type::is_manifest(media_type) {
        return media_type::is_index(media_type);
    }
    Index::parse(bytes).is_ok_and(|index| !index.manifests.is_empty())
}

fn kind(descriptor: &Descriptor, is_image: bool) -> ManifestKind {
    let (key, value) = ATTESTATION;
    if descriptor.annotations.get(key).is_some_and(|found| found == value) {
        ManifestKind::Attestation
    } else if is_image {
        ManifestKind::Image
    } else {
        ManifestKind::Artifact
    }
}

/// Whether a layer is meant to be fetched from elsewhere.
fn is_foreign(media_type: &str) -> bool {
    media_type.contains("nondistributable") || media_type.contains(".foreign.")
}
