//! Which engine a command means, and which images by what uses them.

use std::io;
use std::path::PathBuf;

use orlop::engine::Engine;
use orlop::project::{self, ComposeOptions, Found};

use crate::cli::failure::Failure;
use crate::cli::{output, surroundings};

/// Which engine.
#[derive(Debug, clap::Args)]
pub(super) struct EngineChoice {
    /// The engine: `docker`, `podman`, the name of a Docker context, the path of a
    /// socket, or a URL (unix, tcp, ssh) [default: as for `docker`, else Podman]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
}

impl EngineChoice {
    /// Connects to it.
    pub(super) fn connect(&self) -> Result<Engine, Failure> {
        Ok(Engine::connect(&surroundings::of_engines(), self.engine.as_deref())?)
    }
}

/// Images by what uses them.
#[derive(Debug, clap::Args)]
pub(super) struct Projects {
    /// All images that the services of these Compose files use; without a file, of those
    /// that `docker compose` would find here
    #[arg(long, num_args = 0.., value_name = "FILE")]
    compose: Option<Vec<PathBuf>>,
    /// With `--compose`: services of this profile as well; `*` for all
    #[arg(long, value_name = "NAME", requires = "compose")]
    profile: Vec<String>,
    /// With `--compose`: the name of the project, by which images that it builds go
    #[arg(long, value_name = "NAME", requires = "compose")]
    project_name: Option<String>,
    /// With `--compose`: a file with variables, instead of `.env`
    #[arg(long, value_name = "FILE", requires = "compose")]
    env_file: Vec<PathBuf>,
    /// All images that these Kubernetes manifests use, which must be rendered
    #[arg(long, num_args = 1.., value_name = "FILE")]
    kubernetes: Vec<PathBuf>,
}

/// An image that something uses.
pub(super) struct Used {
    pub(super) name: String,
    /// Who uses it, for people.
    pub(super) by: String,
    /// Whether the project builds it.
    pub(super) built: bool,
}

impl Projects {
    /// The images that they use. Tells what could not be followed.
    pub(super) fn images(&self) -> Result<Vec<Used>, Failure> {
        let mut images = Vec::new();
        let mut stdin = io::stdin();
        if let Some(files) = &self.compose {
            let options = ComposeOptions {
                environment: surroundings::variables(),
                profiles: self.profile.clone(),
                project_name: self.project_name.clone(),
                env_files: self.env_file.clone(),
                project_directory: None,
            };
            let files = match &files[..] {
                [] => project::compose_files(&surroundings::folder()?, &options)?,
                files => files.to_vec(),
            };
            take(&mut images, project::compose(&files, &options, &mut stdin)?);
        }
        if !self.kubernetes.is_empty() {
            take(&mut images, project::kubernetes(&self.kubernetes, &mut stdin)?);
        }
        Ok(images)
    }
}

fn take(images: &mut Vec<Used>, found: Found) {
    for warning in found.warnings {
        output::note(&format!("warning: {warning}"));
    }
    for it in found.not_followed {
        output::note(&format!("warning: {}: not followed: {}: {}", it.place, it.what, it.why));
    }
    images.extend(found.images.into_iter().map(|it| Used {
        name: it.image,
        by: it.by.join(", "),
        built: it.built,
    }));
}
