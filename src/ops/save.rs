//! `save`: one image archive into the store, as one commit.
//!
//! All of an archive's images are checked before anything is committed: layers
//! against their diff IDs, configs against what lists them. Whatever fails, the
//! store holds what it held before. Layers that the store knows are not read
//! where the input can seek.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::input::{Bytes, Input};
use crate::catalog::CatalogError;
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::InputFile;
use crate::image::{
    self, Archive, ArchiveImage, Member, MemberKind, Members, Reference, Seekable, SmallBodies,
    Stream, Warning, check_plain_layer, make_manifest, media_type, resolve, wanted,
};
use crate::progress::Progress;
use crate::store::record::{Platform, Revision, Root, SaveRecord, Source};
use crate::store::{Store, StoreError, Stored, WriteSession};
use crate::time::Time;

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
    pub warnings: Vec<Warning>,
}

/// One image of a save.
#[derive(Debug, Clone)]
pub struct SavedImage {
    /// All its names in the archive.
    pub references: Vec<Reference>,
    /// Digest of its config.
    pub image_id: Digest,
    /// Digest of its manifest.
    pub root: Digest,
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
    let name = input.name;
    let session = store.begin(Levels::for_content(options.level))?;
    let mut save = Save { session, layers: HashMap::new(), counted: HashSet::new(), progress };
    let result = match input.bytes {
        Bytes::File(file) => save.take_file(file),
        Bytes::Stream(stream) => save.take_stream(stream),
    };
    progress.finish();
    let mut archive = result?;
    apply_tag(&mut archive, options.tag.as_ref())?;
    save.commit(archive, name, options)
}

/// A layer member that was taken in.
enum Taken {
    Stored(Stored),
    /// Not read, since the store has the layer that it should be.
    Known,
    /// Compressed: an error, if an image needs it.
    Compressed(Vec<u8>),
}

struct Save<'s, 'p> {
    session: WriteSession<'s>,
    /// By member.
    layers: HashMap<usize, Taken>,
    /// Members whose new bytes an image was charged with.
    counted: HashSet<usize>,
    progress: &'p dyn Progress,
}

impl Save<'_, '_> {
    fn take_file(&mut self, file: InputFile) -> Result<Archive, SaveError> {
        let source = Seekable::new(BufReader::new(file)).map_err(SaveError::Read)?;
        let mut scan = Members::new(source);
        let mut members = Vec::new();
        while let Some(member) = scan.next_member()? {
            members.push(member);
        }
        let mut file = scan.into_source().into_inner().into_inner();
        let archive = resolve_seekable(&mut file, &members)?;
        let needed = self.needed(&archive, &members)?;
        let total = needed.iter().map(|index| members[*index].size).sum();
        self.progress.begin(Some(total));
        for index in needed {
            let member = &members[index];
            file.seek(SeekFrom::Start(member.offset)).map_err(SaveError::Read)?;
            let taken = self.take(member, &mut (&mut file).take(member.size))?;
            self.layers.insert(index, taken);
        }
        self.check(&archive, &members)?;
        Ok(archive)
    }

    /// Members with layers that the store doesn't have, in the order of images.
    fn needed(&mut self, archive: &Archive, members: &[Member]) -> Result<Vec<usize>, SaveError> {
        let mut needed = Vec::new();
        let mut seen = HashSet::new();
        for layer in archive.images.iter().flat_map(|image| &image.layers) {
            if !seen.insert(layer.member) {
                continue;
            }
            let known = self.session.blob(layer.diff_id)?;
            // An empty member may stand for a layer that the other side has.
            let size = members[layer.member].size;
            if known.is_some_and(|known| size == known || size == 0) {
                self.layers.insert(layer.member, Taken::Known);
            } else {
                needed.push(layer.member);
            }
        }
        Ok(needed)
    }

    fn take_stream(&mut self, stream: Box<dyn Read>) -> Result<Archive, SaveError> {
        self.progress.begin(None);
        let mut scan = Members::new(Stream::new(stream));
        let mut members = Vec::new();
        let mut small = SmallBodies::new();
        while let Some(member) = scan.next_member()? {
            if member.kind == MemberKind::Regular {
                let mut body = scan.body();
                let mut head = Vec::new();
                (&mut body).take(512).read_to_end(&mut head).map_err(read_error)?;
                if small.wants(&member, &head) {
                    body.read_to_end(&mut head).map_err(read_error)?;
                    small.keep(&member, head);
                } else {
                    let taken = self.take(&member, &mut head.as_slice().chain(body))?;
                    self.layers.insert(member.index, taken);
                }
            }
            members.push(member);
        }
        let archive = resolve(&members, &|index| small.get(index))?;
        for layer in archive.images.iter().flat_map(|image| &image.layers) {
            if let Some(mut body) = small.get(layer.member)
                && !self.layers.contains_key(&layer.member)
            {
                let taken = self.take(&members[layer.member], &mut body)?;
                self.layers.insert(layer.member, taken);
            }
        }
        self.check(&archive, &members)?;
        Ok(archive)
    }

