//! `images`: what the store holds, newest first.

use std::collections::HashSet;

use crate::catalog::{ReferenceRow, RevisionRow};
use crate::image::familiar_repository;
use crate::store::{Result, Store};

/// One line of the listing.
#[derive(Debug, Clone)]
pub struct ListedImage {
    /// Its name; `None` for an image without one.
    pub reference: Option<ReferenceRow>,
    /// The revision.
    pub revision: RevisionRow,
}

/// Lists the newest revision of each reference, and images without one; with
/// `all` every revision. `pattern` is a name with `*` and `?`, with or without
/// tag, familiar or fully qualified.
pub fn images(store: &Store, pattern: Option<&str>, all: bool) -> Result<Vec<ListedImage>> {
    let catalog = store.catalog();
    let wanted = |repository: &str, tag: &str| {
        pattern.is_none_or(|pattern| matches(pattern, repository, tag))
    };
    let mut listed = Vec::new();
    let mut seen = HashSet::new();
    for (reference, revision) in catalog.revisions_named(all, wanted)?.into_iter().rev() {
        let named = reference.is_some();
        if named || (pattern.is_none() && (all || seen.insert(revision.image_id))) {
            listed.push(ListedImage { reference, revision });
        }
    }
    listed.sort_by(|one, other| {
        let order = |image: &ListedImage| (image.revision.saved_at, image.revision.sequence);
        order(other).cmp(&order(one)).then_with(|| one.reference.cmp(&other.reference))
    });
    Ok(listed)
}

pub(super) fn matches(pattern: &str, repository: &str, tag: &str) -> bool {
    [repository, familiar_repository(repository)].iter().any(|name| {
        glob(pattern.as_bytes(), name.as_bytes())
            || glob(pattern.as_bytes(), format!("{name}:{tag}").as_bytes())
    })
}

/// `*` is any text, `?` any one byte.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where the last `*` stood, and how far it reached.
    let mut star = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, reach)) => {
                    star = Some((place, reach + 1));
                    (at, from) = (place + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let matches = |pattern| matches(pattern, "docker.io/library/app", "1.4");
        for yes in
            ["app", "app:1.4", "a*", "*", "ap?", "app:1.*", "docker.io/library/app", "*pp:*4"]
        {
            assert!(matches(yes), "{yes}");
        }
        for no in ["ap", "app:1", "library/app", "app:", "?", ""] {
            assert!(!matches(no), "{no}");
        }
        assert!(!glob(b"*a*a*a*a*a*a*b", "a".repeat(5000).as_bytes()));
    }
}
