//! Says what an archive without images is, as far as its members tell.

use std::collections::HashSet;

use crate::image::error::{Error, shown};
use crate::image::lookalike::Lookalike;
use crate::image::resolve::{INDEX, LAYOUT, LIST};
use crate::image::tree::Tree;

/// Folders at the top of a Linux system.
const SYSTEM: [&str; 12] =
    ["bin", "dev", "etc", "home", "lib", "opt", "proc", "root", "sbin", "tmp", "usr", "var"];
/// So many of them make a system.
const ENOUGH: usize = 3;

/// The error for an archive in which no image was found.
pub(super) fn error(tree: &Tree<'_>) -> Error {
    match guess(tree) {
        Some((lookalike, evidence)) => Error::LooksLike { lookalike, evidence: shown(&evidence) },
        None => Error::NotAnArchive { members: tree.len() },
    }
}

fn guess(tree: &Tree<'_>) -> Option<(Lookalike, String)> {
    let paths = || tree.members().iter().map(|member| member.path.as_str());
    let named = |name: &str| tree.has(name).then(|| name.to_owned());
    if let Some(evidence) = named("zarf.yaml") {
        return Some((Lookalike::Zarf, evidence));
    }
    if let Some(evidence) = named(".dockerenv") {
        return Some((Lookalike::Container, evidence));
    }
    let tops: HashSet<&str> = paths().map(first_part).filter(|top| *top != ".").collect();
    if let (1, Some(folder)) = (tops.len(), tops.iter().next()) {
        for name in [LAYOUT, LIST, INDEX] {
            if let Some(evidence) = named(&format!("{folder}/{name}")) {
                return Some((Lookalike::Folder, evidence));
            }
        }
        if let Some(evidence) = named(&format!("{folder}/Chart.yaml")) {
            return Some((Lookalike::Chart, evidence));
        }
    }
    let mut system = SYSTEM.iter().filter(|folder| tops.contains(**folder));
    let first = system.next()?;
    (system.count() + 1 >= ENOUGH).then(|| (Lookalike::System, (*first).to_owned()))
}

fn first_part(path: &str) -> &str {
    path.split_once('/').map_or(path, |(first, _)| first)
}
