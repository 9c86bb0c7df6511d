//! Which root has which reference, where several may claim one.
//!
//! The last one that claims a reference gets it, as after loading the archive
//! into an engine.

use std::collections::HashMap;

use crate::image::archive::Warning;
use crate::image::reference::Reference;
use crate::image::resolve::{Found, Warnings};

/// Who has each reference.
#[derive(Default)]
pub(super) struct Names(HashMap<Reference, usize>);

impl Names {
    /// The place of the root that has `reference`.
    pub(super) fn owner(&self, reference: &Reference) -> Option<usize> {
        self.0.get(reference).copied()
    }

    /// Gives `reference` to the root at `place`.
    pub(super) fn claim(
        &mut self,
        reference: &Reference,
        place: usize,
        found: &mut [Found],
        warnings: &mut Warnings,
    ) {
        match self.0.insert(reference.clone(), place) {
            Some(before) if before == place => return,
            Some(_) => warnings.push(Warning::ReferenceTwice { reference: reference.clone() }),
            None => {}
        }
        found[place].root.references.push(reference.clone());
    }

    /// Leaves each reference with the last root that claimed it, once.
    pub(super) fn finish(&mut self, found: &mut [Found]) {
        for (place, found) in found.iter_mut().enumerate() {
            // Removing makes each stay once, even where it went back and forth.
            found.root.references.retain(|reference| {
                self.0.get(reference) == Some(&place) && self.0.remove(reference).is_some()
            });
        }
    }
}
