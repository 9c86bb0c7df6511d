//! Documents of an archive, fetched by path or by digest, and what they cost.
//!
//! A body that is not at hand is noted and passed over, so one walk over an
//! archive both resolves it and finds out which bodies that takes. Lengths and
//! digests are compared with what a descriptor says. Two limits hold memory:
//! one on the documents that are read, one on what is made of them, since one
//! document can be below many roots.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::image::contents::{FoundConfig, FoundManifest};
use crate::image::error::{Error, shown};
use crate::image::manifest::Descriptor;
use crate::image::resolve::{Bodies, base64};
use crate::image::small_bodies::MOST_DOCUMENT;
use crate::image::tree::Tree;

/// The most bytes of all documents of one archive together.
const MOST_DOCUMENTS: u64 = 64 << 20;
/// The most that all roots may weigh together: about the bytes of what is found
/// below them, with what is below several counted for each.
const MOST_FOUND: u64 = 256 << 20;
/// What an item weighs beside its texts.
const ITEM: usize = 512;
/// What an annotation weighs beside its texts.
const ANNOTATION: usize = 128;

/// Reads documents.
pub(super) struct Reader<'t, 'f, 'b> {
    pub(super) tree: &'t Tree<'t>,
    bodies: Bodies<'f, 'b>,
    /// What each body that was asked for is.
    asked: RefCell<BTreeMap<usize, &'static str>>,
    /// Their bytes.
    together: Cell<u64>,
    /// What was found, weighed.
    found: Cell<u64>,
}

/// What became of a blob that was asked for.
pub(super) enum Fetched<'b> {
    /// These are its bytes.
    Here(Cow<'b, [u8]>),
    /// The archive has it, and it is to be fetched.
    Later,
    /// The archive doesn't have it.
    Absent,
}

impl<'t, 'f, 'b> Reader<'t, 'f, 'b> {
    pub(super) fn new(tree: &'t Tree<'t>, bodies: Bodies<'f, 'b>) -> Self {
        let (asked, together, found) = (RefCell::default(), Cell::default(), Cell::default());
        Self { tree, bodies, asked, together, found }
    }

    /// What was asked for and is not at hand.
    pub(super) fn missing(&self) -> Vec<(&'static str, usize)> {
        let asked = self.asked.borrow();
        let missing = asked.iter().filter(|&(&place, _)| (self.bodies)(place).is_none());
        missing.map(|(&place, &role)| (role, place)).collect()
    }

    /// The path of the member at `place`, to be shown.
    pub(super) fn path(&self, place: usize) -> String {
        shown(&self.tree.member(place).path)
    }

    /// The body of the document at `place`; `None` if it is to be fetched.
    pub(super) fn body(&self, role: &'static str, place: usize) -> Result<Option<&'b [u8]>, Error> {
        let size = self.tree.member(place).size;
        if size > MOST_DOCUMENT {
            let what = format!("{role} `{}`", self.path(place));
            return Err(Error::TooLarge { what, limit: MOST_DOCUMENT, found: size });
        }
        if self.asked.borrow_mut().insert(place, role).is_none() {
            let found = self.together.get() + size;
            if found > MOST_DOCUMENTS {
                let what = "the length of all documents".to_owned();
                return Err(Error::TooLarge { what, limit: MOST_DOCUMENTS, found });
            }
            self.together.set(found);
        }
        Ok((self.bodies)(place))
    }

    /// The document that `descriptor` means, compared with it.
    pub(super) fn blob(
        &self,
        role: &'static str,
        descriptor: &Descriptor,
    ) -> Result<Fetched<'b>, Error> {
        let path = blob_path(descriptor.digest);
        let Some(place) = self.tree.find_or_absent(role, &path)? else {
            let inline = inline_data(descriptor)?;
            return Ok(inline.map_or(Fetched::Absent, |bytes| Fetched::Here(Cow::Owned(bytes))));
        };
        check_length(&path, descriptor.size, self.tree.member(place).size)?;
        let Some(bytes) = self.body(role, place)? else {
            return Ok(Fetched::Later);
        };
        check_digest(&path, descriptor.digest, bytes)?;
        Ok(Fetched::Here(Cow::Borrowed(bytes)))
    }

    /// Counts what is put below a root.
    pub(super) fn count(&self, weight: usize) -> Result<(), Error> {
        let found = self.found.get().saturating_add((weight + ITEM) as u64);
        if found > MOST_FOUND {
            let what = "the weight of all that is below the images".to_owned();
            return Err(Error::TooLarge { what, limit: MOST_FOUND, found });
        }
        self.found.set(found);
        Ok(())
    }

    /// Counts a descriptor that is put below a root.
    pub(super) fn count_descriptor(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let annotations = &descriptor.annotations;
        let texts = annotations.iter().map(|(key, text)| key.len() + text.len() + ANNOTATION);
        let urls = descriptor.urls.iter().map(|url| url.len() + ANNOTATION);
        let data = descriptor.data.as_ref().map_or(0, String::len);
        self.count(texts.sum::<usize>() + urls.sum::<usize>() + data)
    }

    /// Counts a manifest that was counted before and is put below another root.
    pub(super) fn count_manifest(&self, manifest: &FoundManifest) -> Result<(), Error> {
        let config = match &manifest.config {
            FoundConfig::Given { document, .. } => document.bytes.len(),
            FoundConfig::Blob(_) | FoundConfig::V1(_) => 0,
        };
        let document = manifest.document.as_ref().map_or(0, |document| document.bytes.len());
        self.count(document + config)?;
        let descriptors = manifest.layers.iter().filter_map(|layer| layer.descriptor.as_ref());
        descriptors.into_iter().try_for_each(|layer| self.count_descriptor(layer))
    }
}

/// Where a layout keeps the blob with this digest.
pub(super) fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The bytes that a descriptor brings itself, compared with it.
pub(super) fn inline_data(descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
    let Some(text) = &descriptor.data else {
        return Ok(None);
    };
    let digest = descriptor.digest;
    let bytes = base64::decode(text).ok_or(Error::InlineData { digest })?;
    let what = format!("data of {digest}");
    check_length(&what, descriptor.size, bytes.len() as u64)?;
    check_digest(&what, digest, &bytes)?;
    Ok(Some(bytes))
}

pub(super) fn check_digest(what: &str, expected: Digest, bytes: &[u8]) -> Result<(), Error> {
    let found = Digest::of(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(Error::DigestMismatch { what: shown(what), expected, found })
    }
}

pub(super) fn check_length(what: &str, expected: u64, found: u64) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::LengthMismatch { what: shown(what), expected, found })
    }
}

/// Why a document can't be understood.
pub(super) fn not_valid(role: &'static str, path: &str) -> impl FnOnce(serde_json::Error) -> Error {
    let path = shown(path);
    move |source| Error::Json { role, path, source }
}
