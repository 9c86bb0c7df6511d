//! `load`: stored images into an engine, sending only the layers that it lacks.
//!
//! What the engine has is asked for first, and what is sent lists all layers and
//! holds the others. Afterwards each image is looked up by its name: only one that
//! is there as it should be counts as loaded. An engine that refuses, or doesn't end
//! up with the image, is sent everything once. The store is only read.

mod known;

use super::export::{
    Export, ExportError, ExportOptions, ExportedImage, Form, Held, LayerCompression, Note,
};
use super::resolve::Resolved;
use super::target::Target;
use crate::digest::Digest;
use crate::engine::{Engine, EngineError, ImageStore};
use crate::image::Reference;
use crate::progress::Progress;
use crate::store::{Store, StoreError};

/// Why images were not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The engine failed or refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The archive for it could not be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine took everything, and doesn't have the image.
    #[error("the engine took {image}, and has {} under that name", found.map_or_else(|| "nothing".to_owned(), |id| format!("image {}", id.short())))]
    NotThere {
        /// As a person would name it.
        image: String,
        /// What it has.
        found: Option<Digest>,
    },
}

/// What became of images.
#[derive(Debug, Default)]
pub struct LoadOutcome {
    /// The images: those that were there first, then those that were sent.
    pub images: Vec<LoadedImage>,
    /// What the user should know of what was sent.
    pub notes: Vec<Note>,
}

/// What became of an image.
#[derive(Debug, Clone)]
pub struct LoadedImage {
    /// Its name in the engine.
    pub reference: Option<Reference>,
    /// What the engine calls it.
    pub image_id: Digest,
    /// What was done.
    pub state: LoadState,
    /// The image that had this name before, if it was another.
    pub moved: Option<Digest>,
}

/// What was done for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadState {
    /// It was there under this name.
    There,
    /// It was there, and got this name.
    Named,
    /// It was sent, with others that were sent at once.
    Sent(Sent),
}

/// What went over to an engine at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// Different layers that the images list.
    pub layers: usize,
    /// Those that were sent.
    pub layers_sent: usize,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Bytes of an archive that holds everything.
    pub whole: u64,
    /// Why everything was sent after all: what came of leaving layers out.
    pub refused: Option<String>,
}

/// Loads these images. With `tag`, the one image gets this name instead of its own.
pub fn load(
    store: &Store,
    engine: &Engine,
    images: &[Resolved],
    tag: Option<&Reference>,
    progress: &dyn Progress,
) -> Result<LoadOutcome, LoadError> {
    let about = engine.about();
    let mut wanted = Vec::new();
    for resolved in images {
        let mut resolved = resolved.clone();
        if let Some(tag) = tag {
            resolved.reference = Some(tag.clone());
        }
        if about.image_store != ImageStore::Containerd && resolved.manifest.is_none() {
            resolved.manifest = known::fitting(store, &resolved, about)?;
        }
        wanted.push(resolved);
    }
    let mut loading = Loading { store, engine, progress, outcome: LoadOutcome::default() };
    let mut missing = Vec::new();
    for resolved in wanted {
        let export = Export::plan(store, std::slice::from_ref(&resolved), &loading.options(), &())?;
        let Some(image) = export.images().first().cloned() else { continue };
        if !loading.is_there(&image)? {
            missing.push(resolved);
        }
    }
    // Podman takes one image from an archive.
    let at_once = if about.image_store == ImageStore::Podman { 1 } else { missing.len().max(1) };
    for images in missing.chunks(at_once) {
        loading.send(images)?;
    }
    Ok(loading.outcome)
}

struct Loading<'a> {
    store: &'a Store,
    engine: &'a Engine,
    progress: &'a dyn Progress,
    outcome: LoadOutcome,
}

impl<'a> Loading<'a> {
    /// How this engine takes an archive that holds everything.
    fn options(&self) -> ExportOptions {
        let target = match self.engine.about().image_store {
            ImageStore::Graph if self.is_old() => Target::Docker20,
            ImageStore::Podman => Target::Podman,
            _ => Target::Docker,
        };
        ExportOptions { lacks: target.lacks(), ..ExportOptions::default() }
    }

