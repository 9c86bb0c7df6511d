//! Gives back an archive as it was saved, bit for bit (docs/FORMAT.md section 7.1).
//!
//! All that is written is hashed. Where the whole archive was read when it was
//! saved, the result is compared; else it is as good as the parts that it is made
//! of, and called *not proven*.

use std::io::{self, Write};

use crate::digest::{Digest, Hashing, Id, from_hex};
use crate::gzip::{Rebuild, Replay};
use crate::image::Reference;
use crate::progress::{Counted, Progress};
use crate::store::record::{Revision, SaveRecord, SavedArchive};
use crate::store::{Store, StoreError};
use crate::varint::{Cursor, Malformed, in_memory};

const VERSION: u8 = 1;
/// The largest assembly that is read into memory.
const ASSEMBLY_MAX: u64 = 64 << 20;
/// The longest literal in one.
const LITERAL_MAX: u32 = 64 << 20;
/// How many threads compress the file.
const ENCODERS: usize = 4;
/// Bytes of a gzip stream that are held before they are written.
const HELD: usize = 1 << 20;

/// Why an archive isn't given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing of it was kept.
    #[error("the archive that save `{}` took in was not kept, only its images", save.short())]
    NotKept {
        /// The save.
        save: Id,
    },
    /// One of its images was removed.
    #[error(
        "the archive that save `{}` took in is not kept any more, since {image} was removed",
        save.short()
    )]
    Removed {
        /// The save.
        save: Id,
        /// A name that it had, or its image ID.
        image: String,
    },
    /// Its assembly can't be read.
    #[error("the assembly of save `{}` is damaged", save.short())]
    Damaged {
        /// The save.
        save: Id,
        /// What is wrong with it.
        source: Malformed,
    },
    /// What was put together isn't what was saved.
    #[error("the archive is not the one that was saved: expected {expected}, found {found}")]
    Differs {
        /// The hash or length that the record has.
        expected: String,
        /// That of what was written.
        found: String,
    },
    /// The output failed.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl OriginalError {
    /// The I/O error, where the output was what failed.
    pub fn output_error(&self) -> Option<&io::Error> {
        match self {
            Self::Write(error) | Self::Store(StoreError::Output(error)) => Some(error),
            _ => None,
        }
    }
}

/// An archive that can be given back.
#[derive(Debug)]
pub struct Original<'s> {
    store: &'s Store,
    save: Id,
    /// The blob that is the assembly.
    document: Digest,
    assembly: Vec<u8>,
    /// What the record says of it.
    pub archive: SavedArchive,
}

/// What was given back.
#[derive(Debug, Clone, Copy)]
pub struct OriginalOutcome {
    /// Bytes written.
    pub bytes: u64,
    /// SHA-256 of them.
    pub digest: Digest,
    /// Whether that was compared with what was saved.
    pub proven: bool,
}

enum Part<'a> {
    Literal(&'a [u8]),
    Blob(Digest),
}

impl<'s> Original<'s> {
    /// The archive of this save.
    pub fn of(store: &'s Store, save: Id) -> Result<Self, OriginalError> {
        Self::of_record(store, save, &store.record(save)?)
    }

    /// The same, where the record was read.
    pub(super) fn of_record(
        store: &'s Store,
        save: Id,
        record: &SaveRecord,
    ) -> Result<Self, OriginalError> {
        let (Some(document), Some(archive)) = (record.assembly, record.archive.clone()) else {
            return Err(OriginalError::NotKept { save });
        };
        let removed = store.catalog().removed_in(save).map_err(StoreError::from)?;
        if let Some(position) = removed.first() {
            let revision = record.revisions.get(in_memory(*position));
            let id = |it: &Revision| format!("image sha256:{}", it.image_id.short());
            let name = |it: &Revision| {
                let first = it.references.first().and_then(|it| Reference::parse_tagged(it).ok());
                first.map_or_else(|| id(it), |name| name.familiar())
            };
            let image = revision.map(name).unwrap_or_default();
            return Err(OriginalError::Removed { save, image });
        }
        let assembly = store.read_blob(document, ASSEMBLY_MAX)?;
        Ok(Self { store, save, document, assembly, archive })
    }

    /// All blobs that it is made of, and the one that says how.
    pub fn blobs(&self) -> Result<Vec<Digest>, OriginalError> {
        let parts = self.parts().map_err(|source| self.damaged(source))?;
        let blobs = parts.iter().filter_map(|part| match part {
            Part::Blob(digest) => Some(*digest),
            Part::Literal(_) => None,
        });
        let file = self.archive.file.filter(|_| self.archive.replay.is_none());
        Ok(blobs.chain(file).chain([self.document]).collect())
    }

