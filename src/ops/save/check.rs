//! Whether an archive's blobs are what its manifests and configs say.

use super::take::{Taken, Taker};
use super::{SaveError, called};
use crate::image::{
    self, Contents, FoundConfig, FoundLayer, FoundManifest, Member, Root, media_type,
};

/// All blobs of an archive's manifests, documents aside; one may come several
/// times.
pub(super) fn blobs_of(contents: &Contents) -> impl Iterator<Item = &FoundLayer> {
    contents.roots.iter().flat_map(manifests_of).flat_map(|manifest| {
        let config = match &manifest.config {
            FoundConfig::Blob(blob) => Some(blob),
            FoundConfig::Given { .. } | FoundConfig::V1(_) => None,
        };
        config.into_iter().chain(&manifest.layers)
    })
}

/// The manifests below a root, those about it, and those that it was built on.
pub(super) fn manifests_of(root: &Root) -> impl Iterator<Item = &FoundManifest> {
    own_manifests(root).chain(&root.ancestors)
}

/// The manifests below a root, and those about it.
pub(super) fn own_manifests(root: &Root) -> impl Iterator<Item = &FoundManifest> {
    root.manifests.iter().chain(&root.referrers)
}

impl Taker<'_, '_> {
    /// Compares everything that was taken in, and finds in the store what the
    /// archive lacks.
    pub(super) fn check(
        &mut self,
        contents: &Contents,
        members: &[Member],
    ) -> Result<(), SaveError> {
        for root in &contents.roots {
            for manifest in manifests_of(root) {
                if let FoundConfig::Blob(blob) = &manifest.config {
                    self.check_blob(blob, root, members)?;
                }
                for layer in &manifest.layers {
                    self.check_blob(layer, root, members)?;
                }
            }
        }
        Ok(())
    }

    fn check_blob(
        &mut self,
        blob: &FoundLayer,
        root: &Root,
        members: &[Member],
    ) -> Result<(), SaveError> {
        let Some(member) = blob.member else { return self.check_absent(blob) };
        let path = members[member].path.clone();
        let Some(taken) = self.taken.get(&member) else {
            return Err(image::Error::NotAFile { role: "layer", path }.into());
        };
        if let Some(descriptor) = &blob.descriptor {
            if taken.given != descriptor.digest {
                return Err(image::Error::DigestMismatch {
                    what: path,
                    expected: descriptor.digest,
                    found: taken.given,
                }
                .into());
            }
            if taken.size != descriptor.size {
                let (expected, found) = (descriptor.size, taken.size);
                return Err(image::Error::LengthMismatch { what: path, expected, found }.into());
            }
            // What is not a tar by its type may be anything, such as encrypted.
            if !media_type::is_layer(&descriptor.media_type) {
                return Ok(());
            }
        }
        check_content(blob, taken, root, path)
    }

    /// What the archive lacks, the store must have, unless nobody ships it.
    fn check_absent(&mut self, blob: &FoundLayer) -> Result<(), SaveError> {
        if let Some(bytes) = blob.inline_body() {
            self.session.put_bytes(&bytes)?;
            return Ok(());
        }
        if blob.foreign {
            return Ok(());
        }
        let digest = blob.descriptor.as_ref().map(|descriptor| descriptor.digest).or(blob.diff_id);
        if let Some(digest) = digest
            && self.session.blob(digest)?.is_some()
        {
            return Ok(());
        }
        Err(SaveError::Absent { path: blob.path.clone() })
    }
}

fn check_content(
    blob: &FoundLayer,
    taken: &Taken,
    root: &Root,
    member: String,
) -> Result<(), SaveError> {
    let Some(expected) = blob.diff_id else { return Ok(()) };
    match taken.content {
        Some(found) if found == expected => Ok(()),
        // The store has it, but not what is in it: it was never a layer before.
        None if taken.known => Ok(()),
        Some(found) => {
            Err(SaveError::LayerMismatch { member, image: called(root), expected, found })
        }
        None => Err(SaveError::LayerDamaged {
            member,
            image: called(root),
            problem: taken.problem.clone().unwrap_or_default(),
        }),
    }
}
