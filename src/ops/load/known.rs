//! What an engine has, as far as that can be told from outside.
//!
//! Graph drivers and Podman say which layers their images have. An engine with a
//! content store doesn't: what it holds is known where one of its images is in the
//! store as well, by the digest of its manifest or index, or of the manifest that
//! containerd makes of an image in a Docker archive. What is not certain counts as
//! lacking, since an image without its blobs runs, but can't be pushed or saved.

use std::collections::{HashMap, HashSet};

use super::LoadError;
use crate::catalog::RevisionRow;
use crate::digest::Digest;
use crate::engine::{About, Engine, ImageStore};
use crate::image::{Platform, Reference, make_docker_manifest};
use crate::ops::export::{Held, fits};
use crate::ops::gather::{Gathered, GatheredManifest, Gatherer};
use crate::ops::resolve::Resolved;
use crate::store::{Result, Store};

/// The most revisions that are looked at for what containerd made of them.
const CANDIDATES: usize = 256;

/// What the engine has of layers.
pub(super) fn held(
    store: &Store,
    engine: &Engine,
    images: &[Resolved],
) -> std::result::Result<Held, LoadError> {
    let mut listed = engine.images(&[])?;
    // Those that lost their names to newer ones have layers as well.
    listed.extend(engine.images(&[("dangling".to_owned(), "true".to_owned())])?);
    if listed.is_empty() {
        return Ok(Held::Nothing);
    }
    if engine.about().image_store != ImageStore::Containerd {
        let mut chains = Vec::new();
        for image in &listed {
            // It may be gone by now.
            chains.extend(engine.image(&image.id.to_string())?.map(|image| image.diff_ids));
        }
        return Ok(Held::chains(chains.iter().map(Vec::as_slice)));
    }
    let ids: HashSet<Digest> = listed.iter().map(|image| image.id).collect();
    let names = listed.iter().flat_map(|image| &image.names);
    let names = names.filter_map(|name| Reference::parse(name).ok());
    let asked = images.iter().filter_map(|image| image.reference.clone());
    let repositories = names.chain(asked).map(|name| name.repository().to_owned()).collect();
    let blobs = blobs(store, engine.about(), &ids, &repositories)?;
    Ok(if blobs.is_empty() { Held::Nothing } else { Held::Blobs(blobs) })
}

/// The blobs of the images with these IDs, as far as the store knows them.
fn blobs(
    store: &Store,
    about: &About,
    ids: &HashSet<Digest>,
    repositories: &HashSet<String>,
) -> Result<HashSet<Digest>> {
    let mut blobs = HashSet::new();
    let mut gatherer = Gatherer::new(store);
    for id in ids {
        if let Some((revision, manifest)) = store.catalog().revision_by_manifest(*id)? {
            let gathered = gatherer.read(&Resolved { revision, reference: None, manifest })?;
            let whole = manifest.is_none();
            for found in
                gathered.images().filter(|it| whole || Some(it.descriptor.digest) == manifest)
            {
                // Of an index, an engine holds what it runs itself.
                if !whole || !gathered.is_index() || runs(about, found) {
                    blobs.extend(found.layers.iter().map(|layer| layer.descriptor.digest));
                }
            }
        }
    }
    for revision in candidates(store, repositories)? {
        let resolved = Resolved { revision, reference: None, manifest: None };
        let gathered: Gathered = gatherer.read(&resolved)?;
        for found in gathered.images() {
            let layers = found.layers.iter().map(|it| (it.descriptor.digest, it.descriptor.size));
            let layers: Vec<(Digest, u64)> = layers.collect();
            let plain = found.layers.iter().all(|it| it.diff_id == Some(it.descriptor.digest));
            let config = &found.manifest.config;
            let made = || Digest::of(&make_docker_manifest(config.digest, config.size, &layers));
            if plain && ids.contains(&made()) {
                blobs.extend(layers.iter().map(|(digest, _)| *digest));
            }
        }
    }
    Ok(blobs)
}

/// The newest revisions with a name in one of these repositories, each root once.
fn candidates(store: &Store, repositories: &HashSet<String>) -> Result<Vec<RevisionRow>> {
    let wanted = |repository: &str, _: &str| repositories.contains(repository);
    let mut found: HashMap<Digest, RevisionRow> = HashMap::new();
    for (name, revision) in store.catalog().revisions_named(true, wanted)?.into_iter().rev() {
        if found.len() < CANDIDATES && name.is_some() {
            found.entry(revision.root).or_insert(revision);
        }
    }
    Ok(found.into_values().collect())
}

/// Of an index, the manifest of the image that the engine runs, if it lists one.
pub(super) fn fitting(store: &Store, resolved: &Resolved, about: &About) -> Result<Option<Digest>> {
    let gathered = Gatherer::new(store).read(resolved)?;
    if !gathered.is_index() {
        return Ok(None);
    }
    let found = gathered.images().find(|image| runs(about, image));
    Ok(found.map(|image| image.descriptor.digest))
}

fn runs(about: &About, image: &GatheredManifest) -> bool {
    let own = Platform {
        os: about.os.clone(),
        architecture: about.architecture.clone(),
        ..Platform::default()
    };
    fits(&own, &image.platform())
}
