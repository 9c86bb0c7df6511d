//! `export`: stored images as one archive that `docker load` accepts.
//!
//! The same set of images gives the same bytes, in whatever order it is asked
//! for. Every layer is checked against its diff ID as it is written.

use std::io::{self, Write};

use super::inspect::{documents, layers_of};
use super::resolve::Resolved;
use crate::digest::Digest;
use crate::image::{self, EmitImage, EmitPlan};
use crate::progress::Progress;
use crate::store::{Store, StoreError};

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

/// What was exported.
#[derive(Debug, Clone, Copy)]
pub struct ExportOutcome {
    /// Count of different images.
    pub images: usize,
    /// Length of the archive in bytes.
    pub bytes: u64,
    /// Bytes of frames that were decoded for it.
    pub decoded: u64,
}

/// An export whose images are found and whose length is known.
#[derive(Debug)]
pub struct Export<'s> {
    store: &'s Store,
    plan: EmitPlan,
    images: usize,
}

impl<'s> Export<'s> {
    /// Reads the documents of these images, and plans the archive.
    pub fn plan(store: &'s Store, images: &[Resolved]) -> Result<Self, ExportError> {
        let mut emit = Vec::new();
        let mut roots = Vec::new();
        for resolved in images {
            let (config, manifest) = documents(store, resolved)?;
            let layers = layers_of(&config, &manifest, resolved)?;
            let references = resolved.reference.clone().into_iter().collect();
            emit.push(EmitImage { references, config, manifest, layers });
            roots.push(resolved.revision.root);
        }
        roots.sort_unstable();
        roots.dedup();
        Ok(Self { store, plan: EmitPlan::new(emit)?, images: roots.len() })
    }

    /// Writes the archive.
    pub fn write(
        &self,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<ExportOutcome, ExportError> {
        progress.begin(Some(self.plan.size()));
        let before = self.store.decoded_bytes();
        let layers: Vec<Digest> = self.plan.layers().iter().map(|(digest, _)| *digest).collect();
        let result = self.store.decoding_ahead(&layers, || {
            self.plan.write(out, |digest: &Digest, body: &mut dyn Write| {
                let mut body = Counted { inner: body, progress };
                self.store.copy_blob(*digest, &mut body)?;
                Ok::<(), ExportError>(())
            })
        });
        progress.finish();
        result??;
        let decoded = self.store.decoded_bytes() - before;
        Ok(ExportOutcome { images: self.images, bytes: self.plan.size(), decoded })
    }
}

/// Reports what passes through.
struct Counted<'a> {
    inner: &'a mut dyn Write,
    progress: &'a dyn Progress,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.progress.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
