//! All that the store has of a revision: its root, what is below it, and what is
//! about it.
//!
//! Documents are read into memory, layers are only named. What a root lists and its
//! archive didn't hold is `absent`, whatever else is in the store, so that the same
//! revision always is the same. All else must be there; whoever reads it finds out.

use std::collections::HashSet;

use super::resolve::Resolved;
use crate::catalog::RevisionRow;
use crate::digest::{Digest, Id};
use crate::image::{Config, Descriptor, Index, Manifest, ManifestKind, Platform, media_type};
use crate::store::record::{Revision, Root, SaveRecord};
use crate::store::{Result, Store, StoreError};
use crate::varint::in_memory;

/// The largest document that is read into memory.
pub(super) const DOCUMENT_MAX: u64 = 8 << 20;
/// How deep indexes stand in indexes. Archives are read to a depth of 8.
const DEPTH_MAX: usize = 10;

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
    /// What is listed and was not in the archive, in whole or in part.
    pub(super) absent: Vec<Descriptor>,
    /// Manifests that are about the root or something below it.
    pub(super) referrers: Vec<GatheredManifest>,
    /// The images that an image was built on, each by the one before, nearest first.
    pub(super) ancestors: Vec<GatheredManifest>,
    /// What its record says; `None` where that is damaged, so that referrers and
    /// ancestors can't be known.
    pub(super) recorded: Option<Revision>,
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
    /// Whether the archive held the blob.
    pub(super) stored: bool,
}

/// Reads what belongs to revisions, one after the other.
#[derive(Debug)]
pub(super) struct Gatherer<'s> {
    store: &'s Store,
    /// The record that was read last: often the next revision is in it as well.
    record: Option<(Id, SaveRecord)>,
    /// What the revision's archive didn't hold, where its record says so.
    not_shipped: Option<HashSet<Digest>>,
}

