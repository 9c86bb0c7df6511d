//! From what was found and taken in to revisions of a record.

use std::collections::HashSet;

use super::check::{manifests_of, own_manifests};
use super::read::is_listed;
use super::take::Taker;
use super::{SaveError, SavedImage};
use crate::catalog::RevisionRow;
use crate::digest::Digest;
use crate::image::{
    self, Compression, Config, Contents, Descriptor, Document, FoundConfig, FoundLayer,
    FoundManifest, Manifest, ManifestKind, Root as FoundRoot, make_manifest_of, make_v1_config,
    media_type,
};
use crate::store::record::{Ancestor, IndexedImage, Platform, Revision, Root};
use crate::varint::in_memory;

/// The largest manifest that is read to be compared.
const DOCUMENT_MAX: u64 = 8 << 20;

/// What is made of the roots of an archive.
#[derive(Default)]
pub(super) struct Revisions {
    /// Each root, and the place of its revision if one is to be written.
    pub(super) saved: Vec<(SavedImage, Option<usize>)>,
    pub(super) written: Vec<Revision>,
    /// All blobs that the roots need.
    pub(super) kept: HashSet<Digest>,
}

/// What an archive as a whole hashes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) digest: Digest,
    /// The compressed file around it.
    pub(super) file: Option<Digest>,
}

/// A root with its documents complete.
struct Made {
    root: Root,
    documents: Vec<Vec<u8>>,
    /// In order: of an image that came alone, one.
    images: Vec<MadeImage>,
    ancestors: Vec<Ancestor>,
    /// All blobs of all manifests that the archive or the store holds.
    blobs: Vec<Digest>,
}

struct MadeImage {
    indexed: IndexedImage,
    created: Option<String>,
    /// Digests and sizes of the contents of its layers.
    layers: Vec<(Digest, u64)>,
}

impl Taker<'_, '_> {
    /// Stores the documents of all roots and makes their revisions. `archive` is
    /// what the archive as a whole hashes to, if that is to be proven.
    pub(super) fn revisions(
        &mut self,
        contents: &Contents,
        archive: Option<Whole>,
    ) -> Result<Revisions, SaveError> {
        let mut all = Revisions::default();
        let mut counted = HashSet::new();
        for root in &contents.roots {
            let mut made = self.make(root)?;
            let (known, count) = self.known_blobs(own_manifests(root));
            let (all_known, all_count) = self.known_blobs(manifests_of(root));
            let mut complete = all_known == all_count;
            for bytes in &made.documents {
                complete &= self.session.blob(Digest::of(bytes))?.is_some();
            }
            let names = self.changed_names(root, &mut made, complete, archive)?;
            all.kept.extend(made.blobs.iter().copied());
            all.kept.extend(made.documents.iter().map(|bytes| Digest::of(bytes)));
            all.kept.insert(made.root.digest);
            let mut saved = made.saved(root, (known, count));
            saved.unchanged = names.is_none();
            let Some(references) = names else {
                all.saved.push((saved, None));
                continue;
            };
            let mut new = self.new_bytes(root, &mut counted);
            for bytes in &made.documents {
                new += self.session.put_bytes(bytes)?.new;
            }
            all.saved.push((saved, Some(all.written.len())));
            all.written.push(made.revision(root, references, new));
        }
        Ok(all)
    }