    /// Reads a member as a layer.
    fn take(&mut self, member: &Member, body: &mut dyn Read) -> Result<Taken, SaveError> {
        let mut head = Vec::new();
        body.take(512).read_to_end(&mut head).map_err(read_error)?;
        if check_plain_layer(member, &head).is_err() {
            io::copy(body, &mut io::sink()).map_err(read_error)?;
            return Ok(Taken::Compressed(head));
        }
        let mut body = Counted { inner: head.as_slice().chain(body), progress: self.progress };
        match self.session.put_layer(&mut body) {
            Ok(stored) => Ok(Taken::Stored(stored)),
            Err(StoreError::Input(error)) => Err(read_error(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// An empty member may stand for a layer that the store has. In a stream that
    /// shows only now.
    fn know_by_empty_members(&mut self, archive: &Archive) -> Result<(), SaveError> {
        for layer in archive.images.iter().flat_map(|image| &image.layers) {
            let empty = matches!(self.layers.get(&layer.member), Some(Taken::Stored(stored))
                if stored.size == 0 && stored.digest != layer.diff_id);
            if empty && self.session.blob(layer.diff_id)?.is_some() {
                self.layers.insert(layer.member, Taken::Known);
            }
        }
        Ok(())
    }

    /// Every layer is what its image lists.
    fn check(&mut self, archive: &Archive, members: &[Member]) -> Result<(), SaveError> {
        self.know_by_empty_members(archive)?;
        for image in &archive.images {
            for layer in &image.layers {
                let member = &members[layer.member];
                let found = match self.layers.get(&layer.member) {
                    Some(Taken::Stored(stored)) => stored.digest,
                    Some(Taken::Known) => layer.diff_id,
                    Some(Taken::Compressed(head)) => {
                        check_plain_layer(member, head)?;
                        continue;
                    }
                    None => {
                        let path = member.path.clone();
                        return Err(image::Error::NotAFile { role: "layer", path }.into());
                    }
                };
                if found != layer.diff_id {
                    return Err(SaveError::LayerMismatch {
                        member: member.path.clone(),
                        image: called(image),
                        expected: layer.diff_id,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    fn commit(
        mut self,
        archive: Archive,
        name: String,
        options: &SaveOptions<'_>,
    ) -> Result<SaveOutcome, SaveError> {
        let mut images = Vec::new();
        let mut revisions = Vec::new();
        let mut kept = HashSet::new();
        for image in archive.images {
            kept.extend(image.layers.iter().map(|layer| layer.diff_id));
            let (saved, revision) = self.image(&image)?;
            kept.extend([saved.image_id, saved.root]);
            // The place of its revision, to learn later what was added.
            let place = revision.map(|revision| {
                revisions.push(revision);
                revisions.len() - 1
            });
            images.push((saved, place));
        }
        let mut save = None;
        if !revisions.is_empty() {
            self.session.keep_only(&kept);
            let source = Source { name, dialect: archive.dialect.name().to_owned() };
            let record = SaveRecord::new(options.program, source, revisions);
            let (id, record) = self.session.commit(record, options.now, options.now_as_given)?;
            for (saved, place) in &mut images {
                saved.added = place.map_or(0, |place| record.revisions[place].added);
            }
            save = Some(id);
        }
        let images = images.into_iter().map(|(saved, _)| saved).collect();
        let (dialect, warnings) = (archive.dialect.name(), archive.warnings);
        Ok(SaveOutcome { save, dialect, images, warnings })
    }

    /// Puts an image's documents, and makes its revision unless it is the newest
    /// already.
    fn image(&mut self, image: &ArchiveImage) -> Result<(SavedImage, Option<Revision>), SaveError> {
        let mut layers = Vec::new();
        let (mut known, mut new) = (0, 0);
        for layer in &image.layers {
            let size = self.session.blob(layer.diff_id)?;
            layers.push((layer.diff_id, size.unwrap_or_default()));
            match self.layers.get(&layer.member) {
                Some(Taken::Stored(stored)) if self.counted.insert(layer.member) => {
                    new += stored.new;
                    known += u64::from(stored.known);
                }
                _ => known += 1,
            }
        }
        let size = layers.iter().map(|(_, size)| size).sum();
        let manifest = image.manifest.clone().unwrap_or_else(|| {
            make_manifest(image.config_digest, image.config.len() as u64, &layers)
        });
        let platform = platform(image);
        let complete = known == layers.len() as u64
            && self.session.blob(image.config_digest)?.is_some()
            && self.session.blob(Digest::of(&manifest))?.is_some();
        let names = self.changed_names(image, &platform, complete)?;
        let mut saved = SavedImage {
            references: image.references.clone(),
            image_id: image.config_digest,
            root: Digest::of(&manifest),
            layers: layers.len() as u64,
            layers_known: known,
            size,
            added: 0,
            unchanged: names.is_none(),
        };
        let Some(references) = names else { return Ok((saved, None)) };
        new += self.session.put_bytes(&image.config)?.new;
        let root = self.session.put_bytes(&manifest)?;
        saved.root = root.digest;
        let revision = Revision {
            root: Root {
                media_type: media_type::OCI_MANIFEST.to_owned(),
                digest: root.digest,
                size: root.size,
            },
            image_id: image.config_digest,
            platform,
            references,
            images: Vec::new(),
            referrers: Vec::new(),
            not_shipped: Vec::new(),
            created: image.parsed.created.clone(),
            layers: saved.layers,
            size,
            added: new + root.new,
        };
        Ok((saved, Some(revision)))
    }

    /// The names under which the image is not the newest revision; `None` where
    /// it is under all of them. What isn't `complete` in the store is saved again.
    fn changed_names(
        &self,
        image: &ArchiveImage,
        platform: &Platform,
        complete: bool,
    ) -> Result<Option<Vec<String>>, SaveError> {
        let catalog = self.session.store().catalog();
        let platform = platform.to_string();
        if image.references.is_empty() {
            let known = catalog.unnamed_revision(image.config_digest, &platform)?;
            return Ok((known.is_none() || !complete).then(Vec::new));
        }
        let mut changed = Vec::new();
        for reference in &image.references {
            let newest = catalog.revision(reference.repository(), reference.tag(), 0)?;
            let same = newest
                .is_some_and(|row| row.image_id == image.config_digest && row.platform == platform);
            if !same || !complete {
                changed.push(reference.to_string());
            }
        }
        Ok((!changed.is_empty()).then_some(changed))
    }
}

/// Fetches the documents that say what the archive holds.
fn resolve_seekable(file: &mut InputFile, members: &[Member]) -> Result<Archive, SaveError> {
    let mut bodies: HashMap<usize, Vec<u8>> = HashMap::new();
    loop {
        let missing = wanted(members, &|index| bodies.get(&index).map(Vec::as_slice))?;
        if missing.is_empty() {
            break;
        }
        for index in missing {
            let member = &members[index];
            file.seek(SeekFrom::Start(member.offset)).map_err(SaveError::Read)?;
            let mut body = Vec::new();
            (&mut *file).take(member.size).read_to_end(&mut body).map_err(SaveError::Read)?;
            bodies.insert(index, body);
        }
    }
    Ok(resolve(members, &|index| bodies.get(&index).map(Vec::as_slice))?)
}

fn apply_tag(archive: &mut Archive, tag: Option<&Reference>) -> Result<(), SaveError> {
    let Some(tag) = tag else { return Ok(()) };
    let mut untagged = archive.images.iter_mut().filter(|image| image.references.is_empty());
    match (untagged.next(), untagged.count()) {
        (Some(image), 0) => {
            image.references.push(tag.clone());
            Ok(())
        }
        (first, more) => {
            let found = usize::from(first.is_some()) + more;
            Err(SaveError::TagWithout { tag: tag.familiar(), found })
        }
    }
}

fn platform(image: &ArchiveImage) -> Platform {
    Platform {
        os: image.parsed.os.clone().unwrap_or_default(),
        architecture: image.parsed.architecture.clone().unwrap_or_default(),
        variant: image.parsed.variant.clone().filter(|variant| !variant.is_empty()),
    }
}

/// How messages call an image.
fn called(image: &ArchiveImage) -> String {
    image
        .references
        .first()
        .map_or_else(|| format!("image {}", image.config_digest.short()), Reference::familiar)
}

/// The member reader puts its own error inside an I/O error.
fn read_error(error: io::Error) -> SaveError {
    match error.downcast::<image::Error>() {
        Ok(error) => SaveError::Image(error),
        Err(error) => SaveError::Read(error),
    }
}

/// Reports what passes through.
struct Counted<'p, R> {
    inner: R,
    progress: &'p dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
