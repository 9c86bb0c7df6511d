//! `stats`: what the store saves, and what its bytes are used for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gather::Gatherer;
use super::original::{Original, OriginalError};
use super::resolve::Resolved;
use crate::catalog::RevisionRow;
use crate::digest::{Digest, Id};
use crate::store::usage::{OwnedBytes, PackUsage};
use crate::store::{Result, Store};

/// The figures of a store.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Count of revisions.
    pub revisions: u64,
    /// Sum of the layer tars of all revisions, as if each were kept by itself.
    pub raw: u64,
    /// Sum of the different layer tars.
    pub layers: u64,
    /// Bytes in packs, by kind.
    pub packs: PackUsage,
    /// Bytes of records.
    pub records: u64,
    /// Bytes of the catalog.
    pub catalog: u64,
    /// By repository; images without a name are the empty one.
    pub repositories: Vec<RepositoryStats>,
    /// Stored bytes that only archives as a whole need.
    pub originals: u64,
    /// Stored bytes that several repositories need.
    pub shared: u64,
    /// Stored bytes that only frames of others stand on, or nobody needs.
    pub base: u64,
}

/// The figures of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryStats {
    /// Fully qualified; empty for images without a name.
    pub repository: String,
    /// Count of revisions.
    pub revisions: u64,
    /// Sum of their layer tars.
    pub raw: u64,
    /// Stored bytes that nobody else needs.
    pub exclusive: u64,
}

impl Stats {
    /// All bytes of the store.
    pub fn total(&self) -> u64 {
        let packs = &self.packs;
        let content = packs.content_plain + packs.content_delta;
        content + self.overhead()
    }

    /// All bytes that are no content of files.
    pub fn overhead(&self) -> u64 {
        let packs = &self.packs;
        packs.recipes + packs.sections + packs.directories + self.records + self.catalog
    }
}

/// Measures a store. Reads all recipes, and the tables of all packs.
pub fn stats(store: &Store) -> Result<Stats> {
    let catalog = store.catalog();
    let mut repositories: BTreeMap<String, Vec<RevisionRow>> = BTreeMap::new();
    let mut revisions: HashMap<(Id, u32), u64> = HashMap::new();
    let mut add = |repository: String, revision: RevisionRow| {
        revisions.insert((revision.record, revision.position), revision.size);
        let rows = repositories.entry(repository).or_default();
        // Several tags of a repository may be one revision.
        let place = (revision.record, revision.position);
        if rows.last().is_none_or(|last| (last.record, last.position) != place) {
            rows.push(revision);
        }
    };
    for (reference, revision) in catalog.revisions_named(true, |_, _| true)? {
        add(reference.map(|name| name.repository).unwrap_or_default(), revision);
    }
    let (sizes, owned) = measure(store, &repositories)?;
    let repositories = repositories.into_iter().zip(&owned.exclusive);
    let repositories = repositories.map(|((repository, rows), exclusive)| RepositoryStats {
        repository,
        revisions: rows.len() as u64,
        raw: rows.iter().map(|row| row.size).sum(),
        exclusive: *exclusive,
    });
    Ok(Stats {
        revisions: revisions.len() as u64,
        raw: revisions.values().sum(),
        layers: sizes.values().sum(),
        packs: store.pack_usage()?,
        records: store.record_bytes()?,
        catalog: store.catalog_bytes(),
        repositories: repositories.collect(),
        originals: owned.exclusive.last().copied().unwrap_or_default(),
        shared: owned.shared,
        base: owned.base,
    })
}

/// The sizes of all layers, and who needs which bytes: the repositories in their
/// order, and archives as a whole as the last one.
fn measure(
    store: &Store,
    repositories: &BTreeMap<String, Vec<RevisionRow>>,
) -> Result<(HashMap<Digest, u64>, OwnedBytes)> {
    let mut sizes = HashMap::new();
    let mut owners = store.owners();
    let mut gatherer = Gatherer::new(store);
    for (owner, rows) in (0u32..).zip(repositories.values()) {
        let mut blobs = BTreeSet::new();
        for revision in rows {
            let resolved = Resolved { revision: revision.clone(), reference: None, manifest: None };
            let gathered = gatherer.read(&resolved)?;
            blobs.extend(gathered.indexes.iter().map(|(digest, _)| *digest));
            for manifest in gathered.all() {
                blobs.extend([manifest.descriptor.digest, manifest.manifest.config.digest]);
                for layer in manifest.layers.iter().filter(|layer| layer.stored) {
                    blobs.insert(layer.descriptor.digest);
                    sizes.insert(layer.plain_digest(), layer.plain_size(store)?);
                }
            }
        }
        for digest in blobs {
            owners.mark(digest, owner)?;
        }
    }
    let originals = u32::try_from(repositories.len()).unwrap_or(u32::MAX);
    for digest in originals_of(store)? {
        owners.mark_unowned(digest, originals)?;
    }
    let owned = owners.bytes(repositories.len() + 1)?;
    Ok((sizes, owned))
}

/// The blobs that all archives as a whole are made of.
fn originals_of(store: &Store) -> Result<BTreeSet<Digest>> {
    let mut blobs = BTreeSet::new();
    for save in store.catalog().records()? {
        match Original::of(store, save).and_then(|original| original.blobs()) {
            Ok(found) => blobs.extend(found),
            Err(OriginalError::Store(error)) if !error.is_damage() => return Err(error),
            // Not kept, or damaged: then nothing is needed for it.
            Err(_) => {}
        }
    }
    Ok(blobs)
}
