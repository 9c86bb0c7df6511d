//! Finds the revision that a user's words mean.

use super::action::familiar;
use crate::catalog::RevisionRow;
use crate::digest::Digest;
use crate::image::{Query, Reference};
use crate::store::{Store, StoreError};
use crate::time::Time;

/// The most image IDs that an error lists.
const CANDIDATES: usize = 4;

/// How many names are offered in place of one that isn't there.
const NEAR: usize = 3;
/// How far a short name may be from the one that was asked for.
const NEAR_MAX: usize = 2;

/// Why no revision was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("no image `{query}` in the store")]
    NotFound {
        /// What was asked for.
        query: String,
        /// Names that are like it, as people write them, the nearest first.
        near: Vec<String>,
    },
    /// Several images' IDs begin with these digits.
    #[error("image ID `{prefix}` is not unique: it may mean {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Short IDs.
        candidates: Vec<String>,
    },
    /// `@{...}` holds no date.
    #[error("`{text}` is not a date or time")]
    BadTime {
        /// What was given.
        text: String,
    },
}

impl From<crate::catalog::CatalogError> for ResolveError {
    fn from(error: crate::catalog::CatalogError) -> Self {
        Self::Store(error.into())
    }
}

/// A revision, and the name by which it was asked for.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The revision.
    pub revision: RevisionRow,
    /// The name, unless it was asked for by ID or digest.
    pub reference: Option<Reference>,
    /// Of an index, the manifest of the one image that was asked for by its ID or
    /// digest.
    pub manifest: Option<Digest>,
}

/// Finds what `query` means. `time` reads the text of `@{...}`, in the user's time
/// zone.
pub fn resolve(
    store: &Store,
    query: &Query,
    time: &dyn Fn(&str) -> Option<Time>,
) -> Result<Resolved, ResolveError> {
    let catalog = store.catalog();
    let not_found = || ResolveError::NotFound { query: query.to_string(), near: Vec::new() };
    let found = match query {
        Query::Tag { reference, back, at, image_id } => {
            let (repository, tag) = (reference.repository(), reference.tag());
            let found = match at {
                None => catalog.revision(repository, tag, *back)?,
                Some(text) => {
                    let at = time(text);
                    let at = at.ok_or_else(|| ResolveError::BadTime { text: text.clone() })?;
                    catalog.revision_at(repository, tag, at, *back)?
                }
            };
            match (found, image_id) {
                (Some(revision), _) => {
                    Ok(Resolved { revision, reference: Some(reference.clone()), manifest: None })
                }
                (None, Some(prefix)) if !catalog.has_repository(repository)? => {
                    by_image(store, prefix)?.ok_or_else(not_found)
                }
                // Podman's name for what is called like this and came from nowhere.
                (None, _) => match localhost(reference).filter(|_| at.is_none()) {
                    Some(own) => match catalog.revision(own.repository(), own.tag(), *back)? {
                        Some(revision) => {
                            Ok(Resolved { revision, reference: Some(own), manifest: None })
                        }
                        None => Err(not_found()),
                    },
                    None => Err(not_found()),
                },
            }
        }
        Query::ManifestDigest { repository, digest } => {
            let (revision, manifest) =
                catalog.revision_by_manifest(*digest)?.ok_or_else(not_found)?;
            let named = match repository {
                None => true,
                Some(repository) => catalog.repository_has_manifest(repository, *digest)?,
            };
            let found = Resolved { revision, reference: None, manifest };
            if named { Ok(found) } else { Err(not_found()) }
        }
        Query::ImageId { prefix } => by_image(store, prefix)?.ok_or_else(not_found),
    };
    match (found, query) {
        (Err(ResolveError::NotFound { query, .. }), Query::Tag { reference, .. }) => {
            Err(ResolveError::NotFound { query, near: near(store, reference)? })
        }
        (found, _) => found,
    }
}

fn localhost(reference: &Reference) -> Option<Reference> {
    let own = format!("localhost/{}", reference.familiar());
    Reference::parse(&own).ok().filter(|_| reference.repository().starts_with("docker.io/"))
}

/// Names that are like one that isn't there.
fn near(store: &Store, reference: &Reference) -> Result<Vec<String>, ResolveError> {
    let asked = reference.familiar();
    let mut found = Vec::new();
    for (name, _) in store.catalog().revisions_named(false, |_, _| true)? {
        let Some(name) = name.map(|name| familiar(&name)) else { continue };
        let steps = distance(&asked, &name);
        if steps <= NEAR_MAX.max(asked.len() / 4) {
            found.push((steps, name));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().take(NEAR).map(|(_, name)| name).collect())
}

/// How many bytes must be put in, taken out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut before: Vec<usize> = (0..=other.len()).collect();
    for (row, left) in one.bytes().enumerate() {
        let mut corner = before[0];
        before[0] = row + 1;
        for (column, right) in other.bytes().enumerate() {
            let changed = corner + usize::from(left != right);
            corner = before[column + 1];
            before[column + 1] = changed.min(corner + 1).min(before[column] + 1);
        }
    }
    before[other.len()]
}

fn by_image(store: &Store, prefix: &str) -> Result<Option<Resolved>, ResolveError> {
    let bound =
        |fill: &str| Digest::from_hex(&format!("{prefix}{}", fill.repeat(64 - prefix.len())));
    let (Ok(low), Ok(high)) = (bound("0"), bound("f")) else { return Ok(None) };
    let mut rows = store.catalog().revisions_by_image((low, high))?;
    if rows.len() > 1 {
        let candidates = rows.iter().take(CANDIDATES).map(|(image, _, _)| image.short()).collect();
        return Err(ResolveError::Ambiguous { prefix: prefix.to_owned(), candidates });
    }
    let found = rows.pop();
    Ok(found.map(|(_, revision, manifest)| Resolved { revision, reference: None, manifest }))
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_count_what_was_mistyped() {
        for (one, other, steps) in [
            ("app:1", "app:1", 0),
            ("app:1", "app:2", 1),
            ("app", "apps", 1),
            ("apps", "app", 1),
            ("", "app", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), steps, "{one} {other}");
        }
    }
}
