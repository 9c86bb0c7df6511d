//! Writing image archives that engines load: an OCI layout and a
//! `manifest.json` in one tar, an OCI layout alone, or the layout of Docker 1.10
//! to 24.
//!
//! The same set of images always gives the same bytes, in whatever order they
//! are asked for, and the length is known before the first byte. No document may
//! list what isn't there, but for layers that are said to be elsewhere. Every
//! layer that is handed in is hashed on its way out; one that is not what its
//! digest says fails the archive. Members are plain files and folders, with no
//! times or owners; links are in the layout of old Docker alone, which has them.
//! Knows nothing of where layers come from.

mod documents;
mod entries;
mod legacy;
mod sink;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Write};

use serde_json::Value;

use crate::digest::{Digest, DigestHasher};
use crate::image::error::Error;
use crate::image::manifest::{Descriptor, Index, Manifest};
use crate::image::media_type;
use crate::image::reference::Reference;

use entries::{Entry, ancestors, blobs_in_order, documents_in_order, merge};

pub use sink::{Sink, TarSink};

/// What layout an archive has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout with a `manifest.json`.
    #[default]
    Docker,
    /// An OCI layout alone.
    Oci,
    /// A folder for each layer, as Docker 1.10 to 24 wrote it.
    DockerLegacy,
}

/// An image, image index or artifact to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct EmitImage {
    /// Its names; may be none.
    pub references: Vec<Reference>,
    /// What `index.json` points at.
    pub root: Descriptor,
    /// The root, and all documents below it and below its referrers.
    pub documents: Vec<EmitDocument>,
    /// Other blobs that the documents list: digests and lengths in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// What the documents list and the archive need not hold.
    pub elsewhere: HashSet<Digest>,
    /// How it appears in `manifest.json`; an artifact doesn't.
    pub docker: Option<DockerImage>,
    /// Manifests about the root: `index.json` lists them as well.
    pub referrers: Vec<Descriptor>,
    /// The images that it was built on, nearest first: `manifest.json` alone lists them,
    /// without a name.
    pub ancestors: Vec<EmitAncestor>,
}

/// An image that another was built on.
#[derive(Debug, Clone, PartialEq)]
pub struct EmitAncestor {
    /// How it appears in `manifest.json`.
    pub docker: DockerImage,
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// Its layers, as far as the archive is to hold them: digests and lengths in bytes.
    pub blobs: Vec<(Digest, u64)>,
}

/// A small blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitDocument {
    /// What it is.
    pub kind: DocumentKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a document is, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocumentKind {
    /// A config.
    Config,
    /// A manifest.
    Manifest,
    /// An image index.
    Index,
}

/// An image as `manifest.json` lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerImage {
    /// Digest of the config.
    pub config: Digest,
    /// The layers, lowest first.
    pub layers: Vec<DockerLayer>,
}

