//! `save`: one image archive into the store, as one commit.
//!
//! All of an archive's images are checked before anything is committed: layers
//! against their diff IDs, configs against what lists them. Whatever fails, the
//! store holds what it held before. Layers that the store knows are not read
//! where the input can seek.

mod check;
mod original;
mod read;
mod revision;
mod take;

use std::fmt;
use std::io::{self, BufReader};
use std::sync::Arc;

use super::body::Body;
use super::input::{Bytes, Input};
use super::proof::Prover;
use crate::catalog::CatalogError;
use crate::codec::{self, Levels};
use crate::digest::{Digest, Id, to_hex};
use crate::image::{self, Compression, Contents, Reference, Root, Warning};
use crate::progress::Progress;
use crate::store::record::{SaveRecord, SavedArchive, Source};
use crate::store::{Store, StoreError};
use crate::time::Time;
use read::ReadArchive;
use revision::Whole;
use take::Taker;

/// Why an archive was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The archive is not what it should be.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive can't be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// A layer is not the one that its image lists.
    #[error(
        "layer `{member}` of {image} does not match its diff ID: expected {expected}, found {found}"
    )]
    LayerMismatch {
        /// The member of the archive.
        member: String,
        /// The image, as a person would name it.
        image: String,
        /// What the config lists.
        expected: Digest,
        /// What the member holds.
        found: Digest,
    },
    /// A layer can't be decompressed.
    #[error("layer `{member}` of {image} can't be decompressed: {problem}")]
    LayerDamaged {
        /// The member of the archive.
        member: String,
        /// The image, as a person would name it.
        image: String,
        /// What the decoder said.
        problem: String,
    },
    /// A layer or another blob is neither in the archive nor in the store.
    #[error("the archive lacks `{path}`, and the store doesn't have it")]
    Absent {
        /// What the archive calls it.
        path: String,
    },
    /// `--tag` doesn't say which image it means.
    #[error("cannot name an image `{tag}`: expected one image without a tag, found {found}")]
    TagWithout {
        /// The reference that was asked for.
        tag: String,
        /// How many images have none.
        found: usize,
    },
}

impl From<CatalogError> for SaveError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}

/// How to save.
#[derive(Debug)]
pub struct SaveOptions<'a> {
    /// The name for the one image that has none.
    pub tag: Option<Reference>,
    /// zstd level of new content.
    pub level: i32,
    /// The time now.
    pub now: Time,
    /// Whether `now` was given by the user, and stands as it is.
    pub now_as_given: bool,
    /// Who saves, for the record.
    pub program: &'a str,
    /// What is kept of the archive as a whole.
    pub original: Original,
}

/// What is kept of an archive as a whole, besides its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Original {
    /// What is needed to put it together again; what the store has is not read,
    /// so that it isn't proven.
    #[default]
    Keep,
    /// The same, with all of it read and hashed; of a compressed one, its
    /// compressed form as well.
    Prove,
    /// Nothing.
    Forget,
}

/// What a save did.
#[derive(Debug)]
pub struct SaveOutcome {
    /// The record; `None` where nothing was new.
    pub save: Option<Id>,
    /// Who wrote the archive.
    pub dialect: &'static str,
    /// Its images, in its order.
    pub images: Vec<SavedImage>,
    /// What the user may want to know.
    pub warnings: Vec<SaveWarning>,
}

/// Something that a user may want to know of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveWarning {
    /// Of what the archive holds.
    Archive(Warning),
    /// The archive was compressed; only the tar in it can be given back.
    CompressionNotKept(Compression),
    /// There is too much in the archive besides its images to give it back.
    NotKept,
}

impl SaveWarning {
    /// Whether nothing is wrong with what was saved.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::CompressionNotKept(_))
    }
}

impl fmt::Display for SaveWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(warning) => warning.fmt(f),
            Self::CompressionNotKept(compression) => {
                write!(f, "the tar inside is kept, its {compression} form isn't (see `--original`)")
            }
            Self::NotKept => f.write_str(
                "the images are kept, the archive as a whole isn't: there is too much between them",
            ),
        }
    }
}

/// One image of a save.
#[derive(Debug, Clone)]
pub struct SavedImage {
    /// All its names in the archive.
    pub references: Vec<Reference>,
    /// Digest of its config; of an index, that of one of its images.
    pub image_id: Digest,
    /// Digest of its manifest or index.
    pub root: Digest,
    /// What it runs on: one or several of `os/architecture[/variant]`; empty for an
    /// artifact.
    pub platforms: String,
    /// Count of layers.
    pub layers: u64,
    /// Of those, how many the store had.
    pub layers_known: u64,
    /// Sum of the layer tars in bytes.
    pub size: u64,
    /// Bytes by which the store grew for it.
    pub added: u64,
    /// Whether it was the newest already under each of its names, so that
    /// nothing was written for it.
    pub unchanged: bool,
}

/// Saves one archive.
pub fn save(
    store: &mut Store,
    input: Input,
    options: &SaveOptions<'_>,
    progress: &dyn Progress,
) -> Result<SaveOutcome, SaveError> {
    let Input { name, bytes, compression } = input;
    let session = store.begin(Levels::for_content(options.level))?;
    let mut taker = Taker::new(session, progress);
    let result = read(&mut taker, bytes, compression, options);
    progress.finish();
    let (mut archive, file) = result?;
    taker.check(&archive.contents, &archive.members)?;
    taker.end_proofs()?;
    apply_tag(&mut archive.contents, options.tag.as_ref())?;
    commit(taker, &archive, (name, compression, file), options)
}