    /// How many layers manifests have, and how many of them the store had.
    fn known_blobs<'m>(&self, manifests: impl Iterator<Item = &'m FoundManifest>) -> (u64, u64) {
        let mut seen = HashSet::new();
        let (mut known, mut count) = (0, 0);
        for layer in manifests.flat_map(|manifest| &manifest.layers) {
            let Some(member) = layer.member else {
                count += 1;
                known += 1;
                continue;
            };
            let first = seen.insert(member);
            count += 1;
            known += u64::from(!first || self.taken.get(&member).is_none_or(|taken| taken.known));
        }
        (known, count)
    }

    /// Bytes that were new with this root, each member for the first that has it.
    fn new_bytes(&self, root: &FoundRoot, counted: &mut HashSet<usize>) -> u64 {
        let blobs = manifests_of(root).flat_map(|manifest| {
            let config = match &manifest.config {
                FoundConfig::Blob(blob) => Some(blob),
                _ => None,
            };
            config.into_iter().chain(&manifest.layers)
        });
        let members = blobs.filter_map(|blob| blob.member).filter(|member| counted.insert(*member));
        members.filter_map(|member| self.taken.get(&member)).map(|taken| taken.new).sum()
    }

    /// Completes the documents of a root.
    fn make(&mut self, root: &FoundRoot) -> Result<Made, SaveError> {
        let mut documents: Vec<Vec<u8>> =
            root.indexes.iter().map(|index| index.bytes.clone()).collect();
        let (mut images, mut blobs) = (Vec::new(), Vec::new());
        let mut descriptor = root.descriptor.as_ref().map(root_of);
        for manifest in own_manifests(root) {
            let config = self.config(manifest)?;
            let Some((its_root, bytes)) = self.document(manifest, config.as_ref())? else {
                continue;
            };
            let digest = its_root.digest;
            descriptor.get_or_insert(its_root);
            documents.push(bytes);
            self.list_blobs(manifest, &mut blobs)?;
            let Some(config) = config else { continue };
            if manifest.kind == ManifestKind::Image
                && images.iter().all(|image: &MadeImage| image.indexed.manifest != digest)
            {
                images.push(self.image(manifest, digest, &config)?);
            }
            documents.push(config.bytes);
        }
        let mut ancestors = Vec::new();
        for manifest in &root.ancestors {
            let Some(config) = self.config(manifest)? else { break };
            let Some((root, bytes)) = self.document(manifest, Some(&config))? else { break };
            ancestors.push(Ancestor { root, image_id: config.digest });
            documents.extend([bytes, config.bytes]);
            self.list_blobs(manifest, &mut blobs)?;
        }
        let root = descriptor.ok_or(SaveError::Image(image::Error::NoImages))?;
        Ok(Made { root, documents, images, ancestors, blobs })
    }

    /// A manifest as given, or else made.
    fn document(
        &mut self,
        manifest: &FoundManifest,
        config: Option<&Document>,
    ) -> Result<Option<(Root, Vec<u8>)>, SaveError> {
        let (media_type, bytes) = match (&manifest.document, config) {
            (Some(document), _) => (document.media_type.as_str(), document.bytes.clone()),
            (None, Some(config)) => {
                (media_type::OCI_MANIFEST, self.manifest_for(manifest, config)?)
            }
            (None, None) => return Ok(None),
        };
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Ok(Some((Root { media_type: media_type.to_owned(), digest, size }, bytes)))
    }

    /// A manifest's config, where it is a document.
    fn config(&self, manifest: &FoundManifest) -> Result<Option<Document>, SaveError> {
        match &manifest.config {
            FoundConfig::Given { document, .. } => Ok(Some(document.clone())),
            FoundConfig::Blob(_) => Ok(None),
            FoundConfig::V1(jsons) => {
                let diff_ids: Vec<Digest> =
                    manifest.layers.iter().filter_map(|layer| self.content(layer)).collect();
                let bytes = make_v1_config(jsons, &diff_ids)?;
                let media_type = media_type::OCI_CONFIG.to_owned();
                Ok(Some(Document { digest: Digest::of(&bytes), media_type, bytes }))
            }
        }
    }

    /// The digest of a layer's content, as far as it is known.
    fn content(&self, layer: &FoundLayer) -> Option<Digest> {
        let taken = layer.member.and_then(|member| self.taken.get(&member));
        taken.and_then(|taken| taken.content).or(layer.diff_id)
    }

    /// The manifest of an image that came without one: its layers as they came.
    fn manifest_for(
        &mut self,
        manifest: &FoundManifest,
        config: &Document,
    ) -> Result<Vec<u8>, SaveError> {
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            layers.push(self.listed(layer)?);
        }
        Ok(make_manifest_of(config.digest, config.bytes.len() as u64, &layers))
    }

    fn listed(&mut self, layer: &FoundLayer) -> Result<Descriptor, SaveError> {
        if let Some(descriptor) = &layer.descriptor {
            return Ok(descriptor.clone());
        }
        let taken = layer.member.and_then(|member| self.taken.get(&member));
        if let Some(taken) = taken.filter(|taken| is_listed(taken.compression)) {
            let media_type = match taken.compression {
                Some(Compression::Gzip) => media_type::OCI_LAYER_GZIP,
                Some(Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
                _ => media_type::OCI_LAYER,
            };
            return Ok(Descriptor::new(media_type, taken.given, taken.size));
        }
        let digest = self.content(layer);
        let digest = digest.ok_or_else(|| SaveError::Absent { path: layer.path.clone() })?;
        let size = self.session.blob(digest)?.unwrap_or_default();
        Ok(Descriptor::new(media_type::OCI_LAYER, digest, size))
    }

    /// Adds the blobs of a manifest, documents aside, and what is in them.
    fn list_blobs(
        &mut self,
        manifest: &FoundManifest,
        blobs: &mut Vec<Digest>,
    ) -> Result<(), SaveError> {
        if let FoundConfig::Blob(blob) = &manifest.config {
            blobs.extend(blob.descriptor.as_ref().map(|descriptor| descriptor.digest));
        }
        for layer in &manifest.layers {
            if layer.member.is_none() && layer.foreign {
                continue;
            }
            blobs.push(self.listed(layer)?.digest);
            blobs.extend(self.content(layer));
        }
        Ok(())
    }

    fn image(
        &mut self,
        manifest: &FoundManifest,
        digest: Digest,
        config: &Document,
    ) -> Result<MadeImage, SaveError> {
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            let listed = self.listed(layer)?;
            let content = self.content(layer).unwrap_or(listed.digest);
            let size = self.session.blob(content)?.unwrap_or(listed.size);
            layers.push((content, size));
        }
        let parsed = match &manifest.config {
            FoundConfig::Given { parsed, .. } => parsed.clone(),
            _ => Config::parse(&config.bytes).unwrap_or_default(),
        };
        let given = &manifest.platform;
        let text = |given: &str, own: Option<String>| {
            if given.is_empty() { own.unwrap_or_default() } else { given.to_owned() }
        };
        let platform = Platform {
            os: text(&given.os, parsed.os),
            architecture: text(&given.architecture, parsed.architecture),
            variant: given.variant.clone().or(parsed.variant).filter(|it| !it.is_empty()),
        };
        let indexed = IndexedImage {
            manifest: digest,
            image_id: config.digest,
            platform,
            layers: layers.len() as u64,
            size: layers.iter().map(|(_, size)| size).sum(),
        };
        Ok(MadeImage { indexed, created: parsed.created, layers })
    }

    /// The names under which the root is not the newest revision; `None` where it
    /// is under all of them. What isn't `complete` in the store is saved again,
    /// and so is an archive as a whole that isn't proven there and should be.
    fn changed_names(
        &self,
        root: &FoundRoot,
        made: &mut Made,
        complete: bool,
        archive: Option<Whole>,
    ) -> Result<Option<Vec<String>>, SaveError> {
        let catalog = self.session.store().catalog();
        if root.references.is_empty() {
            let image = made.main().map_or(made.root.digest, |image| image.indexed.image_id);
            let newest = catalog.unnamed_revision(image, &made.platforms())?;
            let same = self.is_same(root, made, newest.as_ref(), archive)?;
            return Ok((!same || !complete).then(Vec::new));
        }
        let mut changed = Vec::new();
        for reference in &root.references {
            let newest = catalog.revision(reference.repository(), reference.tag(), 0)?;
            if !self.is_same(root, made, newest.as_ref(), archive)? || !complete {
                changed.push(reference.to_string());
            }
        }
        Ok((!changed.is_empty()).then_some(changed))
    }

    /// Whether a revision is of this root, and has all that it was built on. For an
    /// image that came without a manifest, any one will do that lists the same.
    fn is_same(
        &self,
        root: &FoundRoot,
        made: &mut Made,
        newest: Option<&RevisionRow>,
        archive: Option<Whole>,
    ) -> Result<bool, SaveError> {
        let store = self.session.store();
        let Some(newest) = newest else { return Ok(false) };
        if let Some(whole) = archive {
            let record = store.record(newest.record)?;
            let proven = record.archive.map(|archive| (archive.digest, archive.file));
            let removed = store.catalog().removed_in(newest.record)?;
            if proven != Some((Some(whole.digest), whole.file)) || !removed.is_empty() {
                return Ok(false);
            }
        }
        if !made.ancestors.is_empty() {
            let record = store.record(newest.record)?;
            let newest = record.revisions.get(in_memory(newest.position));
            let theirs = newest.map_or(&[][..], |newest| &newest.ancestors);
            let known = |one: &Ancestor| theirs.iter().any(|it| it.image_id == one.image_id);
            if !made.ancestors.iter().all(known) {
                return Ok(false);
            }
        }
        if newest.root == made.root.digest {
            return Ok(true);
        }
        let main = made.main().map(|image| image.indexed.image_id);
        if root.descriptor.is_some() || main != Some(newest.image_id) {
            return Ok(false);
        }
        let Ok(bytes) = store.read_blob(newest.root, DOCUMENT_MAX) else { return Ok(false) };
        let Ok(theirs) = Manifest::parse(&bytes) else { return Ok(false) };
        let ours = made.documents.iter().find(|bytes| Digest::of(bytes) == made.root.digest);
        let ours = ours.and_then(|bytes| Manifest::parse(bytes).ok());
        let digests = |manifest: &Manifest| -> Vec<Digest> {
            manifest.layers.iter().map(|layer| layer.digest).collect()
        };
        let same = ours.is_some_and(|ours| digests(&ours) == digests(&theirs));
        if same {
            made.root.digest = newest.root;
        }
        Ok(same)
    }
}

