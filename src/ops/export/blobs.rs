//! Where the bytes of each blob of an archive come from: the store, as they are
//! there, decompressed or compressed anew.
//!
//! What is made anew is made twice: first for its digest and length, which a
//! manifest must say before the first byte is written, then into the archive.
//! Memory is bounded either way.

use std::collections::HashMap;
use std::io::{self, Write};

use super::ExportError;
use super::encode::{Encoder, Form};
use crate::codec::Expander;
use crate::digest::{Digest, Hashing};
use crate::image;
use crate::progress::{Counted, Progress};
use crate::store::Store;

/// How a blob comes about.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// The blob in the store.
    stored: Digest,
    /// What form that has, to be made plain.
    expand: Form,
    /// What form is made of the result.
    encode: Form,
}

/// The blobs of an archive.
pub(super) struct Blobs<'s> {
    store: &'s Store,
    progress: &'s dyn Progress,
    /// Those that aren't in the store as they are.
    made: HashMap<Digest, Source>,
    /// By diff ID and form.
    known: HashMap<(Digest, Form), (Digest, u64)>,
    /// Those that the reader of the archive has, and their lengths.
    pub(super) held: HashMap<Digest, u64>,
}

impl std::fmt::Debug for Blobs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs").field("made", &self.made).finish_non_exhaustive()
    }
}

/// A layer as the store has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredLayer {
    /// The blob that the manifest lists.
    pub(super) digest: Digest,
    /// What form that has.
    pub(super) form: Form,
    /// Digest of the plain tar.
    pub(super) diff_id: Digest,
}

impl<'s> Blobs<'s> {
    pub(super) fn new(store: &'s Store, progress: &'s dyn Progress) -> Self {
        Self { store, progress, made: HashMap::new(), known: HashMap::new(), held: HashMap::new() }
    }

    /// The layer in another form: digest and length of the blob, which can be
    /// written from now on.
    pub(super) fn convert(
        &mut self,
        layer: StoredLayer,
        encode: Form,
    ) -> Result<(Digest, u64), ExportError> {
        let diff_id = layer.diff_id;
        if let Some(known) = self.known.get(&(diff_id, encode)) {
            return Ok(*known);
        }
        let plain = self.store.blob(diff_id)?;
        let found = match plain {
            Some(plain) if encode == Form::Plain => (diff_id, plain.size),
            _ => {
                let (stored, expand) = match plain {
                    Some(_) => (diff_id, Form::Plain),
                    None => (layer.digest, layer.form),
                };
                let source = Source { stored, expand, encode };
                let found = self.measure(source, diff_id)?;
                self.made.insert(found.0, source);
                found
            }
        };
        self.known.insert((diff_id, encode), found);
        Ok(found)
    }

    /// Makes a blob for its digest and length alone.
    fn measure(&self, source: Source, diff_id: Digest) -> Result<(Digest, u64), ExportError> {
        let out = Hashing::new(io::sink());
        let plain = Hashing::new(Counted {
            inner: Encoder::new(source.encode, out).map_err(write_error)?,
            progress: self.progress,
        });
        let plain =
            self.store.decoding_ahead(&[source.stored], || self.expand(source, plain))??;
        let (encoder, found, _) = plain.into_parts();
        if found != diff_id {
            let what = format!("layer {diff_id}");
            return Err(image::Error::DigestMismatch { what, expected: diff_id, found }.into());
        }
        let out = encoder.inner.finish().map_err(write_error)?;
        Ok(out.finish())
    }

    /// Writes what the store has, decompressed if need be.
    fn expand<W: Write>(&self, source: Source, mut out: W) -> Result<W, ExportError> {
        let mut expander = match source.expand {
            Form::Plain => {
                self.store.copy_blob(source.stored, &mut out)?;
                return Ok(out);
            }
            Form::Gzip => Expander::gzip(out),
            Form::Zstd => Expander::zstd(out).map_err(write_error)?,
        };
        self.store.copy_blob(source.stored, &mut expander)?;
        expander.finish().map_err(write_error)
    }

    /// Writes a blob, which the caller checks.
    pub(super) fn write(&self, digest: Digest, out: &mut dyn Write) -> Result<(), ExportError> {
        match self.made.get(&digest) {
            None => {
                self.store.copy_blob(digest, out)?;
            }
            Some(source) => {
                let encoder = Encoder::new(source.encode, out).map_err(write_error)?;
                self.expand(*source, encoder)?.finish().map_err(write_error)?;
            }
        }
        Ok(())
    }

    /// What the store is asked for when a blob is written.
    pub(super) fn stored(&self, digest: Digest) -> Digest {
        self.made.get(&digest).map_or(digest, |source| source.stored)
    }
}

fn write_error(source: io::Error) -> ExportError {
    image::Error::Write { source }.into()
}
