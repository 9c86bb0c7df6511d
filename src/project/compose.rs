//! The images of a Compose project, as the Compose Specification has it.
//!
//! `load.rs` puts files, `include` and `extends` together, `service.rs` is what
//! they say of a service, `names.rs` knows the project's name; here is what comes
//! before and after: variables and profiles. Variables are replaced only where
//! they decide about an image of a service that runs, so a project that is wrong
//! elsewhere still gives its images. Knows neither the environment nor the current
//! folder.

mod load;
mod names;
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fs::{Disk, Fs, read_input};
use crate::project::dotenv::{self, Variables};
use crate::project::error::{ProjectError, cut, place};
use crate::project::variables::{self, Problem};
use crate::project::yaml;
use crate::project::{Collected, ComposeOptions, Found, Warning, read};

use load::Loader;
use service::{Service, Text};

/// Names of a project's file, by preference.
const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Names of a file that is laid over it.
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
/// Most bytes of a file of variables.
const MOST_VARIABLES: u64 = 1 << 20;

/// Finds the images of a Compose project: of all services that its profiles let
/// run, as `docker compose config --images` does, the further tags of what they
/// build, and images that they mount. Later files change earlier ones; `-` is
/// what `input` gives.
pub fn compose(
    files: &[PathBuf],
    options: &ComposeOptions,
    input: &mut dyn Read,
) -> Result<Found, ProjectError> {
    let directory = match (&options.project_directory, files.first()) {
        (Some(directory), _) => directory.clone(),
        (None, Some(first)) => parent(first),
        (None, None) => PathBuf::new(),
    };
    let mut variables = outer_variables(&directory, options)?;
    let mut documents = Vec::new();
    for file in files {
        documents.push((file.clone(), yaml::parse(file, &read(file, input)?)?));
    }
    let mut reading = Reading::default();
    let project = names::of_project(&mut reading, &documents, &directory, options, &variables)?;
    if let Some(project) = &project {
        variables.insert("COMPOSE_PROJECT_NAME".to_owned(), project.clone());
    }
    let profiles = profiles(options, &variables);
    let separator = if truth(variables.get("COMPOSE_COMPATIBILITY")) { '_' } else { '-' };
    let mut loader = Loader::new(reading, variables);
    loader.project(&documents, &directory)?;
    let (mut reading, services) = loader.finish();
    for (name, service) in services.in_order() {
        if !reading.runs(service, &profiles)? {
            continue;
        }
        let default = project.as_ref().map(|project| format!("{project}{separator}{name}"));
        reading.service(name, service, default.as_deref())?;
    }
    Ok(reading.collected.found)
}

/// The files of a Compose project when none is named: those of `COMPOSE_FILE`, or
/// else the usual one and its override, in `directory` or the next above it that
/// has one.
pub fn compose_files(
    directory: &Path,
    options: &ComposeOptions,
) -> Result<Vec<PathBuf>, ProjectError> {
    let variables = outer_variables(directory, options)?;
    if let Some(files) = variables.get("COMPOSE_FILE").filter(|files| !files.is_empty()) {
        let separator = variables.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        return Ok(files.split(separator).map(|file| directory.join(file)).collect());
    }
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    for (above, folder) in absolute.ancestors().enumerate() {
        // What is here need not be named by its whole path.
        let folder = if above == 0 { directory } else { folder };
        let first = |names: &[&str]| {
            names.iter().map(|name| folder.join(name)).find(|file| Disk.exists(file))
        };
        if let Some(file) = first(&NAMES) {
            return Ok([Some(file), first(&OVERRIDES)].into_iter().flatten().collect());
        }
    }
    Err(ProjectError::NoComposeFile { directory: directory.to_owned() })
}

/// The environment, and what files of variables add to it.
fn outer_variables(directory: &Path, options: &ComposeOptions) -> Result<Variables, ProjectError> {
    let mut files = options.env_files.clone();
    if let (true, Some(list)) = (files.is_empty(), options.environment.get("COMPOSE_ENV_FILES")) {
        files.extend(list.split(',').filter(|file| !file.is_empty()).map(PathBuf::from));
    }
    let disabled = truth(options.environment.get("COMPOSE_DISABLE_ENV_FILE"));
    if files.is_empty() && !disabled {
        files.extend(Some(directory.join(".env")).filter(|file| Disk.exists(file)));
    }
    with_files(&options.environment, &files)
}