impl Made {
    /// The image that stands for all: that for linux/amd64, or else the first.
    fn main(&self) -> Option<&MadeImage> {
        let is_usual = |image: &&MadeImage| image.indexed.platform.to_string() == "linux/amd64";
        self.images.iter().find(is_usual).or(self.images.first())
    }

    fn is_index(&self) -> bool {
        media_type::is_index(&self.root.media_type)
    }

    fn indexed(&self) -> Vec<IndexedImage> {
        if !self.is_index() {
            return Vec::new();
        }
        self.images.iter().map(|image| image.indexed.clone()).collect()
    }

    fn platforms(&self) -> String {
        self.revision_of(Vec::new(), Vec::new(), Vec::new(), 0).platforms()
    }

    /// Count and size of the layers of all images, each once.
    fn layers(&self) -> (u64, u64) {
        let mut seen = HashSet::new();
        let all = self.images.iter().flat_map(|image| &image.layers);
        if !self.is_index() {
            return all.fold((0, 0), |(count, sum), (_, size)| (count + 1, sum + size));
        }
        let once = all.filter(|(digest, _)| seen.insert(*digest));
        once.fold((0, 0), |(count, sum), (_, size)| (count + 1, sum + size))
    }

    fn saved(&self, root: &FoundRoot, (known, count): (u64, u64)) -> SavedImage {
        SavedImage {
            references: root.references.clone(),
            image_id: self.main().map_or(self.root.digest, |image| image.indexed.image_id),
            root: self.root.digest,
            platforms: self.platforms(),
            layers: count,
            layers_known: known,
            size: self.layers().1,
            added: 0,
            unchanged: false,
        }
    }

