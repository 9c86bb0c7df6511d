//! The store header, `orlop.json` (docs/FORMAT.md section 3.1).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Result, StoreError};
use crate::chunk::cutter;
use crate::fs::{self, Fs};

const FORMAT: u64 = 1;
const ALGORITHM: &str = "gear-1";
const SIZE_MAX: u64 = 1 << 20;

/// The feature of records whose revisions have ancestors.
pub(super) const ANCESTORS: &str = "ancestors";

/// What a store says of itself; written once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoreHeader {
    /// Version of the format.
    pub format: u64,
    /// Identity of the store: 64 random hex digits.
    pub store: String,
    /// Reserved for keyed ids.
    id_key: Option<serde_json::Value>,
    chunking: Chunking,
    /// Features that the whole store uses.
    pub features: Features,
    /// Who made it.
    pub program: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Chunking {
    algorithm: String,
    min: u64,
    average: u64,
    max: u64,
    whole: u64,
}

/// Names of features in use, by what a program that doesn't know one may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Anything.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Read.
    #[serde(default)]
    pub read_only: Vec<String>,
    /// Nothing.
    #[serde(default)]
    pub refuse: Vec<String>,
}

impl Features {
    /// Fails by name if there is a feature that forbids reading.
    pub(super) fn check_read(&self, thing: &str) -> Result<()> {
        Self::check(&self.refuse, thing)
    }

    /// Fails by name if there is a feature that forbids writing.
    pub(super) fn check_write(&self, thing: &str) -> Result<()> {
        Self::check(&self.read_only, thing)
    }

    /// The feature that forbids writing to the store, if there is one.
    pub(super) fn forbids_writing(&self) -> Option<&str> {
        self.read_only.iter().map(String::as_str).find(|name| *name != ANCESTORS)
    }

    fn check(names: &[String], thing: &str) -> Result<()> {
        names.first().map_or(Ok(()), |name| Err(unsupported(thing, name)))
    }
}

/// That a feature isn't known.
pub(super) fn unsupported(thing: &str, feature: &str) -> StoreError {
    let need = format!("feature `{feature}`");
    StoreError::Unsupported { thing: thing.to_owned(), need }
}

fn our_chunking() -> Chunking {
    Chunking {
        algorithm: ALGORITHM.to_owned(),
        min: cutter::MIN as u64,
        average: cutter::AVERAGE as u64,
        max: cutter::MAX as u64,
        whole: cutter::WHOLE as u64,
    }
}

impl StoreHeader {
    pub(super) fn new(store: String, program: &str) -> Self {
        Self {
            format: FORMAT,
            store,
            id_key: None,
            chunking: our_chunking(),
            features: Features::default(),
            program: program.to_owned(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a header and refuses what this program must not read.
    pub(super) fn read(fs: &dyn Fs, path: &Path) -> Result<Self> {
        let bytes = fs::read(fs, path, SIZE_MAX)?;
        let header: Self = serde_json::from_slice(&bytes).map_err(|source| StoreError::Json {
            what: "store header",
            path: path.to_owned(),
            source,
        })?;
        let unsupported =
            |need: String| Err(StoreError::Unsupported { thing: "the store".to_owned(), need });
        if header.format != FORMAT {
            return unsupported(format!("format {}", header.format));
        }
        if header.id_key.is_some() {
            return unsupported("keyed ids".to_owned());
        }
        header.features.check_read("the store")?;
        Ok(header)
    }

    /// Refuses what this program must not write to.
    pub(super) fn check_write(&self) -> Result<()> {
        self.features.check_write("the store")?;
        if self.chunking != our_chunking() {
            let need = format!("chunking `{}`", self.chunking.algorithm);
            return Err(StoreError::Unsupported { thing: "the store".to_owned(), need });
        }
        Ok(())
    }
}
