//! `inspect`: all that the store knows of one image.

use super::gather::{Gathered, GatheredManifest, Gatherer};
use super::resolve::Resolved;
use crate::catalog::ReferenceRow;
use crate::digest::Digest;
use crate::store::record::{IndexedImage, Root};
use crate::store::{Result, Store};

/// One image in full. Of an index, the image that was asked for, or else the one
/// that stands for it.
#[derive(Debug)]
pub struct Inspected {
    /// All names of the revision.
    pub references: Vec<ReferenceRow>,
    /// The revision.
    pub resolved: Resolved,
    /// The bytes of the index, where the root is one.
    pub index: Option<Vec<u8>>,
    /// The bytes of the manifest; none where nothing that an index lists is there.
    pub manifest: Option<Vec<u8>>,
    /// The bytes of the config, where it is an image's.
    pub config: Option<Vec<u8>>,
    /// Of an index, its images that were saved.
    pub images: Vec<IndexedImage>,
    /// Manifests about the root, or about what is below it.
    pub referrers: Vec<Root>,
    /// Image IDs of what it was built on, nearest first.
    pub ancestors: Vec<Digest>,
    /// What is listed below the root and was not in the archive.
    pub not_shipped: Vec<Digest>,
    /// Lowest first.
    pub layers: Vec<InspectedLayer>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct InspectedLayer {
    /// Digest of the blob.
    pub digest: Digest,
    /// As the manifest says.
    pub media_type: String,
    /// Digest of its tar; only images say it.
    pub diff_id: Option<Digest>,
    /// Bytes of its tar, or else of the blob.
    pub size: u64,
    /// Its share of the stored bytes: chunks that other layers use as well
    /// count for each.
    pub stored: u64,
}

/// Reads an image's documents and measures its layers.
pub fn inspect(store: &Store, resolved: Resolved) -> Result<Inspected> {
    let gathered = Gatherer::new(store).read(&resolved)?;
    let manifest = chosen(&gathered, &resolved);
    let mut layers = Vec::new();
    for layer in manifest.map(|manifest| manifest.layers.as_slice()).unwrap_or_default() {
        let descriptor = &layer.descriptor;
        layers.push(InspectedLayer {
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
            diff_id: layer.diff_id,
            size: layer.plain_size(store)?,
            stored: if layer.stored { store.stored_bytes(descriptor.digest)? } else { 0 },
        });
    }
    let references = store.catalog().references_of(&resolved.revision)?;
    let (images, referrers, ancestors, not_shipped) = gathered
        .recorded
        .clone()
        .map(|it| (it.images, it.referrers, it.ancestors, it.not_shipped))
        .unwrap_or_default();
    Ok(Inspected {
        references,
        images,
        referrers,
        ancestors: ancestors.into_iter().map(|ancestor| ancestor.image_id).collect(),
        not_shipped,
        index: gathered.indexes.first().map(|(_, bytes)| bytes.clone()),
        manifest: manifest.map(|manifest| manifest.bytes.clone()),
        config: manifest.and_then(|it| it.config.as_ref()).map(|(bytes, _)| bytes.clone()),
        layers,
        resolved,
    })
}

/// The image that was asked for, or else the one that the revision is shown as.
fn chosen<'g>(gathered: &'g Gathered, resolved: &Resolved) -> Option<&'g GatheredManifest> {
    let asked = |it: &&GatheredManifest| Some(it.descriptor.digest) == resolved.manifest;
    let shown = |it: &&GatheredManifest| it.manifest.config.digest == resolved.revision.image_id;
    let all = || gathered.manifests.iter();
    all().find(asked).or_else(|| all().find(shown)).or_else(|| all().next())
}
