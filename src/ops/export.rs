//! `export`: stored images as one archive that engines load.
//!
//! The same set of images gives the same bytes, in whatever order it is asked
//! for. Every layer is checked against its digest as it is written.

mod blobs;
mod encode;
mod held;
mod rewrite;
mod select;

use std::collections::HashSet;
use std::io::{self, Write};

use super::gather::Gatherer;
use super::resolve::Resolved;
use crate::digest::Digest;
use crate::fs::folder::FolderOutput;
use crate::image::{self, EmitPlan, Format, Platform, Reference, Sink, TarSink};
use crate::progress::{Counted, Progress};
use crate::store::{Store, StoreError};
use blobs::Blobs;
use encode::Encoder;

pub use encode::Form;
pub use held::Held;
pub(super) use select::matches as fits;
pub use select::{ORIGINAL_INDEX, parse_platform};

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The images don't go into one archive, or a layer is not what it should be.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored document can't be understood.
    #[error("document {digest} is not valid")]
    Document {
        /// Which one.
        digest: Digest,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A layer is to be in another compression, and can't be read.
    #[error("layer {digest} can't be compressed anew: its media type is `{media_type}`")]
    Layer {
        /// Which one.
        digest: Digest,
        /// What its manifest says that it is.
        media_type: String,
    },
    /// None of the platforms that were asked for is there.
    #[error("{image} is not there for {}, but for {}", asked.join(" or "), there.join(", "))]
    NoPlatform {
        /// As a person would name it.
        image: String,
        /// What was asked for.
        asked: Vec<String>,
        /// What there is.
        there: Vec<String>,
    },
    /// An index of which no image was saved.
    #[error("nothing that the index of {image} lists is in the store")]
    NothingThere {
        /// As a person would name it.
        image: String,
    },
    /// What is no image can't be loaded as one.
    #[error("{image} is no image, and can only go out as an OCI layout")]
    Artifact {
        /// As a person would name it.
        image: String,
    },
    /// The target takes one image under one name from an OCI layout.
    #[error("the target takes one image under one name from an OCI layout, not {found}")]
    SeveralInOci {
        /// How many there would be.
        found: usize,
    },
}

impl ExportError {
    /// The I/O error, where the output was what failed.
    pub fn output_error(&self) -> Option<&io::Error> {
        match self {
            Self::Image(image::Error::Write { source })
            | Self::Store(StoreError::Output(source)) => Some(source),
            _ => None,
        }
    }
}

/// What compression layers have in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerCompression {
    /// As they were saved.
    #[default]
    Keep,
    /// None: plain tars.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// How to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The layout of the archive.
    pub format: Format,
    /// The compression of its layers.
    pub layers: LayerCompression,
    /// What is taken from indexes; all, if there are none.
    pub platforms: Vec<Platform>,
    /// What the reader of the archive can't take.
    pub lacks: &'static [Lack],
    /// What it has, which the archive then lists and doesn't hold.
    pub held: Held,
}

/// Something that a reader of archives can't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// An OCI layout without `manifest.json`.
    OciAlone,
    /// More than one image under one name in such a layout.
    SeveralInOci,
    /// What is no image.
    Artifacts,
    /// Signatures and the like beside images.
    Referrers,
    /// The images that an image was built on, without a name beside it.
    Ancestors,
    /// Layers in zstd; where they are kept, they are made plain instead.
    ZstdLayers,
    /// A folder.
    Folder,
    /// A file whose name doesn't say how it is compressed.
    OddNames,
}

impl ExportOptions {
    /// Whether the reader can take it.
    pub fn takes(&self, what: Lack) -> bool {
        !self.lacks.contains(&what)
    }
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            format: Format::Docker,
            layers: LayerCompression::Keep,
            platforms: Vec::new(),
            lacks: &[],
            held: Held::Nothing,
        }
    }
}