    /// Whether the file that was saved, tar or compressed, comes back as it was; else
    /// it was compressed, and only the tar in it comes back.
    pub fn is_whole_file(&self) -> bool {
        self.archive.compression.is_none() || self.archive.file.is_some()
    }

    /// Writes the archive.
    pub fn write(
        &self,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<OriginalOutcome, OriginalError> {
        progress.begin(Some(self.archive.size));
        let result = self.write_file(out, progress);
        progress.finish();
        result
    }

    fn write_file(
        &self,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<OriginalOutcome, OriginalError> {
        let mut file = Hashing::new(out);
        match (self.archive.file, &self.archive.replay) {
            (Some(digest), None) => {
                self.store.copy_blob(digest, &mut file)?;
            }
            (_, Some(replay)) => {
                let damaged = || self.damaged(Malformed::Other("its replay can't be read"));
                let replay = from_hex(replay).and_then(|bytes| Replay::from_bytes(&bytes).ok());
                let replay = replay.ok_or_else(damaged)?;
                let mut tar = Regzip {
                    rebuild: Rebuild::on_threads(replay, ENCODERS),
                    held: Vec::new(),
                    out: &mut file,
                };
                self.write_tar(&mut tar, progress)?;
                tar.finish().map_err(OriginalError::Write)?;
            }
            (None, None) => return self.write_tar(&mut file, progress),
        }
        let (found, bytes) = file.finish();
        check(self.archive.file, found)?;
        Ok(OriginalOutcome { bytes, digest: found, proven: true })
    }

    fn write_tar(
        &self,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<OriginalOutcome, OriginalError> {
        let parts = self.parts().map_err(|source| self.damaged(source))?;
        let blobs: Vec<Digest> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Blob(digest) => Some(*digest),
                Part::Literal(_) => None,
            })
            .collect();
        let mut tar = Hashing::new(Counted { inner: out, progress });
        self.store.decoding_ahead(&blobs, || -> Result<(), OriginalError> {
            for part in &parts {
                match part {
                    Part::Literal(bytes) => tar.write_all(bytes).map_err(OriginalError::Write)?,
                    Part::Blob(digest) => {
                        let mut blob = Hashing::new(&mut tar);
                        self.store.copy_blob(*digest, &mut blob)?;
                        let (found, _) = blob.finish();
                        if found != *digest {
                            let expected = *digest;
                            return Err(StoreError::WrongBlob { expected, found }.into());
                        }
                    }
                }
            }
            Ok(())
        })??;
        tar.flush().map_err(OriginalError::Write)?;
        let (found, bytes) = tar.finish();
        if bytes != self.archive.size {
            let (expected, found) = (format!("{} bytes", self.archive.size), format!("{bytes}"));
            return Err(OriginalError::Differs { expected, found });
        }
        check(self.archive.digest, found)?;
        Ok(OriginalOutcome { bytes, digest: found, proven: self.archive.digest.is_some() })
    }

    fn damaged(&self, source: Malformed) -> OriginalError {
        OriginalError::Damaged { save: self.save, source }
    }

    fn parts(&self) -> Result<Vec<Part<'_>>, Malformed> {
        let mut cursor = Cursor::new(&self.assembly);
        if cursor.u8()? != VERSION {
            return Err(Malformed::Other("it is of a version that this program is too old for"));
        }
        let mut parts = Vec::new();
        while !cursor.is_empty() {
            let kind = cursor.varint()?;
            if kind == 1 {
                parts.push(Part::Blob(Digest::from_bytes(cursor.array()?)));
                continue;
            }
            let length = u32::try_from(kind >> 1).ok().filter(|length| *length <= LITERAL_MAX);
            match length {
                Some(length) if kind & 1 == 0 => {
                    parts.push(Part::Literal(cursor.take(in_memory(length))?));
                }
                _ => return Err(Malformed::Other("a piece of a kind that isn't known")),
            }
        }
        Ok(parts)
    }
}

fn check(expected: Option<Digest>, found: Digest) -> Result<(), OriginalError> {
    match expected {
        Some(expected) if expected != found => {
            Err(OriginalError::Differs { expected: expected.to_string(), found: found.to_string() })
        }
        _ => Ok(()),
    }
}

/// Compresses what passes as it was.
struct Regzip<'a> {
    rebuild: Rebuild,
    held: Vec<u8>,
    out: &'a mut dyn Write,
}

impl Regzip<'_> {
    fn finish(mut self) -> io::Result<()> {
        self.rebuild.finish(&mut self.held).map_err(io::Error::other)?;
        self.out.write_all(&self.held)?;
        self.out.flush()
    }
}

impl Write for Regzip<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rebuild.write(bytes, &mut self.held).map_err(io::Error::other)?;
        if self.held.len() >= HELD {
            self.out.write_all(&self.held)?;
            self.held.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