/// The compressed file around a tar, as it is kept.
struct WholeFile {
    digest: Digest,
    /// What makes it of the tar again; else it is a blob itself.
    replay: Option<String>,
}

fn read(
    taker: &mut Taker<'_, '_>,
    bytes: Bytes,
    compression: Option<Compression>,
    options: &SaveOptions<'_>,
) -> Result<(ReadArchive, Option<WholeFile>), SaveError> {
    let prove = options.original == Original::Prove;
    let stream = match bytes {
        Bytes::File(file) => return Ok((taker.read_file(file, prove)?, None)),
        Bytes::Folder(folder) => return Ok((taker.read_folder(folder)?, None)),
        Bytes::Stream(stream) => stream,
    };
    let Some(compression) = compression else {
        let mut stream = stream;
        return Ok((taker.read_stream(&mut stream)?, None));
    };
    if !prove {
        let mut stream = codec::expand(compression, stream).map_err(SaveError::Read)?;
        return Ok((taker.read_stream(&mut *stream)?, None));
    }
    let mut stream = stream;
    let spool = Arc::new(taker.session.spool(&mut stream)?);
    let input = BufReader::with_capacity(1 << 20, spool.reader());
    let mut tar = codec::expand(compression, input).map_err(SaveError::Read)?;
    let archive = taker.read_stream(&mut *tar)?;
    let proof = (compression == Compression::Gzip)
        .then(|| {
            Prover::new(taker.session.store().threads())
                .start(Body::Spool(Arc::clone(&spool)))
                .finish()
        })
        .flatten();
    let replay = proof.map(|replay| to_hex(&replay.to_bytes()));
    if replay.is_none() {
        taker.session.put_opaque(&mut spool.reader())?;
    }
    Ok((archive, Some(WholeFile { digest: spool.digest(), replay })))
}

fn commit(
    mut taker: Taker<'_, '_>,
    archive: &ReadArchive,
    (name, compression, file): (String, Option<Compression>, Option<WholeFile>),
    options: &SaveOptions<'_>,
) -> Result<SaveOutcome, SaveError> {
    let digest = archive.digest.filter(|_| options.original == Original::Prove);
    let whole = digest.map(|digest| Whole { digest, file: file.as_ref().map(|file| file.digest) });
    let mut made = taker.revisions(&archive.contents, whole)?;
    let dialect = archive.contents.dialect.name();
    let mut warnings: Vec<SaveWarning> =
        archive.contents.warnings.iter().cloned().map(SaveWarning::Archive).collect();
    let mut save = None;
    if !made.written.is_empty() {
        let source = Source { name, dialect: dialect.to_owned() };
        let mut record = SaveRecord::new(options.program, source, made.written);
        if options.original != Original::Forget && archive.is_one_file() {
            match taker.assemble(archive)? {
                Some(assembled) => {
                    made.kept.extend(assembled.blobs);
                    record.assembly = Some(assembled.assembly);
                    record.revisions[0].added += assembled.new;
                    if let (Some(compression), None) = (compression, &file) {
                        warnings.push(SaveWarning::CompressionNotKept(compression));
                    }
                    record.archive = Some(saved_archive(archive, compression, file));
                }
                None => warnings.push(SaveWarning::NotKept),
            }
        }
        made.kept.extend(record.archive.iter().filter_map(|archive| archive.file));
        taker.end_proofs()?;
        taker.session.keep_only(&made.kept);
        let (id, record) =
            taker.into_session().commit(record, options.now, options.now_as_given)?;
        for (saved, place) in &mut made.saved {
            saved.added = place.map_or(0, |place| record.revisions[place].added);
        }
        save = Some(id);
    }
    let images = made.saved.into_iter().map(|(saved, _)| saved).collect();
    Ok(SaveOutcome { save, dialect, images, warnings })
}

fn saved_archive(
    archive: &ReadArchive,
    compression: Option<Compression>,
    file: Option<WholeFile>,
) -> SavedArchive {
    let (file, replay) = file.map_or((None, None), |file| (Some(file.digest), file.replay));
    SavedArchive {
        size: archive.size,
        digest: archive.digest,
        compression: compression.map(|compression| compression.to_string()),
        file,
        replay,
    }
}

fn apply_tag(contents: &mut Contents, tag: Option<&Reference>) -> Result<(), SaveError> {
    let Some(tag) = tag else { return Ok(()) };
    let mut untagged = contents.roots.iter_mut().filter(|root| root.references.is_empty());
    match (untagged.next(), untagged.count()) {
        (Some(root), 0) => {
            root.references.push(tag.clone());
            Ok(())
        }
        (first, more) => {
            let found = usize::from(first.is_some()) + more;
            Err(SaveError::TagWithout { tag: tag.familiar(), found })
        }
    }
}

/// How messages call a root.
fn called(root: &Root) -> String {
    if let Some(reference) = root.references.first() {
        return reference.familiar();
    }
    let digest = root.manifests.iter().find_map(|manifest| match &manifest.config {
        image::FoundConfig::Given { document, .. } => Some(document.digest),
        _ => None,
    });
    let digest = digest.or(root.descriptor.as_ref().map(|descriptor| descriptor.digest));
    digest.map_or_else(|| "an image".to_owned(), |digest| format!("image {}", digest.short()))
}

/// The member reader puts its own error inside an I/O error.
fn read_error(error: io::Error) -> SaveError {
    match error.downcast::<image::Error>() {
        Ok(error) => SaveError::Image(error),
        Err(error) => SaveError::Read(error),
    }
}