/// Something that a user should know of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Only one image of an index is in the store.
    OneOfIndex {
        /// As a person would name it.
        image: String,
        /// How much else the index lists.
        absent: usize,
    },
    /// An index was made of those images that go out.
    NewIndex {
        /// As a person would name it.
        image: String,
        /// How many manifests it lists.
        listed: usize,
        /// How many it leaves out.
        dropped: usize,
    },
    /// Attestations were left out.
    AttestationsDropped {
        /// As a person would name it.
        image: String,
        /// How many.
        count: usize,
    },
    /// What is about digests that don't go out was left out.
    ReferrersDropped {
        /// How many.
        count: usize,
    },
    /// Signatures and the like were left out for the consumer's sake.
    ReferrersRefused {
        /// As a person would name it.
        image: String,
        /// How many.
        count: usize,
    },
    /// The images that one was built on were left out, as the layout has no place for
    /// them, or for the consumer's sake.
    AncestorsLeftOut {
        /// As a person would name it.
        image: String,
        /// How many.
        count: usize,
        /// Whether it is the layout.
        layout: bool,
    },
    /// The record of a revision can't be read, and with it what is about it.
    RecordDamaged {
        /// As a person would name it.
        image: String,
    },
    /// The layers of an image were decompressed for the consumer's sake.
    ZstdMadePlain {
        /// The manifest that lists them.
        manifest: Digest,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Self::OneOfIndex { image, absent } => {
                let s = plural(*absent);
                write!(f, "{image}: one image of its index is stored, {absent} manifest{s} not; ")?;
                f.write_str("the archive has that image, without the index")
            }
            Self::NewIndex { image, listed, dropped: 0 } => {
                write!(f, "{image}: wrote a new index of {listed} manifests")
            }
            Self::NewIndex { image, listed, dropped } => {
                write!(f, "{image}: wrote a new index of {listed} manifests, without {dropped}")
            }
            Self::AttestationsDropped { image, count } => {
                let s = plural(*count);
                write!(f, "{image}: left out {count} attestation{s} of images that are made anew")
            }
            Self::ReferrersDropped { count } => {
                let s = plural(*count);
                write!(f, "left out {count} manifest{s} about digests that don't go out")
            }
            Self::ReferrersRefused { image, count } => {
                let s = plural(*count);
                write!(f, "{image}: left out {count} manifest{s} about it, for this target")
            }
            Self::AncestorsLeftOut { image, count, layout } => {
                let s = plural(*count);
                write!(f, "{image}: left out {count} parent image{s}, ")?;
                let why = if *layout { "which an OCI layout can't say" } else { "for this target" };
                f.write_str(why)
            }
            Self::RecordDamaged { image } => {
                write!(f, "{image}: its record is damaged; signatures and parent images ")?;
                f.write_str("that it names are left out")
            }
            Self::ZstdMadePlain { manifest } => {
                let manifest = manifest.short();
                write!(f, "manifest {manifest}: its zstd layers go out plain, for this target")
            }
        }
    }
}

/// What was exported.
#[derive(Debug, Clone, Copy)]
pub struct ExportOutcome {
    /// Count of different images.
    pub images: usize,
    /// Length of the archive in bytes; of a folder, of its files.
    pub bytes: u64,
    /// Bytes of frames that were decoded for it.
    pub decoded: u64,
}

/// An export whose images are found and whose length is known.
#[derive(Debug)]
pub struct Export<'s> {
    store: &'s Store,
    blobs: Blobs<'s>,
    plan: EmitPlan,
    images: Vec<ExportedImage>,
    notes: Vec<Note>,
}

/// An image as it is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedImage {
    /// Its name there.
    pub reference: Option<Reference>,
    /// What `index.json` points at.
    pub root: Digest,
    /// Digest of the config, where `manifest.json` lists it.
    pub image_id: Option<Digest>,
}

