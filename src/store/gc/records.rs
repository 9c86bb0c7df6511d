//! Which records are needed no more, and what the record of a collection says.
//!
//! A save goes when all its revisions were removed, and what speaks of nothing but
//! saves that went goes after it. A removal stays while anything is there that it
//! removes: else that would be back.

use std::collections::{BTreeSet, HashSet};

use crate::digest::Id;
use crate::store::record::{Action, ActionRecord, Record, Repack, RevisionKey, Stamp};
use crate::store::{Result, Store};

/// All records, and what they add up to.
#[derive(Debug)]
pub(super) struct Records {
    all: Vec<(Id, Record)>,
    removed: BTreeSet<RevisionKey>,
}

/// Records that can be removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Obsolete {
    /// First these.
    pub(super) saves_and_tags: Vec<Id>,
    /// Then, when those are durably gone, these.
    pub(super) others: Vec<Id>,
}

impl Obsolete {
    pub(super) fn is_empty(&self) -> bool {
        self.saves_and_tags.is_empty() && self.others.is_empty()
    }
}

impl Records {
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut all = Vec::new();
        for id in store.catalog.records()? {
            all.push((id, Record::read(&*store.fs, &store.layout.record(id), id)?));
        }
        let removed = store.state()?.removed;
        Ok(Self { all, removed })
    }

    /// What can be removed of them.
    pub(super) fn obsolete(&self) -> Obsolete {
        let mut gone = HashSet::new();
        for (id, record) in &self.all {
            if let Record::Save(save) = record {
                let mut keys = (0..)
                    .zip(&save.revisions)
                    .map(|(position, _)| RevisionKey { record: *id, position });
                if !save.revisions.is_empty() && keys.all(|key| self.removed.contains(&key)) {
                    gone.insert(*id);
                }
            }
        }
        let is_tag_of_gone = |action: &Action| matches!(action, Action::Tag(tag) if gone.contains(&tag.revision.record));
        let tags: HashSet<Id> =
            self.actions().filter(|(_, it)| is_tag_of_gone(&it.action)).map(|(id, _)| id).collect();
        gone.extend(tags);
        let mut there: HashSet<Id> =
            self.all.iter().map(|(id, _)| *id).filter(|id| !gone.contains(id)).collect();
        let mut others = Vec::new();
        // What speaks of nothing but what goes, goes as well.
        loop {
            let next = self.actions().filter(|(id, it)| there.contains(id) && is_idle(it, &there));
            let next: Vec<Id> = next.map(|(id, _)| id).collect();
            if next.is_empty() {
                break;
            }
            there.retain(|id| !next.contains(id));
            others.extend(next);
        }
        let mut saves_and_tags: Vec<Id> = gone.into_iter().collect();
        others.sort_unstable();
        saves_and_tags.sort_unstable();
        Obsolete { saves_and_tags, others }
    }

    fn actions(&self) -> impl Iterator<Item = (Id, &ActionRecord)> {
        self.all.iter().filter_map(|(id, record)| match record {
            Record::Action(action) => Some((*id, action)),
            Record::Save(_) => None,
        })
    }

    /// When a record was written.
    fn stamp(&self, id: Id) -> Option<Stamp> {
        self.all.iter().find(|(other, _)| *other == id).map(|(_, record)| record.stamp())
    }

    /// Collections that the newest one takes the place of. One that keeps an undo
    /// behind it from counting stays.
    pub(super) fn repacks(&self) -> Vec<Id> {
        let mut repacks: Vec<(Stamp, Id)> = self
            .actions()
            .filter(|(_, it)| matches!(it.action, Action::Repack(_)))
            .map(|(id, it)| (it.stamp(), id))
            .collect();
        repacks.sort_unstable();
        repacks.pop();
        let spans: Vec<(Stamp, Stamp)> = self
            .actions()
            .filter_map(|(_, it)| match &it.action {
                Action::Undo(undo) => Some((self.stamp(undo.undone)?, it.stamp())),
                _ => None,
            })
            .collect();
        let between = |at: &Stamp| spans.iter().any(|(from, to)| from <= at && at <= to);
        repacks.into_iter().filter(|(at, _)| !between(at)).map(|(_, id)| id).collect()
    }

    /// What a collection says that needs these packs and removes those; `obsolete`
    /// records go.
    pub(super) fn repack(
        &self,
        needed: &[Id],
        goes: &HashSet<Id>,
        obsolete: &Obsolete,
        is_there: impl Fn(Id) -> bool,
    ) -> Repack {
        let (mut named, mut named_by_any) = (HashSet::<Id>::new(), HashSet::<Id>::new());
        for (id, record) in &self.all {
            // Collections before this one may stay, and name what goes now.
            named_by_any.extend(record.packs());
            if matches!(record, Record::Save(_)) && !obsolete.saves_and_tags.contains(id) {
                named.extend(record.packs());
            }
        }
        let packs = needed.iter().copied().filter(|id| !named.contains(id)).collect();
        let needed: HashSet<Id> = needed.iter().copied().collect();
        let gone = |id: &Id| goes.contains(id) || !needed.contains(id) && !is_there(*id);
        let mut dropped: Vec<Id> = named_by_any.into_iter().filter(gone).collect();
        dropped.sort_unstable();
        Repack { packs, dropped, optimized: false }
    }
}

/// Whether an action speaks of nothing that is there.
fn is_idle(record: &ActionRecord, there: &HashSet<Id>) -> bool {
    match &record.action {
        Action::Tag(_) | Action::Repack(_) => false,
        Action::Remove(remove) => {
            let revisions = remove.revisions.iter().map(|key| key.record);
            let names = remove.names.iter().map(|name| name.record);
            !revisions.chain(names).any(|id| there.contains(&id))
        }
        Action::Pin(pin) => !pin.revisions.iter().any(|key| there.contains(&key.record)),
        Action::Undo(undo) => !there.contains(&undo.undone),
    }
}
