//! `inspect`: all that the store knows of one image.

use super::resolve::Resolved;
use crate::catalog::ReferenceRow;
use crate::digest::Digest;
use crate::image::{Config, Manifest};
use crate::store::{Result, Store, StoreError};

/// The largest config or manifest that is read into memory.
const DOCUMENT_MAX: u64 = 8 << 20;

/// One image in full.
#[derive(Debug)]
pub struct Inspected {
    /// All names of the revision.
    pub references: Vec<ReferenceRow>,
    /// The revision.
    pub resolved: Resolved,
    /// The bytes of the config.
    pub config: Vec<u8>,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<InspectedLayer>,
}

/// One layer.
#[derive(Debug, Clone, Copy)]
pub struct InspectedLayer {
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its tar.
    pub size: u64,
    /// Its share of the stored bytes: chunks that other layers use as well
    /// count for each.
    pub stored: u64,
}

/// Reads an image's documents and measures its layers.
pub fn inspect(store: &Store, resolved: Resolved) -> Result<Inspected> {
    let (config, manifest) = documents(store, &resolved)?;
    let mut layers = Vec::new();
    for (diff_id, size) in layers_of(&config, &manifest, &resolved)? {
        layers.push(InspectedLayer { diff_id, size, stored: store.stored_bytes(diff_id)? });
    }
    let references = store.catalog().references_of(&resolved.revision)?;
    Ok(Inspected { references, resolved, config, manifest, layers })
}

/// The bytes of config and manifest.
pub(super) fn documents(store: &Store, resolved: &Resolved) -> Result<(Vec<u8>, Vec<u8>)> {
    let config = store.read_blob(resolved.revision.image_id, DOCUMENT_MAX)?;
    let manifest = store.read_blob(resolved.revision.root, DOCUMENT_MAX)?;
    Ok((config, manifest))
}

/// Diff IDs and sizes of the layers, which are stored as tars.
pub(super) fn layers_of(
    config: &[u8],
    manifest: &[u8],
    resolved: &Resolved,
) -> Result<Vec<(Digest, u64)>> {
    let damaged = |source| StoreError::Json {
        what: "image",
        path: resolved.revision.root.hex().into(),
        source,
    };
    let config = Config::parse(config).map_err(damaged)?;
    let manifest = Manifest::parse(manifest).map_err(damaged)?;
    Ok(config
        .diff_ids()
        .iter()
        .copied()
        .zip(manifest.layers.iter().map(|layer| layer.size))
        .collect())
}
