//! The images of an archive: merged, in order, and what they need, each once.
//!
//! The order depends on what the images are, not on how they were asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{EmitAncestor, EmitDocument, EmitImage};
use crate::digest::Digest;
use crate::image::error::Error;
use crate::image::reference::Reference;

/// An image as it goes into the archive.
pub(super) struct Entry {
    pub(super) references: BTreeSet<Reference>,
    pub(super) image: EmitImage,
}

impl Entry {
    /// What error messages call it, and what sorts images without names.
    pub(super) fn config(&self) -> Digest {
        self.image.config()
    }
}

/// Merges equal images and sorts them by first reference, then config, then
/// root.
pub(super) fn merge(images: Vec<EmitImage>) -> Result<Vec<Entry>, Error> {
    let mut by_root: BTreeMap<Digest, Entry> = BTreeMap::new();
    let mut owners: HashMap<Reference, (Digest, Digest)> = HashMap::new();
    for mut image in images {
        let (root, config) = (image.root.digest, image.config());
        let references = std::mem::take(&mut image.references);
        for reference in &references {
            let (owner, first) = *owners.entry(reference.clone()).or_insert((root, config));
            if owner != root {
                let reference = reference.to_string();
                return Err(Error::ReferenceTwice { reference, first, second: config });
            }
        }
        if let Some(entry) = by_root.get_mut(&root) {
            entry.references.extend(references);
            entry.image.absorb(image);
        } else {
            let references = references.into_iter().collect();
            by_root.insert(root, Entry { references, image });
        }
    }
    let mut entries: Vec<_> = by_root.into_values().collect();
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| (entry.config(), entry.image.root.digest);
        let first = one.references.first().cmp(&other.references.first());
        first.then_with(|| key(one).cmp(&key(other)))
    });
    Ok(entries)
}

/// All configs, then all manifests, then all indexes.
pub(super) fn documents_in_order(entries: &[Entry]) -> Vec<(Digest, &EmitDocument)> {
    let all = entries.iter().flat_map(|entry| &entry.image.documents);
    let mut documents: Vec<_> =
        all.map(|document| (Digest::of(&document.bytes), document)).collect();
    documents.sort_by_key(|(_, document)| document.kind);
    documents
}

/// The ancestors that aren't there as images of their own, each once.
pub(super) fn ancestors(entries: &[Entry]) -> Vec<&EmitAncestor> {
    let dockers = entries.iter().filter_map(|entry| entry.image.docker.as_ref());
    let mut seen: HashSet<Digest> = dockers.map(|docker| docker.config).collect();
    let all = entries.iter().flat_map(|entry| &entry.image.ancestors);
    all.filter(|ancestor| seen.insert(ancestor.docker.config)).collect()
}

/// By image IDs, which image one was built on.
pub(super) fn parents(entries: &[Entry]) -> HashMap<Digest, Digest> {
    let mut parents = HashMap::new();
    for entry in entries {
        let mut child = entry.config();
        for ancestor in &entry.image.ancestors {
            let parent = ancestor.docker.config;
            let known = parents.entry(child).or_insert(parent);
            *known = parent.min(*known);
            child = parent;
        }
    }
    parents
}

/// Each blob once, where it is first needed.
pub(super) fn blobs_in_order(
    entries: &[Entry],
    ancestors: &[&EmitAncestor],
) -> Result<Vec<(Digest, u64)>, Error> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut blobs = Vec::new();
    let images = entries.iter().flat_map(|entry| &entry.image.blobs);
    for &(digest, size) in images.chain(ancestors.iter().flat_map(|it| &it.blobs)) {
        match sizes.insert(digest, size) {
            None => blobs.push((digest, size)),
            Some(expected) if expected != size => {
                let what = format!("layer {digest}");
                return Err(Error::LengthMismatch { what, expected, found: size });
            }
            Some(_) => {}
        }
    }
    Ok(blobs)
}
