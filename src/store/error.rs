//! Why a store operation failed.

use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::digest::{Digest, Id};
use crate::fs;
use crate::pack::pipeline::PipelineError;
use crate::pack::reader::PackError;
use crate::varint::Malformed;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A pack can't be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A pack can't be written.
    #[error("cannot write packs")]
    Pipeline(#[from] PipelineError),
    /// There is no store.
    #[error("cannot open store at {}: no store header there", root.display())]
    Missing {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// There is a store already.
    #[error("cannot create store at {}: there is one already", root.display())]
    AlreadyExists {
        /// Where.
        root: PathBuf,
    },
    /// The folder holds other things.
    #[error("cannot create store at {}: the folder is not empty", root.display())]
    NotEmpty {
        /// Where.
        root: PathBuf,
    },
    /// The store header or a record is no valid JSON of its form.
    #[error("{what} `{}` is damaged", path.display())]
    Json {
        /// `store header`, `record` or `generation`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A record's content has another hash than its name.
    #[error("record `{}` is damaged: expected {}, found {}", path.display(), expected.short(), found.short())]
    RecordHash {
        /// The file.
        path: PathBuf,
        /// Its name.
        expected: Id,
        /// Its content.
        found: Id,
    },
    /// A newer program made this, and this one must not touch it.
    #[error("{thing} needs {need}, which this version ({version}) does not know", version = env!("CARGO_PKG_VERSION"))]
    Unsupported {
        /// The store, or a record.
        thing: String,
        /// The feature, kind or version.
        need: String,
    },
    /// A record that is named as a save is none.
    #[error("record {} is no save", record.short())]
    NoSave {
        /// The record.
        record: Id,
    },
    /// A record that is named as something else is a save.
    #[error("record {} is a save", record.short())]
    NoAction {
        /// The record.
        record: Id,
    },
    /// Nothing rebuilds this blob.
    #[error("blob {digest} is not in the store")]
    NoBlob {
        /// The blob.
        digest: Digest,
    },
    /// A chunk that a recipe or frame names is in no pack.
    #[error("chunk {} is missing from the store", id.short())]
    NoChunk {
        /// The chunk.
        id: Id,
    },
    /// A directory that a recipe or frame names is in no pack.
    #[error("pack directory {} is missing from the store", id.short())]
    NoDirectory {
        /// The directory.
        id: Id,
    },
    /// A chunk that a recipe or frame names is in no pack, nor is the pack itself.
    #[error("a chunk of pack directory {} is missing from the store", directory.short())]
    NoChunkOf {
        /// The directory.
        directory: Id,
    },
    /// A recipe or section is not well formed.
    #[error("the recipe of blob {digest} is damaged")]
    Recipe {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: Malformed,
    },
    /// A blob can't be decompressed from what it stands on.
    #[error("blob {digest} cannot be decompressed")]
    Decompress {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: std::io::Error,
    },
    /// A rebuilt blob has another digest than the one asked for.
    #[error("rebuilt blob does not match its digest: expected {expected}, found {found}")]
    WrongBlob {
        /// What was asked for.
        expected: Digest,
        /// What came out.
        found: Digest,
    },
    /// A blob is larger than its caller can take.
    #[error("blob {digest} has {size} bytes, where at most {limit} are expected")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Another process does what only one may do at a time.
    #[error("cannot {what}: another process collects garbage at this moment")]
    Locked {
        /// What was to be done.
        what: &'static str,
    },
    /// The bytes to be stored can't be read.
    #[error("cannot read")]
    Input(#[source] std::io::Error),
    /// What was rebuilt can't be written.
    #[error("cannot write")]
    Output(#[source] std::io::Error),
    /// Catalog and packs disagree; `reindex` helps.
    #[error("the catalog names {0}")]
    Inconsistent(&'static str),
}

impl StoreError {
    /// Whether this says that the store is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Pack(error) => !matches!(error, PackError::Fs(error) if !error.is_missing()),
            Self::Json { .. }
            | Self::RecordHash { .. }
            | Self::NoSave { .. }
            | Self::NoAction { .. }
            | Self::NoBlob { .. }
            | Self::NoChunk { .. }
            | Self::NoDirectory { .. }
            | Self::NoChunkOf { .. }
            | Self::Recipe { .. }
            | Self::Decompress { .. }
            | Self::WrongBlob { .. }
            | Self::Inconsistent(_) => true,
            _ => false,
        }
    }
}
