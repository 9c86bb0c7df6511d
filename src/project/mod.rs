//! Which images a project uses, by the files that describe it.
//!
//! [`compose`] reads a Compose project, [`kubernetes`] rendered manifests. Both
//! find names of images and say who uses each; what they can't follow, they name.
//! Only what decides about images is looked at. Knows neither engines nor the
//! store, nor the environment and the current folder: they come in as arguments.

mod compose;
mod dotenv;
mod error;
mod kubernetes;
mod variables;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use compose::{compose, compose_files};
pub use error::{Place, ProjectError};
pub use kubernetes::kubernetes;

use crate::fs;
use crate::image::Reference;

/// An image that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its name as written, with variables replaced.
    pub image: String,
    /// Who uses it, in the order of the files: ``service `web` ``, or
    /// `Deployment shop/web, container app`.
    pub by: Vec<String>,
    /// Where it is named first.
    pub place: Place,
    /// Whether the project builds it, so that no registry need have it.
    pub built: bool,
}

/// Something that may name images, and wasn't looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFollowed {
    /// What it is.
    pub what: String,
    /// Why it wasn't.
    pub why: &'static str,
    /// Where it is named.
    pub place: Place,
}

/// Something that is well to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A variable is not set, and nothing stands in for it.
    Unset {
        /// The variable.
        variable: String,
        /// Where it is used first.
        place: Place,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset { variable, place } => {
                write!(f, "{place}: variable `{variable}` is not set, so it is empty")
            }
        }
    }
}

/// What files say about images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The images, each name once, in the order in which they are first used.
    pub images: Vec<Used>,
    /// What may name more of them.
    pub not_followed: Vec<NotFollowed>,
    /// What else is well to know.
    pub warnings: Vec<Warning>,
}

/// How a Compose project is read.
#[derive(Debug, Clone, Default)]
pub struct ComposeOptions {
    /// Variables of the environment, which go before those of files. Those that
    /// Compose itself looks at count as well: `COMPOSE_PROFILES`,
    /// `COMPOSE_PROJECT_NAME`, `COMPOSE_FILE`, `COMPOSE_ENV_FILES` and their kin.
    pub environment: BTreeMap<String, String>,
    /// Profiles that are on; `*` is all. Without any, `COMPOSE_PROFILES` says.
    pub profiles: Vec<String>,
    /// The project's name, which names of built images begin with.
    pub project_name: Option<String>,
    /// Files with variables, instead of `.env` in the project's folder.
    pub env_files: Vec<PathBuf>,
    /// The project's folder, instead of that of the first file.
    pub project_directory: Option<PathBuf>,
}

/// Images by name, as they are found.
#[derive(Debug, Default)]
struct Collected {
    found: Found,
    index: BTreeMap<String, usize>,
}

impl Collected {
    fn image(
        &mut self,
        image: &str,
        by: &str,
        place: Place,
        built: bool,
    ) -> Result<(), ProjectError> {
        check(image).map_err(|problem| {
            let problem = format!("`{}` is not an image reference: {problem}", error::cut(image));
            ProjectError::invalid(place.clone(), by, problem)
        })?;
        if let Some(used) = self.index.get(image).and_then(|&at| self.found.images.get_mut(at)) {
            used.built |= built;
            if !used.by.iter().any(|other| other == by) {
                used.by.push(by.to_owned());
            }
            return Ok(());
        }
        self.index.insert(image.to_owned(), self.found.images.len());
        let by = vec![by.to_owned()];
        self.found.images.push(Used { image: image.to_owned(), by, place, built });
        Ok(())
    }
}

/// Whether a text names an image: by tag, digest or both, or by its ID.
fn check(image: &str) -> Result<(), String> {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if image.len() == 64 && hex(image) {
        return Ok(());
    }
    let (name, digest) = image.split_once('@').map_or((image, None), |(a, b)| (a, Some(b)));
    if let Some(digest) = digest {
        let valid = digest.split_once(':').is_some_and(|(algorithm, digits)| {
            !algorithm.is_empty() && digits.len() >= 32 && hex(digits)
        });
        if !valid {
            return Err("its digest is not valid".to_owned());
        }
    }
    match Reference::parse(name) {
        Ok(_) => Ok(()),
        Err(crate::image::Error::BadReference { problem, .. }) => Err(problem.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a file that was named, `-` from standard input.
fn read(file: &Path, input: &mut dyn Read) -> Result<Vec<u8>, ProjectError> {
    if file.as_os_str() != "-" {
        return Ok(fs::read_input(file, yaml::MOST_BYTES)?);
    }
    let mut bytes = Vec::new();
    let read = input.take(yaml::MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| ProjectError::Input { source })?;
    if bytes.len() as u64 > yaml::MOST_BYTES {
        let message = format!("it has more than {} bytes", yaml::MOST_BYTES);
        let source = io::Error::new(io::ErrorKind::FileTooLarge, message);
        return Err(ProjectError::Input { source });
    }
    Ok(bytes)
}