    /// Whether it is from before Docker 23, which took up zstd.
    fn is_old(&self) -> bool {
        let major = self.engine.about().version.split('.').next();
        major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 23)
    }

    /// What the engine calls an image.
    fn id(&self, image: &ExportedImage) -> Digest {
        match self.engine.about().image_store {
            ImageStore::Containerd => image.root,
            _ => image.image_id.unwrap_or(image.root),
        }
    }

    /// Whether the engine has the image; then it also has its name.
    fn is_there(&mut self, image: &ExportedImage) -> Result<bool, LoadError> {
        let id = self.id(image);
        let there = self.engine.image(&id.to_string())?.is_some();
        let Some(reference) = image.reference.as_ref().filter(|_| there) else {
            if there {
                self.done(image.reference.clone(), id, LoadState::There, None);
            }
            return Ok(there);
        };
        let before = self.named(reference)?;
        if before == Some(id) {
            self.done(image.reference.clone(), id, LoadState::There, None);
        } else {
            self.engine.tag(&id.to_string(), reference.repository(), reference.tag())?;
            self.done(image.reference.clone(), id, LoadState::Named, before);
        }
        Ok(true)
    }

    /// The image that the engine has under a name.
    fn named(&self, reference: &Reference) -> Result<Option<Digest>, LoadError> {
        Ok(self.engine.image(&reference.to_string())?.map(|image| image.id))
    }

    fn done(
        &mut self,
        reference: Option<Reference>,
        image_id: Digest,
        state: LoadState,
        moved: Option<Digest>,
    ) {
        self.outcome.images.push(LoadedImage { reference, image_id, state, moved });
    }

    /// Sends images at once: what the engine lacks, or else everything.
    fn send(&mut self, images: &[Resolved]) -> Result<(), LoadError> {
        let whole = Export::plan(self.store, images, &self.options(), self.progress)?;
        let mut before = Vec::new();
        for image in whole.images() {
            let named = image.reference.as_ref().map(|reference| self.named(reference));
            before.push(named.transpose()?.flatten());
        }
        let thin = self.thin(images)?;
        let mut sent = Sent { whole: whole.size(), ..Sent::default() };
        let (thin, refused) = match thin {
            None => (None, None),
            Some(thin) => match self.try_thin(&thin)? {
                Ok(bytes) => {
                    sent.bytes = bytes;
                    (Some(thin), None)
                }
                Err(refused) => (None, Some(refused)),
            },
        };
        if thin.is_none() {
            sent.bytes = self.write(&whole)?;
            sent.refused = refused;
            if let Some(error) = self.lacking(&whole)? {
                return Err(error);
            }
        }
        let export = thin.as_ref().unwrap_or(&whole);
        sent.layers_sent = export.blobs();
        sent.layers = export.blobs() + export.left_out().len();
        self.outcome.notes.extend_from_slice(export.notes());
        for (image, before) in export.images().iter().zip(before) {
            let id = self.id(image);
            let moved = before.filter(|before| *before != id);
            self.done(image.reference.clone(), id, LoadState::Sent(sent.clone()), moved);
        }
        Ok(())
    }

    /// An archive of what the engine lacks, where that is less than everything.
    fn thin(&self, images: &[Resolved]) -> Result<Option<Export<'a>>, LoadError> {
        let held = known::held(self.store, self.engine, images)?;
        if held == Held::Nothing {
            return Ok(None);
        }
        let mut options = ExportOptions { held, ..self.options() };
        if self.engine.about().image_store == ImageStore::Podman {
            // It knows by the plain tar what it has.
            options.layers = LayerCompression::None;
        }
        let thin = Export::plan(self.store, images, &options, self.progress)?;
        Ok((!thin.left_out().is_empty()).then_some(thin))
    }

    /// Sends it. Returns how many bytes that were, or what came of it instead.
    fn try_thin(&self, thin: &Export<'_>) -> Result<Result<u64, String>, LoadError> {
        match self.write(thin) {
            Ok(bytes) => Ok(match self.lacking(thin)? {
                None => Ok(bytes),
                Some(error) => Err(error.to_string()),
            }),
            Err(LoadError::Engine(error @ EngineError::Refused { .. })) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Streams an archive to the engine. Returns how many bytes it has.
    fn write(&self, export: &Export<'_>) -> Result<u64, LoadError> {
        let outcome = self.engine.load(|out| export.write(out, Form::Plain, self.progress));
        let (written, _) = outcome.into_result::<LoadError>()?;
        Ok(written.bytes)
    }

    /// What the engine should have now, and doesn't.
    fn lacking(&self, export: &Export<'_>) -> Result<Option<LoadError>, LoadError> {
        for image in export.images() {
            let id = self.id(image);
            let name = image.reference.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
            let found = self.engine.image(&name)?.map(|found| found.id);
            if found != Some(id) {
                let image =
                    image.reference.as_ref().map_or_else(|| id.short(), Reference::familiar);
                return Ok(Some(LoadError::NotThere { image, found }));
            }
        }
        Ok(None)
    }
}
