//! What the reader of an archive has already, so that the archive need not hold it.
//!
//! Engines look for a layer before they open it: those with graph drivers by the
//! chain of all layers up to it, those with a content store by the blob's digest.
//! Knows nothing of where that was learned.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::image::chain_id;

/// What the reader of an archive has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Held {
    /// Nothing that is known of.
    #[default]
    Nothing,
    /// The layers of these chains, by chain ID (OCI image specification, config.md).
    Chains(HashSet<Digest>),
    /// These blobs.
    Blobs(HashSet<Digest>),
}

impl Held {
    /// The chains of images, each by its diff IDs, lowest first.
    pub fn chains<'a>(images: impl IntoIterator<Item = &'a [Digest]>) -> Self {
        let mut chains = HashSet::new();
        for diff_ids in images {
            let mut below = None;
            for diff_id in diff_ids {
                let chain = chain_id(below, *diff_id);
                chains.insert(chain);
                below = Some(chain);
            }
        }
        Self::Chains(chains)
    }

    /// Which layers of an image it has, by the blobs and diff IDs of all of them,
    /// lowest first.
    pub(super) fn of(&self, layers: &[(Digest, Option<Digest>)]) -> Vec<bool> {
        match self {
            Self::Nothing => vec![false; layers.len()],
            Self::Blobs(blobs) => layers.iter().map(|(blob, _)| blobs.contains(blob)).collect(),
            Self::Chains(chains) => {
                let mut below = None;
                let mut known = true;
                let has = layers.iter().map(|(_, diff_id)| {
                    let chain = diff_id.filter(|_| known).map(|it| chain_id(below, it));
                    known = chain.is_some();
                    below = chain;
                    chain.is_some_and(|chain| chains.contains(&chain))
                });
                has.collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    #[test]
    fn a_chain_is_held_as_far_as_it_is_the_same() {
        let [a, b, c, d] = [1, 2, 3, 4].map(digest);
        let held = Held::chains([[a, b, c].as_slice(), [d].as_slice()]);
        let of = |layers: &[Digest]| {
            let layers: Vec<_> = layers.iter().map(|it| (digest(9), Some(*it))).collect();
            held.of(&layers)
        };
        assert_eq!(of(&[a, b, d]), [true, true, false]);
        assert_eq!(of(&[a, c]), [true, false]);
        assert_eq!(of(&[b, c]), [false, false]);
        assert_eq!(of(&[d, a]), [true, false]);
        assert_eq!(of(&[d, d]), [true, false]);
        // Above a layer that can't be told, nothing can be.
        assert_eq!(held.of(&[(a, None), (b, Some(a))]), [false, false]);
    }

    #[test]
    fn blobs_are_held_wherever_they_stand() {
        let [a, b, c] = [1, 2, 3].map(digest);
        let held = Held::Blobs(HashSet::from([b]));
        assert_eq!(held.of(&[(a, Some(c)), (b, Some(c))]), [false, true]);
        assert_eq!(Held::Nothing.of(&[(a, None)]), [false]);
    }
}