/// A layer as `manifest.json` lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerLayer {
    /// Digest of the blob; in the layout of old Docker, the diff ID.
    pub digest: Digest,
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its descriptor, where it is elsewhere.
    pub source: Option<Value>,
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitMember {
    /// Its path, without `/` at its start.
    pub path: String,
    /// What it holds.
    pub body: EmitBody,
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmitBody {
    /// It is a folder.
    Folder,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A blob of that digest and length, to be handed in.
    Blob(Digest, u64),
    /// It is a symbolic link to there.
    Link(String),
}

/// An archive that is about to be written.
#[derive(Debug)]
pub struct EmitPlan {
    members: Vec<EmitMember>,
    layers: Vec<(Digest, u64)>,
    entries: usize,
}

impl EmitImage {
    /// An image of plain layers: diff IDs and lengths in bytes, lowest first. The
    /// manifest lists exactly this config and these layers.
    pub fn plain(
        references: Vec<Reference>,
        config: Vec<u8>,
        manifest: Vec<u8>,
        layers: Vec<(Digest, u64)>,
    ) -> Self {
        let own_type = Manifest::parse(&manifest).ok().and_then(|manifest| manifest.media_type);
        let media_type = own_type.unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        let root = Descriptor::new(&media_type, Digest::of(&manifest), manifest.len() as u64);
        let docker_layers = layers.iter().map(|&(digest, size)| DockerLayer {
            digest,
            diff_id: digest,
            size,
            source: None,
        });
        let docker = DockerImage { config: Digest::of(&config), layers: docker_layers.collect() };
        let documents = vec![
            EmitDocument { kind: DocumentKind::Config, bytes: config },
            EmitDocument { kind: DocumentKind::Manifest, bytes: manifest },
        ];
        Self {
            references,
            root,
            documents,
            blobs: layers,
            elsewhere: HashSet::new(),
            docker: Some(docker),
            referrers: Vec::new(),
            ancestors: Vec::new(),
        }
    }

    fn config(&self) -> Digest {
        self.docker.as_ref().map_or(self.root.digest, |docker| docker.config)
    }

    /// Takes in what another image of the same root has besides, which are
    /// referrers and ancestors. The order is then one that doesn't depend on which came
    /// first.
    fn absorb(&mut self, other: Self) {
        if *self == other {
            return;
        }
        self.documents.extend(other.documents);
        self.documents.sort_by_key(|document| (document.kind, Digest::of(&document.bytes)));
        self.documents.dedup();
        self.blobs.extend(other.blobs);
        self.blobs.sort_unstable();
        self.elsewhere.extend(other.elsewhere);
        self.referrers.extend(other.referrers);
        self.referrers.sort_by_key(|referrer| referrer.digest);
        self.referrers.dedup();
        let line = |ancestors: &[EmitAncestor]| {
            let ids: Vec<Digest> = ancestors.iter().map(|it| it.docker.config).collect();
            (ids.len(), ids)
        };
        if line(&other.ancestors) > line(&self.ancestors) {
            self.ancestors = other.ancestors;
        }
    }
}

impl DockerImage {
    fn layer_sources(&self) -> BTreeMap<String, Value> {
        let layers = self.layers.iter();
        layers
            .filter_map(|layer| Some((layer.diff_id.to_string(), layer.source.clone()?)))
            .collect()
    }
}

impl EmitPlan {
    /// Plans the archive of these images. An image that is given several times
    /// is written once, with all its references.
    ///
    /// # Errors
    /// [`Error::ReferenceTwice`] if two different images have one reference,
    /// [`Error::ManifestMismatch`] if a document lists what isn't there,
    /// [`Error::LengthMismatch`] if a layer has two lengths.
    pub fn new(format: Format, images: Vec<EmitImage>) -> Result<Self, Error> {
        let entries = merge(images)?;
        if format == Format::DockerLegacy {
            return legacy::plan(&entries);
        }
        let documents = documents_in_order(&entries);
        check_documents(&entries, &documents)?;
        let mut members = vec![
            file("oci-layout", documents::LAYOUT.to_vec()),
            file("index.json", documents::index(&entries)),
        ];
        // Without `manifest.json` nothing says what they are.
        let with_list = format == Format::Docker;
        let ancestors = if with_list { ancestors(&entries) } else { Vec::new() };
        if with_list {
            members.push(file("manifest.json", documents::list(&entries)));
        }
        members.extend([folder("blobs/"), folder("blobs/sha256/")]);
        let mut written = HashSet::new();
        for (digest, document) in documents {
            if written.insert(digest) {
                members.push(file(&blob_path(&digest), document.bytes.clone()));
            }
        }
        for ancestor in &ancestors {
            if written.insert(ancestor.docker.config) {
                let path = blob_path(&ancestor.docker.config);
                members.push(file(&path, ancestor.config.clone()));
            }
        }
        for (digest, size) in blobs_in_order(&entries, &ancestors)? {
            if written.insert(digest) {
                members.push(blob(blob_path(&digest), digest, size));
            }
        }
        let entries = documents::descriptors(&entries).len();
        Ok(Self { entries, ..Self::of(members) })
    }

    fn of(members: Vec<EmitMember>) -> Self {
        let layers = members.iter().filter_map(|member| match member.body {
            EmitBody::Blob(digest, size) => Some((digest, size)),
            _ => None,
        });
        let layers = layers.collect();
        Self { members, layers, entries: 0 }
    }

    /// The members in the order in which they are written.
    pub fn members(&self) -> &[EmitMember] {
        &self.members
    }

    /// How many descriptors its `index.json` has.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The layers in the order in which they will be asked for, each once, with
    /// their lengths in bytes.
    pub fn layers(&self) -> &[(Digest, u64)] {
        &self.layers
    }

    /// The length of the whole archive in bytes, as a tar.
    pub fn size(&self) -> u64 {
        let bodies = self.members.iter().map(|member| sink::member_size(member.size()));
        bodies.sum::<u64>() + sink::END_SIZE
    }

    /// The bytes of all members, as files of their own.
    pub fn content_size(&self) -> u64 {
        self.members.iter().map(EmitMember::size).sum()
    }

    /// Writes the archive; `layer` writes the body of the layer that it is
    /// asked for.
    ///
    /// # Errors
    /// Those of `layer`; [`Error::LengthMismatch`] and [`Error::DigestMismatch`]
    /// if what it wrote is not that layer; [`Error::Write`]. What was written
    /// then is no archive.
    pub fn write<E: From<Error>>(
        &self,
        sink: &mut dyn Sink,
        mut layer: impl FnMut(&Digest, &mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| Error::Write { source };
        for EmitMember { path, body } in &self.members {
            match body {
                EmitBody::Folder => sink.folder(path).map_err(failed)?,
                EmitBody::Link(target) => sink.link(path, target).map_err(failed)?,
                EmitBody::Bytes(bytes) => {
                    let size = bytes.len() as u64;
                    let written = sink.file(path, size).and_then(|()| sink.write_all(bytes));
                    written.and_then(|()| sink.end_file(size)).map_err(failed)?;
                }
                &EmitBody::Blob(digest, size) => {
                    sink.file(path, size).map_err(failed)?;
                    let hasher = DigestHasher::default();
                    let mut body = Checked { out: &mut *sink, left: size, found: 0, hasher };
                    layer(&digest, &mut body)?;
                    body.check(digest, size)?;
                    sink.end_file(size).map_err(failed)?;
                }
            }
        }
        Ok(sink.finish().map_err(failed)?)
    }
}

impl EmitMember {
    /// The length of its body in bytes.
    pub fn size(&self) -> u64 {
        match &self.body {
            EmitBody::Folder | EmitBody::Link(_) => 0,
            EmitBody::Bytes(bytes) => bytes.len() as u64,
            EmitBody::Blob(_, size) => *size,
        }
    }
}

/// Whatever a document lists is there, in that length, or known to be elsewhere.
fn check_documents(entries: &[Entry], documents: &[(Digest, &EmitDocument)]) -> Result<(), Error> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let blobs = entries.iter().flat_map(|entry| &entry.image.blobs).copied();
    let small = documents.iter().map(|(digest, document)| (*digest, document.bytes.len() as u64));
    sizes.extend(blobs.chain(small));
    let elsewhere: HashSet<Digest> =
        entries.iter().flat_map(|entry| &entry.image.elsewhere).copied().collect();
    let there = |listed: &Descriptor| sizes.get(&listed.digest) == Some(&listed.size);
    let known = |listed: &Descriptor| there(listed) || elsewhere.contains(&listed.digest);
    for (digest, document) in documents {
        let mismatch = |problem| Error::ManifestMismatch { manifest: *digest, problem };
        match document.kind {
            DocumentKind::Config => {}
            DocumentKind::Manifest => {
                let manifest = Manifest::parse(&document.bytes);
                let manifest = manifest.map_err(|_| mismatch("it can't be read"))?;
                if !there(&manifest.config) {
                    return Err(mismatch("its config is another"));
                }
                if !manifest.layers.iter().all(known) {
                    return Err(mismatch("its layers are others"));
                }
            }
            DocumentKind::Index => {
                let index = Index::parse(&document.bytes);
                let index = index.map_err(|_| mismatch("it can't be read"))?;
                if !index.manifests.iter().all(known) {
                    return Err(mismatch("not all of its images are there"));
                }
            }
        }
    }
    let mut roots = entries
        .iter()
        .flat_map(|entry| std::iter::once(&entry.image.root).chain(entry.image.referrers.iter()));
    match roots.find(|root| !there(root)) {
        Some(root) => {
            let problem = "it is not there itself";
            Err(Error::ManifestMismatch { manifest: root.digest, problem })
        }
        None => Ok(()),
    }
}

/// Passes a layer on while counting and hashing it; drops what is too much.
struct Checked<'a> {
    out: &'a mut dyn Write,
    left: u64,
    found: u64,
    hasher: DigestHasher,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let count = if room == 0 { bytes.len() } else { self.out.write(&bytes[..room])? };
        if room > 0 {
            self.hasher.update(&bytes[..count]);
            self.left -= count as u64;
        }
        self.found = self.found.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Checked<'_> {
    fn check(self, expected: Digest, size: u64) -> Result<(), Error> {
        let what = || format!("layer {expected}");
        if self.found != size {
            return Err(Error::LengthMismatch { what: what(), expected: size, found: self.found });
        }
        let found = self.hasher.finish();
        if found != expected {
            return Err(Error::DigestMismatch { what: what(), expected, found });
        }
        Ok(())
    }
}

fn folder(path: &str) -> EmitMember {
    EmitMember { path: path.to_owned(), body: EmitBody::Folder }
}

fn file(path: &str, body: Vec<u8>) -> EmitMember {
    EmitMember { path: path.to_owned(), body: EmitBody::Bytes(body) }
}

fn blob(path: String, digest: Digest, size: u64) -> EmitMember {
    EmitMember { path, body: EmitBody::Blob(digest, size) }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[cfg(test)]
mod tests;
