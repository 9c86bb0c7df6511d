//! Images that others were built on, put with those.
//!
//! Docker's classic builder makes an image of each step, and `docker save` of several
//! of them says which was built on which. Such a link counts where both are in the
//! archive and the one follows the other, as engines demand; any other leaves the
//! image by itself. What has a name of its own is a root as well.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::image::config::Config;
use crate::image::contents::{FoundConfig, ManifestKind, Root};
use crate::image::error::Error;
use crate::image::resolve::reader::Reader;

/// The roots, with their ancestors. `parents` has image IDs.
pub(super) fn attach(
    roots: Vec<Root>,
    parents: &HashMap<Digest, Digest>,
    reader: &Reader<'_, '_, '_>,
) -> Result<Vec<Root>, Error> {
    let below = links(&roots, parents);
    let used: HashSet<usize> = below.iter().flatten().copied().collect();
    let mut chains = Vec::with_capacity(roots.len());
    for (place, root) in roots.iter().enumerate() {
        let is_root =
            !used.contains(&place) || !root.references.is_empty() || !root.referrers.is_empty();
        let mut chain = Vec::new();
        let mut next = if is_root { below[place] } else { None };
        while let Some(at) = next {
            for manifest in &roots[at].manifests {
                reader.count_manifest(manifest)?;
                chain.push(manifest.clone());
            }
            next = below[at];
        }
        chains.push(is_root.then_some(chain));
    }
    let roots = roots.into_iter().zip(chains);
    Ok(roots.filter_map(|(root, chain)| Some(Root { ancestors: chain?, ..root })).collect())
}

/// For each root the place of that which it was built on. Since each follows the
/// next, they make no rings.
fn links(roots: &[Root], parents: &HashMap<Digest, Digest>) -> Vec<Option<usize>> {
    let mut by_id: HashMap<Digest, usize> = HashMap::new();
    for (place, root) in roots.iter().enumerate() {
        if let Some((id, _)) = image(root) {
            by_id.entry(id).or_insert(place);
        }
    }
    let parent = |root: &Root| {
        let (id, config) = image(root)?;
        let place = *by_id.get(parents.get(&id)?)?;
        let (_, parent) = image(&roots[place])?;
        config.follows(parent).then_some(place)
    };
    roots.iter().map(parent).collect()
}

/// The image that a root is, if it is one: its ID and config.
fn image(root: &Root) -> Option<(Digest, &Config)> {
    let [manifest] = root.manifests.as_slice() else { return None };
    let is_image = root.indexes.is_empty() && manifest.kind == ManifestKind::Image;
    match &manifest.config {
        FoundConfig::Given { document, parsed, .. } if is_image => Some((document.digest, parsed)),
        _ => None,
    }
}
