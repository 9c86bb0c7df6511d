//! The name of a project, which names of built images begin with.
//!
//! Given, by `COMPOSE_PROJECT_NAME`, by the last file that has a `name`, or by the
//! project's folder; only the last is made to fit.

use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::project::ComposeOptions;
use crate::project::compose::Reading;
use crate::project::compose::service::{Context, Text};
use crate::project::dotenv::Variables;
use crate::project::error::{ProjectError, cut};
use crate::project::yaml::Node;

/// The project's name; `None` where only the folder could say, and says nothing.
pub(super) fn of_project(
    reading: &mut Reading,
    documents: &[(PathBuf, Vec<Node>)],
    directory: &Path,
    options: &ComposeOptions,
    variables: &Variables,
) -> Result<Option<String>, ProjectError> {
    let from_variable = || variables.get("COMPOSE_PROJECT_NAME").cloned();
    let given = options.project_name.clone().or_else(from_variable);
    if let Some(name) = given.filter(|name| !name.is_empty()) {
        return checked(name).map(Some);
    }
    let scope = Rc::new(variables.clone());
    for (file, nodes) in documents.iter().rev() {
        for name in nodes.iter().rev().filter_map(|node| node.get("name")) {
            let context = Context { file, scope: &scope };
            let text = Text::read(name, &context, "`name`")?;
            let name = reading.replaced(&text, "`name`")?;
            if !name.is_empty() {
                return checked(name).map(Some);
            }
        }
    }
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let name = clean(&absolute).file_name().map(|name| normalised(&name.to_string_lossy()));
    Ok(name.filter(|name| !name.is_empty()))
}

/// A name that fits, or an error.
fn checked(name: String) -> Result<String, ProjectError> {
    if normalised(&name) == name {
        return Ok(name);
    }
    let problem = "lower case letters, digits, `-` and `_` are allowed, with one of the first two \
                   at the beginning";
    Err(ProjectError::ProjectName { name: cut(&name), problem })
}

/// The name with all that does not fit left out.
fn normalised(name: &str) -> String {
    let name = name.to_lowercase();
    let fits = |letter: &char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_');
    name.chars().filter(fits).skip_while(|letter| matches!(letter, '-' | '_')).collect()
}

/// A path without `.` and `..`, as far as it says itself; links are not looked at.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some_and(|name| name != "..") => {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            _ => clean.push(part),
        }
    }
    clean
}
