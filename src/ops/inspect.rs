//! `inspect`: all that the store knows of one image.

use super::gather::{Gathered, GatheredManifest, recorded};
use super::resolve::Resolved;
use crate::catalog::ReferenceRow;
use crate::digest::Digest;
use crate::store::record::{IndexedImage, Root};
use crate::store::{Result, Store};

/// One image in full.
#[derive(Debug)]
pub struct Inspected {
    /// All names of the revision.
    pub references: Vec<ReferenceRow>,
    /// The revision.
    pub resolved: Resolved,
    /// The bytes of the config, if it is that of an image: of an index, of the image
    /// that was asked for, or else of the one that stands for all.
    pub config: Option<Vec<u8>>,
    /// The bytes of the root.
    pub manifest: Vec<u8>,
    /// Of the image whose config it is; lowest first.
    pub layers: Vec<InspectedLayer>,
    /// Of an index, its images that were saved.
    pub images: Vec<IndexedImage>,
    /// Manifests about the root, or about what is below it.
    pub referrers: Vec<Root>,
    /// What is listed below the root and was not in the archive.
    pub not_shipped: Vec<Digest>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct InspectedLayer {
    /// As the manifest lists it.
    pub digest: Digest,
    /// Likewise.
    pub media_type: String,
    /// Digest of its plain tar.
    pub diff_id: Option<Digest>,
    /// Bytes of its plain tar, or else of what is listed.
    pub size: u64,
    /// Its share of the stored bytes: chunks that other layers use as well
    /// count for each. 0 if it isn't there.
    pub stored: u64,
}

/// Reads an image's documents and measures its layers.
pub fn inspect(store: &Store, resolved: Resolved) -> Result<Inspected> {
    let gathered = Gathered::read(store, &resolved)?;
    let asked = resolved.manifest;
    let wanted = |manifest: &&GatheredManifest| match asked {
        Some(asked) => manifest.descriptor.digest == asked,
        None => manifest.manifest.config.digest == resolved.revision.image_id,
    };
    let shown = gathered.manifests.iter().find(wanted);
    let mut layers = Vec::new();
    for layer in shown.iter().flat_map(|manifest| &manifest.layers) {
        let digest = layer.descriptor.digest;
        let plain = layer.diff_id.map(|digest| store.catalog().blob(digest)).transpose()?.flatten();
        layers.push(InspectedLayer {
            digest,
            media_type: layer.descriptor.media_type.clone(),
            diff_id: layer.diff_id,
            size: plain.map_or(layer.descriptor.size, |row| row.size),
            stored: if layer.stored { store.stored_bytes(digest)? } else { 0 },
        });
    }
    let config =
        shown.and_then(|manifest| manifest.config.as_ref()).map(|(bytes, _)| bytes.clone());
    let index = gathered.indexes.first().map(|(_, bytes)| bytes);
    let root = index.or(gathered.manifests.first().map(|manifest| &manifest.bytes));
    let manifest = root.cloned().unwrap_or_default();
    let references = store.catalog().references_of(&resolved.revision)?;
    let revision = recorded(store, &resolved.revision)?;
    let (images, referrers, not_shipped) = revision
        .map(|revision| (revision.images, revision.referrers, revision.not_shipped))
        .unwrap_or_default();
    Ok(Inspected { references, resolved, config, manifest, layers, images, referrers, not_shipped })
}
