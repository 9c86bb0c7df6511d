//! What an archive holds, whatever wrote it: from its members and JSON
//! documents to roots.
//!
//! Pure functions over the list of members and a look-up of bodies, so the same
//! code serves a file that can be sought in, a stream that has passed, and a
//! folder. What documents say is checked against the archive: paths, counts,
//! lengths, the digests of all documents. Layer bodies are not read here:
//! whoever reads them compares. Each dialect has its file; which one it is shows
//! by the documents with fixed names.

mod ancestors;
mod base64;
mod docker;
mod lookalike;
mod names;
mod oci;
mod reader;
mod referrers;
mod v1;
mod v1_config;

pub use v1_config::make_v1_config;

use std::collections::HashMap;

use crate::digest::Digest;
use crate::image::archive::{Dialect, Warning};
use crate::image::contents::{Contents, FoundLayer, Root};
use crate::image::error::Error;
use crate::image::members::Member;
use crate::image::tree::Tree;
use names::Names;
use reader::Reader;

const MOST_DUPLICATES: usize = 20;
/// Warnings stop here: a hostile archive could ask for any number.
const MOST_WARNINGS: usize = 40;

const LIST: &str = "manifest.json";
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const REPOSITORIES: &str = "repositories";

/// Looks up the body of a member by index; `None` if it is not at hand.
pub type Bodies<'f, 'b> = &'f dyn Fn(usize) -> Option<&'b [u8]>;

/// Indexes of the members whose bodies [`resolve`] will ask for and
/// `bodies` doesn't have. Fetch them and ask again, until there are none: what is
/// needed shows only as documents are read. `members` is all of them, in order.
///
/// # Errors
/// As [`resolve`], but only once nothing is left to fetch.
pub fn wanted(members: &[Member], bodies: Bodies<'_, '_>) -> Result<Vec<usize>, Error> {
    let tree = Tree::new(members);
    let reader = Reader::new(&tree, bodies);
    let result = contents(&reader);
    let missing = reader.missing();
    if missing.is_empty() {
        result?;
    }
    Ok(missing.into_iter().map(|(_, place)| place).collect())
}

/// What the archive with these `members` (all of them, in order) holds.
///
/// # Errors
/// Each names the member or reference at fault; [`Error::NotKept`] if a body
/// that [`wanted`] asks for is not at hand.
pub fn resolve(members: &[Member], bodies: Bodies<'_, '_>) -> Result<Contents, Error> {
    let tree = Tree::new(members);
    let reader = Reader::new(&tree, bodies);
    let result = contents(&reader);
    match reader.missing().first() {
        Some(&(role, place)) => Err(Error::NotKept { role, path: reader.path(place) }),
        None => result,
    }
}

impl FoundLayer {
    /// The body that the descriptor brings itself, compared with it when the
    /// archive was resolved. For where there is no member.
    pub fn inline_body(&self) -> Option<Vec<u8>> {
        reader::inline_data(self.descriptor.as_ref()?).ok()?
    }
}

/// Warnings so far; there is an end to them.
#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn push(&mut self, warning: Warning) {
        if self.0.len() < MOST_WARNINGS {
            self.0.push(warning);
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct State {
    /// The roots, and what is known of each only while it is resolved.
    found: Vec<Found>,
    names: Names,
    /// Which image one says that it was built on, by image IDs.
    parents: HashMap<Digest, Digest>,
    /// How many things `index.json` lists.
    listed: usize,
    warnings: Warnings,
}

/// A root, and what only the resolver needs.
struct Found {
    root: Root,
    /// The digest of the manifest that it is about.
    subject: Option<Digest>,
    /// A name that is no reference.
    nameless: Option<String>,
}

impl Found {
    fn new(root: Root) -> Self {
        Self { root, subject: None, nameless: None }
    }
}

/// Walks over the archive. What is not at hand is passed over, and the result
/// is of no use then.
fn contents(reader: &Reader<'_, '_, '_>) -> Result<Contents, Error> {
    let tree = reader.tree;
    let mut state = State::default();
    for path in tree.duplicates(MOST_DUPLICATES) {
        state.warnings.push(Warning::DuplicateMember { path });
    }
    let list = tree.find_if_there("image list", LIST)?;
    let index = tree.find_if_there("index", INDEX)?;
    let mark = tree.find_if_there("layout mark", LAYOUT)?;
    let mark_bytes = mark.map(|place| oci::check_layout(reader, place)).transpose()?.flatten();
    let dialect = match (list, index) {
        (Some(list), Some(index)) if mark.is_some() => {
            let items = docker::items(reader, list, true)?;
            oci::add_roots(reader, index, &mut state)?;
            docker::add_images(reader, &items, &mut state)?;
            Dialect::of_hybrid(mark_bytes)
        }
        (Some(list), _) => {
            let items = docker::items(reader, list, false)?;
            docker::add_images(reader, &items, &mut state)?;
            Dialect::of_docker(tree, &items)
        }
        (None, Some(index)) => {
            oci::add_roots(reader, index, &mut state)?;
            Dialect::OciLayout
        }
        (None, None) if mark.is_some() => {
            return Err(Error::Missing { role: "index", path: INDEX.to_owned() });
        }
        (None, None) => {
            let repositories = tree.find_if_there("list of references", REPOSITORIES)?;
            if !v1::add_images(reader, repositories, &mut state)? {
                return Err(lookalike::error(tree));
            }
            Dialect::DockerV1
        }
    };
    state.finish(dialect, reader)
}

impl State {
    /// Settles names, referrers and ancestors.
    fn finish(mut self, dialect: Dialect, reader: &Reader<'_, '_, '_>) -> Result<Contents, Error> {
        self.names.finish(&mut self.found);
        for found in &mut self.found {
            if let (true, Some(name)) = (found.root.references.is_empty(), found.nameless.take()) {
                self.warnings.push(Warning::NoRepository { name });
            }
        }
        let roots = referrers::attach(self.found, reader)?;
        let roots = ancestors::attach(roots, &self.parents, reader)?;
        if roots.is_empty() {
            return Err(Error::NoRoots { listed: self.listed });
        }
        Ok(Contents { dialect, roots, warnings: self.warnings.0 })
    }
}

#[cfg(test)]
mod tests;
