//! `save IMAGE...`: images of a running engine into the store, without a file in
//! between.
//!
//! An image whose ID is the newest under its name already is not transferred at all.
//! All others come in one stream, as one commit, so that each layer passes once.

use std::collections::HashSet;

use super::input::Input;
use super::save::{SaveError, SaveOptions, SaveOutcome, save};
use crate::catalog::RevisionRow;
use crate::digest::Digest;
use crate::engine::{Engine, EngineError, EngineImage};
use crate::image::Reference;
use crate::progress::Progress;
use crate::store::{Store, StoreError};
use crate::varint::in_memory;

/// Why images of an engine were not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FromEngineError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What it sent was not saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be done about the images that were asked for.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is transferred.
    pub take: Vec<Wanted>,
    /// What is the newest already, and its revision.
    pub unchanged: Vec<(Wanted, RevisionRow)>,
    /// What the engine doesn't have, as it was asked for.
    pub missing: Vec<String>,
    /// Parent images that come along: how many.
    pub parents: usize,
    /// Images whose build history was asked for, and that have none.
    pub without_parents: Vec<String>,
    names: Vec<String>,
}

/// An image of the engine that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As a person would name it.
    pub name: String,
    /// Its name in the store; `None` where it was asked for by its ID.
    pub reference: Option<Reference>,
    /// What the engine calls it.
    pub id: Digest,
    /// Bytes of its content, as the engine counts them.
    pub size: u64,
}

/// Looks up what was asked for: names and IDs, as the engine takes them. With
/// `history`, the images that it was built upon come along.
pub fn plan(
    store: &Store,
    engine: &Engine,
    names: &[String],
    history: bool,
) -> Result<Plan, FromEngineError> {
    let mut plan = Plan::default();
    let mut seen = HashSet::new();
    for name in names {
        let Some(image) = engine.image(name)? else {
            if seen.insert((None, name.clone())) {
                plan.missing.push(name.clone());
            }
            continue;
        };
        let reference = named(name, &image);
        let shown = reference.as_ref().map_or_else(|| image.id.short(), Reference::familiar);
        let asked = reference.as_ref().map_or_else(|| image.id.to_string(), ToString::to_string);
        if !seen.insert((Some(image.id), asked.clone())) {
            continue;
        }
        let wanted = Wanted { name: shown, reference, id: image.id, size: image.size };
        let parents = if history { parents(engine, &asked)? } else { Vec::new() };
        if history && parents.is_empty() {
            plan.without_parents.push(wanted.name.clone());
        }
        let same = |it: &RevisionRow| it.image_id == image.id || it.root == image.id;
        let newest = newest(store, &wanted)?.filter(same);
        if let Some(revision) = newest
            && (parents.is_empty() || ancestors(store, &revision)? == parents)
        {
            plan.unchanged.push((wanted, revision));
            continue;
        }
        plan.names.push(asked);
        for parent in parents {
            if seen.insert((Some(parent), parent.to_string())) {
                plan.names.push(parent.to_string());
                plan.parents += 1;
            }
        }
        plan.take.push(wanted);
    }
    Ok(plan)
}

/// Transfers what is planned, and saves it. `None` where nothing is.
pub fn transfer(
    store: &mut Store,
    engine: &Engine,
    plan: &Plan,
    options: &SaveOptions<'_>,
    progress: &dyn Progress,
) -> Result<Option<SaveOutcome>, FromEngineError> {
    if plan.names.is_empty() {
        return Ok(None);
    }
    let stream = engine.save(&plan.names)?;
    let input = Input::from_stream(engine.about().to_string(), stream).map_err(SaveError::Read)?;
    Ok(Some(save(store, input, options, progress)?))
}

/// The images that one was built upon, nearest first. Docker saves none without layers.
fn parents(engine: &Engine, name: &str) -> Result<Vec<Digest>, EngineError> {
    let mut found = Vec::new();
    for parent in engine.parents(name)? {
        match engine.image(&parent.to_string())? {
            Some(image) if !image.diff_ids.is_empty() => found.push(parent),
            _ => break,
        }
    }
    Ok(found)
}

/// Those that a revision has with it.
fn ancestors(store: &Store, revision: &RevisionRow) -> Result<Vec<Digest>, StoreError> {
    let record = store.record(revision.record)?;
    let recorded = record.revisions.get(in_memory(revision.position));
    let all = recorded.map(|it| it.ancestors.iter().map(|ancestor| ancestor.image_id).collect());
    Ok(all.unwrap_or_default())
}

/// The name by which an image was asked for, unless that was its ID. Podman takes
/// names of its own for short ones.
fn named(asked: &str, image: &EngineImage) -> Option<Reference> {
    let asked = Reference::parse(asked).ok()?;
    let own = format!("localhost/{}", asked.familiar_repository());
    let names = image.names.iter().filter_map(|name| Reference::parse(name).ok());
    let same = |name: &Reference| {
        name.tag() == asked.tag()
            && (name.repository() == asked.repository() || name.repository() == own)
    };
    names.filter(same).max_by_key(|name| name.repository() == asked.repository())
}

fn newest(store: &Store, wanted: &Wanted) -> Result<Option<RevisionRow>, StoreError> {
    let Some(reference) = &wanted.reference else { return Ok(None) };
    Ok(store.catalog().revision(reference.repository(), reference.tag(), 0)?)
}
