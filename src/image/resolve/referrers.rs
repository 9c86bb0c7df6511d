//! Manifests that are about another one, put beside it.
//!
//! A layout lists signatures and the like beside the images that they are
//! about. One that has no name of its own and whose subject is in the archive is
//! no root, but a referrer of each root that its subject is below.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::image::contents::{FoundManifest, Root};
use crate::image::error::Error;
use crate::image::resolve::Found;
use crate::image::resolve::reader::Reader;

/// The roots, with their referrers.
pub(super) fn attach(found: Vec<Found>, reader: &Reader<'_, '_, '_>) -> Result<Vec<Root>, Error> {
    // By subject, and then in the order of the archive.
    let mut about: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (place, found) in found.iter().enumerate() {
        if let Some(subject) = found.subject {
            about.entry(subject).or_default().push(place);
        }
    }
    if about.is_empty() {
        return Ok(found.into_iter().map(|found| found.root).collect());
    }
    let contained: HashSet<Digest> = found.iter().flat_map(|found| digests(&found.root)).collect();
    let is_root = |found: &Found| {
        !found.root.references.is_empty()
            || !found.subject.is_some_and(|subject| contained.contains(&subject))
    };
    let mut all = Vec::new();
    for root in found.iter().filter(|found| is_root(found)) {
        all.push(referrers(&root.root, &about, &found, reader)?);
    }
    let mut all = all.into_iter();
    let roots = found.into_iter().filter(is_root).map(|found| found.root);
    Ok(roots.map(|root| Root { referrers: all.next().unwrap_or_default(), ..root }).collect())
}

/// What is about `root`, about something below it, or about one of these.
fn referrers(
    root: &Root,
    about: &HashMap<Digest, Vec<usize>>,
    found: &[Found],
    reader: &Reader<'_, '_, '_>,
) -> Result<Vec<FoundManifest>, Error> {
    let mut seen: HashSet<Digest> = digests(root).collect();
    let mut next: Vec<Digest> = digests(root).collect();
    let mut referrers = Vec::new();
    let mut at = 0;
    while let Some(subject) = next.get(at) {
        at += 1;
        let places = about.get(subject).map_or(&[][..], Vec::as_slice);
        for manifest in places.iter().flat_map(|&place| &found[place].root.manifests) {
            let Some(document) = &manifest.document else { continue };
            if seen.insert(document.digest) {
                reader.count_manifest(manifest)?;
                next.push(document.digest);
                referrers.push(manifest.clone());
            }
        }
    }
    Ok(referrers)
}

/// The root, if it has a digest, and all that is below it.
fn digests(root: &Root) -> impl Iterator<Item = Digest> {
    let manifests = root.manifests.iter().filter_map(|manifest| manifest.document.as_ref());
    root.indexes.iter().chain(manifests).map(|document| document.digest)
}