impl<'s> Export<'s> {
    /// Reads the documents of these images, and plans the archive. Layers that are
    /// to be compressed anew are so for the first time.
    pub fn plan(
        store: &'s Store,
        images: &[Resolved],
        options: &ExportOptions,
        progress: &'s dyn Progress,
    ) -> Result<Self, ExportError> {
        let (mut blobs, mut gatherer) = (Blobs::new(store, progress), Gatherer::new(store));
        let (mut emit, mut exported, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        if options.layers != LayerCompression::Keep {
            progress.begin(None);
        }
        for resolved in images {
            let gathered = gatherer.read(resolved)?;
            let image = select::select(resolved, &gathered, options, &mut blobs, &mut notes)?;
            let artifacts =
                options.takes(Lack::Artifacts) && options.format != Format::DockerLegacy;
            if image.docker.is_none() && !artifacts {
                return Err(ExportError::Artifact { image: select::called(resolved) });
            }
            exported.push(ExportedImage {
                reference: resolved.reference.clone(),
                root: image.root.digest,
                image_id: image.docker.as_ref().map(|docker| docker.config),
            });
            emit.push(image);
        }
        progress.finish();
        let mut seen = Vec::new();
        notes.retain(|note| {
            let new = !seen.contains(note);
            seen.push(note.clone());
            new
        });
        let plan = EmitPlan::new(options.format, emit)?;
        let found = plan.entries();
        if options.format == Format::Oci && !options.takes(Lack::SeveralInOci) && found > 1 {
            return Err(ExportError::SeveralInOci { found });
        }
        Ok(Self { store, blobs, plan, images: exported, notes })
    }

    /// What the user should know of the archive.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The images, in the order in which they were given.
    pub fn images(&self) -> &[ExportedImage] {
        &self.images
    }

    /// The length of the archive in bytes, as a plain tar.
    pub fn size(&self) -> u64 {
        self.plan.size()
    }

    /// How many blobs the archive holds besides its documents.
    pub fn blobs(&self) -> usize {
        self.plan.layers().len()
    }

    /// The blobs that the archive lists and doesn't hold, as its reader has them,
    /// and their lengths in bytes.
    pub fn left_out(&self) -> Vec<(Digest, u64)> {
        let there: HashSet<Digest> = self.plan.layers().iter().map(|(it, _)| *it).collect();
        let left = self.blobs.held.iter().filter(|(it, _)| !there.contains(it));
        left.map(|(digest, size)| (*digest, *size)).collect()
    }

    /// What will be written.
    pub fn members(&self) -> &[image::EmitMember] {
        self.plan.members()
    }

    /// Writes the archive as a tar, in that form.
    pub fn write(
        &self,
        out: &mut dyn Write,
        form: Form,
        progress: &dyn Progress,
    ) -> Result<ExportOutcome, ExportError> {
        let failed = |source| ExportError::Image(image::Error::Write { source });
        let mut written = Written { inner: out, count: 0 };
        let encoder = Encoder::new(form, &mut written).map_err(failed)?;
        let mut sink = TarSink::new(encoder);
        let outcome = self.write_to(&mut sink, self.plan.size(), progress)?;
        let encoder = sink.into_inner();
        encoder.finish().and_then(Write::flush).map_err(failed)?;
        Ok(ExportOutcome { bytes: written.count, ..outcome })
    }

    /// Writes the archive as files of their own.
    pub fn write_folder(
        &self,
        folder: &mut FolderOutput,
        progress: &dyn Progress,
    ) -> Result<ExportOutcome, ExportError> {
        self.write_to(&mut FolderSink(folder), self.plan.content_size(), progress)
    }

    fn write_to(
        &self,
        sink: &mut dyn Sink,
        bytes: u64,
        progress: &dyn Progress,
    ) -> Result<ExportOutcome, ExportError> {
        progress.begin(Some(bytes));
        let before = self.store.decoded_bytes();
        let layers = self.plan.layers().iter().map(|(digest, _)| self.blobs.stored(*digest));
        let layers: Vec<Digest> = layers.collect();
        let result = self.store.decoding_ahead(&layers, || {
            self.plan.write(sink, |digest: &Digest, body: &mut dyn Write| {
                self.blobs.write(*digest, &mut Counted { inner: body, progress })
            })
        });
        progress.finish();
        result??;
        let decoded = self.store.decoded_bytes() - before;
        let roots: HashSet<Digest> = self.images.iter().map(|image| image.root).collect();
        Ok(ExportOutcome { images: roots.len(), bytes, decoded })
    }
}

/// Counts what is written in the end.
struct Written<'a> {
    inner: &'a mut dyn Write,
    count: u64,
}

impl Write for Written<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Members as files of a folder.
struct FolderSink<'a>(&'a mut FolderOutput);

impl Write for FolderSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for FolderSink<'_> {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        self.0.folder(path).map_err(io::Error::other)
    }

    fn link(&mut self, path: &str, _: &str) -> io::Result<()> {
        // Only the layout of old Docker has links, and that is no folder.
        Err(io::Error::other(format!("`{path}` would be a link")))
    }

    fn file(&mut self, path: &str, _: u64) -> io::Result<()> {
        self.0.file(path).map_err(io::Error::other)
    }

    fn end_file(&mut self, _: u64) -> io::Result<()> {
        self.0.end_file().map_err(io::Error::other)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