/// Variables, and what files add to them.
fn with_files(outer: &Variables, files: &[PathBuf]) -> Result<Variables, ProjectError> {
    let mut added = Variables::new();
    for file in files {
        let bytes = read_input(file, MOST_VARIABLES)?;
        let text = String::from_utf8(bytes).map_err(|_| ProjectError::Variables {
            place: place(file, 0),
            problem: "it is not UTF-8".to_owned(),
        })?;
        dotenv::read(&text, outer, &mut added).map_err(|bad| ProjectError::Variables {
            place: place(file, bad.line),
            problem: bad.problem,
        })?;
    }
    added.extend(outer.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(added)
}

/// The profiles that are on.
fn profiles(options: &ComposeOptions, variables: &Variables) -> BTreeSet<String> {
    if !options.profiles.is_empty() {
        return options.profiles.iter().cloned().collect();
    }
    let list = variables.get("COMPOSE_PROFILES").map_or("", String::as_str);
    list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Whether a variable says yes.
fn truth(value: Option<&String>) -> bool {
    value.is_some_and(|value| {
        ["1", "t", "true", "y", "yes", "on"].contains(&value.to_lowercase().as_str())
    })
}

/// The folder of a file; that of standard input is the current one.
fn parent(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// What was found, and which variables were missed.
#[derive(Debug, Default)]
struct Reading {
    collected: Collected,
    unset: BTreeSet<String>,
}

impl Reading {
    /// Replaces the variables of a text, which is for `thing`.
    fn replaced(&mut self, text: &Text, thing: &str) -> Result<String, ProjectError> {
        let lookup = |name: &str| text.scope.get(name).cloned();
        let mut unset = Vec::new();
        let result =
            variables::replace(&text.written, &lookup, &mut |name| unset.push(name.to_owned()));
        for variable in unset {
            if self.unset.insert(variable.clone()) {
                let place = text.place.clone();
                self.collected.found.warnings.push(Warning::Unset { variable, place });
            }
        }
        let place = text.place.clone();
        let shown = cut(&text.written);
        result.map_err(|problem| match problem {
            Problem::Required { variable, message } => ProjectError::Required {
                place,
                thing: thing.to_owned(),
                variable: cut(&variable),
                message: cut(&message),
            },
            Problem::Invalid => {
                let problem = format!("a `$` in `{shown}` begins no variable");
                ProjectError::invalid(place, thing, problem)
            }
            Problem::TooLong => {
                ProjectError::invalid(place, thing, format!("`{shown}` comes to too much"))
            }
        })
    }

    /// Whether the profiles let a service run.
    fn runs(
        &mut self,
        service: &Service,
        profiles: &BTreeSet<String>,
    ) -> Result<bool, ProjectError> {
        let mut runs = service.profiles.is_empty() || profiles.contains("*");
        for profile in &service.profiles {
            runs |= profiles.contains(&self.replaced(profile, "a profile")?);
        }
        Ok(runs)
    }

    /// The images of a service that runs; `default` is how one is called that it
    /// builds and gives no name.
    fn service(
        &mut self,
        name: &str,
        service: &Service,
        default: Option<&str>,
    ) -> Result<(), ProjectError> {
        let by = format!("service `{}`", cut(name));
        let image = match &service.image {
            Some(image) => Some((self.replaced(image, &by)?, image.place.clone())),
            None => None,
        };
        match (image.filter(|(image, _)| !image.is_empty()), service.built) {
            (Some((image, place)), built) => self.collected.image(&image, &by, place, built)?,
            (None, true) => {
                let default = default.ok_or(ProjectError::ProjectName {
                    name: String::new(),
                    problem: "the folder's name holds no letter and no digit",
                })?;
                self.collected.image(default, &by, service.place.clone(), true)?;
            }
            (None, false) if service.provided || service.incomplete => {}
            (None, false) => {
                let problem = "it has neither `image` nor `build`";
                return Err(ProjectError::invalid(service.place.clone(), &by, problem));
            }
        }
        if service.built {
            for tag in &service.tags {
                let image = self.replaced(tag, &by)?;
                self.collected.image(&image, &by, tag.place.clone(), true)?;
            }
        }
        for (_, mounted) in &service.mounted {
            let image = self.replaced(mounted, &by)?;
            self.collected.image(&image, &format!("{by}, volume"), mounted.place.clone(), false)?;
        }
        Ok(())
    }
}