impl<'s> Gatherer<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self { store, record: None, not_shipped: None }
    }

    /// Reads what belongs to a revision.
    pub(super) fn read(&mut self, resolved: &Resolved) -> Result<Gathered> {
        let revision = &resolved.revision;
        let recorded = self.consult_record(revision)?;
        let not_shipped = |it: &Revision| it.not_shipped.iter().copied().collect();
        self.not_shipped = recorded.as_ref().map(not_shipped);
        let (referrers, ancestors) = recorded
            .as_ref()
            .map(|it| (it.referrers.clone(), it.ancestors.clone()))
            .unwrap_or_default();
        let root = Descriptor::new(&revision.root_type, revision.root, revision.root_size);
        let mut gathered = Gathered {
            root: root.clone(),
            indexes: Vec::new(),
            manifests: Vec::new(),
            absent: Vec::new(),
            referrers: Vec::new(),
            ancestors: Vec::new(),
            recorded,
        };
        for referrer in referrers {
            if let (manifest, true) = self.recorded(&referrer)? {
                gathered.referrers.push(manifest);
            }
        }
        for ancestor in ancestors {
            gathered.ancestors.push(self.recorded(&ancestor.root)?.0);
        }
        let bytes = self.store.read_blob(revision.root, DOCUMENT_MAX)?;
        if is_index(&revision.root_type, &bytes) {
            self.descend(&mut gathered, revision.root, bytes, &mut HashSet::new(), 0)?;
            return Ok(gathered);
        }
        let (manifest, whole) = self.manifest(root, bytes)?;
        if !whole {
            let layers = manifest.layers.iter().filter(|layer| !layer.stored);
            let missing = layers.map(|layer| layer.descriptor.digest).next();
            let digest = missing.unwrap_or(manifest.manifest.config.digest);
            return Err(StoreError::NoBlob { digest });
        }
        gathered.manifests.push(manifest);
        Ok(gathered)
    }

    /// The record of a save, most likely that of the revision which was read last.
    pub(super) fn save(&mut self, id: Id) -> Result<&SaveRecord> {
        let record = match self.record.take().filter(|(known, _)| *known == id) {
            Some((_, record)) => record,
            None => self.store.record(id)?,
        };
        Ok(&self.record.insert((id, record)).1)
    }

    /// What the record says of a revision; `None` where it is damaged. Then the
    /// catalog must do.
    fn consult_record(&mut self, revision: &RevisionRow) -> Result<Option<Revision>> {
        let id = revision.record;
        let record = match self.record.take().filter(|(known, _)| *known == id) {
            Some((_, record)) => record,
            None => match self.store.record(id) {
                Err(error) if error.is_damage() => return Ok(None),
                record => record?,
            },
        };
        let recorded = record.revisions.get(in_memory(revision.position)).cloned();
        self.record = Some((id, record));
        Ok(recorded)
    }

    /// Whether the archive didn't hold a blob.
    fn lacks(&self, digest: Digest) -> Result<bool> {
        match &self.not_shipped {
            Some(not_shipped) => Ok(not_shipped.contains(&digest)),
            None => Ok(self.store.catalog().blob(digest)?.is_none()),
        }
    }

    /// Reads a manifest that a record names; also says whether all that it lists is
    /// there.
    fn recorded(&self, root: &Root) -> Result<(GatheredManifest, bool)> {
        let bytes = self.store.read_blob(root.digest, DOCUMENT_MAX)?;
        self.manifest(Descriptor::new(&root.media_type, root.digest, root.size), bytes)
    }

    /// Reads an index and what it lists.
    fn descend(
        &self,
        gathered: &mut Gathered,
        digest: Digest,
        bytes: Vec<u8>,
        seen: &mut HashSet<Digest>,
        depth: usize,
    ) -> Result<()> {
        let index = Index::parse(&bytes).map_err(|source| damaged(digest, source))?;
        gathered.indexes.push((digest, bytes));
        if depth > DEPTH_MAX {
            let need = format!("more than {DEPTH_MAX} indexes in one another");
            return Err(StoreError::Unsupported { thing: format!("index {digest}"), need });
        }
        for child in index.manifests {
            if !seen.insert(child.digest) {
                continue;
            }
            if self.lacks(child.digest)? {
                gathered.absent.push(child);
                continue;
            }
            let bytes = self.store.read_blob(child.digest, DOCUMENT_MAX)?;
            if is_index(&child.media_type, &bytes) {
                self.descend(gathered, child.digest, bytes, seen, depth + 1)?;
                continue;
            }
            match self.manifest(child.clone(), bytes)? {
                (manifest, true) => gathered.manifests.push(manifest),
                (_, false) => gathered.absent.push(child),
            }
        }
        Ok(())
    }

    /// Reads a manifest; also says whether all that it lists is there.
    fn manifest(&self, descriptor: Descriptor, bytes: Vec<u8>) -> Result<(GatheredManifest, bool)> {
        let failed = |source| damaged(descriptor.digest, source);
        let manifest = Manifest::parse(&bytes).map_err(failed)?;
        let mut whole = !self.lacks(manifest.config.digest)?;
        let mut config = None;
        if whole && manifest.config.size <= DOCUMENT_MAX {
            let bytes = self.store.read_blob(manifest.config.digest, DOCUMENT_MAX)?;
            let parsed = Config::parse(&bytes).ok().filter(|config| config.rootfs.is_some());
            config = parsed.map(|parsed| (bytes, parsed));
        }
        let diff_ids = config.as_ref().map(|(_, config)| config.diff_ids()).unwrap_or_default();
        let kind = kind(&descriptor, config.is_some());
        let mut layers = Vec::new();
        for (at, layer) in manifest.layers.iter().enumerate() {
            let stored = !self.lacks(layer.digest)?;
            whole &= stored || media_type::is_foreign(&layer.media_type);
            let diff_id = diff_ids.get(at).copied();
            layers.push(GatheredLayer { descriptor: layer.clone(), diff_id, stored });
        }
        // A config that lists other layers can't say what ours are.
        if diff_ids.len() != layers.len() {
            for layer in &mut layers {
                layer.diff_id = None;
            }
        }
        Ok((GatheredManifest { descriptor, bytes, manifest, kind, config, layers }, whole))
    }
}

impl Gathered {
    /// Whether the root is an index.
    pub(super) fn is_index(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// All manifests: those below the root, those about it, and those that it was
    /// built on.
    pub(super) fn all(&self) -> impl Iterator<Item = &GatheredManifest> {
        self.manifests.iter().chain(&self.referrers).chain(&self.ancestors)
    }

    /// The images that can run.
    pub(super) fn images(&self) -> impl Iterator<Item = &GatheredManifest> {
        self.manifests.iter().filter(|manifest| manifest.kind == ManifestKind::Image)
    }
}

impl GatheredLayer {
    /// The diff ID, or else the digest of the blob.
    pub(super) fn plain_digest(&self) -> Digest {
        self.diff_id.unwrap_or(self.descriptor.digest)
    }

    /// Bytes of its tar, or else of the blob.
    pub(super) fn plain_size(&self, store: &Store) -> Result<u64> {
        let plain = store.catalog().blob(self.plain_digest())?;
        Ok(plain.map_or(self.descriptor.size, |plain| plain.size))
    }
}

impl GatheredManifest {
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