    fn revision(&self, root: &FoundRoot, references: Vec<String>, new: u64) -> Revision {
        let referrers = root.referrers.iter().filter_map(|manifest| {
            let document = manifest.document.as_ref()?;
            Some(Root {
                media_type: document.media_type.clone(),
                digest: document.digest,
                size: document.bytes.len() as u64,
            })
        });
        let absent = manifests_of(root)
            .flat_map(|manifest| &manifest.layers)
            .filter(|layer| layer.foreign && layer.member.is_none());
        let absent = absent.filter_map(|layer| layer.descriptor.as_ref());
        let not_shipped = root.not_shipped.iter().chain(absent);
        let mut not_shipped: Vec<Digest> =
            not_shipped.map(|descriptor| descriptor.digest).collect();
        let mut seen = HashSet::new();
        not_shipped.retain(|digest| seen.insert(*digest));
        self.revision_of(references, referrers.collect(), not_shipped, new)
    }

    fn revision_of(
        &self,
        references: Vec<String>,
        referrers: Vec<Root>,
        not_shipped: Vec<Digest>,
        added: u64,
    ) -> Revision {
        let main = self.main();
        let (layers, size) = self.layers();
        Revision {
            root: self.root.clone(),
            image_id: main.map_or(self.root.digest, |image| image.indexed.image_id),
            platform: main.map(|image| image.indexed.platform.clone()).unwrap_or_default(),
            images: self.indexed(),
            referrers,
            ancestors: self.ancestors.clone(),
            references,
            not_shipped,
            created: main.and_then(|image| image.created.clone()),
            layers,
            size,
            added,
        }
    }
}

fn root_of(descriptor: &Descriptor) -> Root {
    Root {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest,
        size: descriptor.size,
    }
}
