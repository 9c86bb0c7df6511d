//! What can go wrong with names, JSON documents and archives of images.
//!
//! Every message names the thing, then what was expected, then what was found.
//! Texts that come from an archive are cut to a printable length, so an error
//! stays small whatever the input was. Knows no exit codes and no hints.

use std::io;

use crate::digest::Digest;
use crate::image::Compression;
use crate::image::lookalike::Lookalike;

/// An error of the image world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no image reference.
    #[error("`{text}` is not an image reference: {problem}")]
    BadReference {
        /// The text as given, cut.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The input itself could not be read.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where in the tar stream.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the archive")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// A block that should be a tar header is none.
    #[error("no valid tar header at byte {offset}, {}", after_member(last.as_deref()))]
    BadHeader {
        /// Where the block begins.
        offset: u64,
        /// The last member that was read whole, if any.
        last: Option<String>,
    },
    /// The archive ends inside a member.
    #[error("member `{member}` is cut short: expected {expected} bytes, found {found}")]
    Truncated {
        /// The member's path, or what stands in its place.
        member: String,
        /// Length of its body in bytes, by its header.
        expected: u64,
        /// Bytes that were there.
        found: u64,
    },
    /// A member name, link or manifest entry that leads out of the archive.
    #[error("path `{path}` leaves the archive")]
    Escapes {
        /// The path as written, cut.
        path: String,
    },
    /// A link that leads out of the archive, and is needed.
    #[error("link `{member}` leaves the archive: its target is `{target}`")]
    LinkEscapes {
        /// The link.
        member: String,
        /// Its target as written.
        target: String,
    },
    /// Links that lead to each other, or too many in a row.
    #[error("link `{member}` leads to no file: followed {hops} links")]
    LinkCycle {
        /// The first link.
        member: String,
        /// How many were followed.
        hops: usize,
    },
    /// Something in the archive is over a limit of ours.
    #[error("{what} is too large: expected at most {limit}, found {found}")]
    TooLarge {
        /// What it is, with its name.
        what: String,
        /// The most that is accepted.
        limit: u64,
        /// What was found; where counting stopped, one over the limit.
        found: u64,
    },
    /// The archive refers to a member that it does not hold.
    #[error("{role} `{path}` is not in the archive")]
    Missing {
        /// What it is for, such as `config` or `layer`.
        role: &'static str,
        /// The path that was looked up.
        path: String,
    },
    /// The member exists, and its body was not handed to the resolver.
    #[error("{role} `{path}` was not kept: too many small files stand before it in the stream")]
    NotKept {
        /// What it is for.
        role: &'static str,
        /// The member's path.
        path: String,
    },
    /// A member that should be a file is something else.
    #[error("{role} `{path}` is not a regular file")]
    NotAFile {
        /// What it is for.
        role: &'static str,
        /// The member's path.
        path: String,
    },
    /// A document that can't be understood.
    #[error("{role} `{path}` is not valid")]
    Json {
        /// What it is for.
        role: &'static str,
        /// The member's path.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An image config without `rootfs`, so without layer identities.
    #[error("config `{path}` has no rootfs")]
    NoRootfs {
        /// The member's path.
        path: String,
    },
    /// `manifest.json` is `null` or empty.
    #[error("`manifest.json` lists no images")]
    NoImages,
    /// Config and `manifest.json` disagree on the number of layers.
    #[error("image `{config}`: its config lists {diff_ids} layers, `manifest.json` lists {layers}")]
    LayerCount {
        /// Path of the config.
        config: String,
        /// Count of `rootfs.diff_ids`.
        diff_ids: usize,
        /// Count of `Layers`.
        layers: usize,
    },
    /// One member is to be two different layers.
    #[error("layer `{member}` is listed for two diff IDs: {first} and {second}")]
    TwoDiffIds {
        /// The member's path.
        member: String,
        /// The diff ID listed first.
        first: Digest,
        /// The other one.
        second: Digest,
    },
    /// Bytes are not what their digest says.
    #[error("`{what}` does not match its digest: expected {expected}, found {found}")]
    DigestMismatch {
        /// The member's path, or the blob's name.
        what: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A body is longer or shorter than was said.
    #[error("`{what}` has the wrong length: expected {expected} bytes, found {found}")]
    LengthMismatch {
        /// The member's path, or the blob's name.
        what: String,
        /// The promised length in bytes.
        expected: u64,
        /// The length that was found.
        found: u64,
    },
    /// A layer is compressed, which this version does not take.
    #[error("docker archive with {compression} layers is not supported yet: layer `{member}`")]
    UnsupportedLayer {
        /// The layer's member or digest.
        member: String,
        /// How it is compressed.
        compression: Compression,
    },
    /// An image archive of a kind that this version does not take.
    #[error("{dialect} is not supported yet: found `{evidence}`")]
    UnsupportedDialect {
        /// The kind, for people.
        dialect: &'static str,
        /// The member that showed it.
        evidence: &'static str,
    },
    /// Something that holds no images, or holds them in another form.
    #[error("found {lookalike} instead of an image archive: `{evidence}`; {}", lookalike.advice())]
    LooksLike {
        /// What it is.
        lookalike: Lookalike,
        /// The member that showed it.
        evidence: String,
    },
    /// An OCI layout of a version to come.
    #[error("`oci-layout` has the version `{found}`: expected 1.0")]
    LayoutVersion {
        /// The version, cut.
        found: String,
    },
    /// An OCI layout without anything to save.
    #[error("{}", without_roots(*listed))]
    NoRoots {
        /// How many things `index.json` lists.
        listed: usize,
    },
    /// A document that is an index to one reader and a manifest to another.
    #[error("manifest `{path}` is ambiguous: it is an image index and an image manifest")]
    Ambiguous {
        /// The member's path.
        path: String,
    },
    /// A descriptor's `data` that can't be decoded.
    #[error("the data that a descriptor brings for {digest} is not base64")]
    InlineData {
        /// The digest of the blob.
        digest: Digest,
    },
    /// An archive of Docker before 1.10 without images.
    #[error("`repositories` lists no images")]
    NoNames,
    /// An image of Docker before 1.10 that is its own parent.
    #[error("image `{id}` is among its own parents")]
    ParentCycle {
        /// The ID, cut.
        id: String,
    },
    /// No image archive at all.
    #[error("not an image archive: {}", without_documents(*members))]
    NotAnArchive {
        /// How many members were looked at.
        members: usize,
    },
    /// Two different images are to be written under one reference.
    #[error("reference `{reference}` names two images: {first} and {second}")]
    ReferenceTwice {
        /// The reference, fully qualified.
        reference: String,
        /// Config digest of one.
        first: Digest,
        /// Config digest of the other.
        second: Digest,
    },
    /// A manifest that doesn't describe the image it is to be written with.
    #[error("manifest {manifest} does not describe its image: {problem}")]
    ManifestMismatch {
        /// Digest of the manifest.
        manifest: Digest,
        /// What differs.
        problem: &'static str,
    },
}

fn without_documents(members: usize) -> String {
    match members {
        0 => "it is empty".to_owned(),
        _ => format!(
            "found no `manifest.json`, `index.json`, `oci-layout` or `repositories` \
             among {members} members"
        ),
    }
}

fn without_roots(listed: usize) -> String {
    match listed {
        0 => "`index.json` lists no images".to_owned(),
        _ => format!("`index.json` lists {listed} images, and none of them is in the archive"),
    }
}

fn after_member(last: Option<&str>) -> String {
    match last {
        Some(member) => format!("after member `{member}`"),
        None => "before any member".to_owned(),
    }
}

/// `text` cut to a length that can be printed.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(shown("abc"), "abc");
        let cut = shown(&"\u{e4}".repeat(5000));
        assert_eq!(cut.chars().count(), 201);
        assert!(cut.ends_with('\u{2026}'));
    }

    #[test]
    fn messages_name_the_thing() {
        let error = Error::BadHeader { offset: 1024, last: Some("a.json".into()) };
        assert_eq!(error.to_string(), "no valid tar header at byte 1024, after member `a.json`");
        let error = Error::Truncated { member: "l.tar".into(), expected: 9, found: 3 };
        assert_eq!(error.to_string(), "member `l.tar` is cut short: expected 9 bytes, found 3");
    }
}
