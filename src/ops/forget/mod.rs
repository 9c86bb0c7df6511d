//! `forget`: lets revisions go by rules.
//!
//! What goes is planned, shown, and then written as one record. Groups are the
//! revisions of one repository and platform; a revision that is in several loses
//! the names of those groups only in which nothing keeps it.

pub mod policy;

use std::collections::{BTreeMap, HashSet};

use super::action::{Author, key_of};
use super::images::matches;
use super::rm::{self, Removal};
use crate::catalog::RevisionRow;
use crate::digest::Id;
use crate::store::{Result, Store};
use crate::time::Zone;
use policy::{Candidate, Policy, Reason};

/// What stays and what goes.
#[derive(Debug)]
pub struct ForgetPlan {
    /// By repository and platform.
    pub groups: Vec<Group>,
    /// How many revisions have no name, and are left alone.
    pub unnamed: usize,
    /// How many were to go, and were pinned before they did.
    pub pinned_since: usize,
    removal: Removal,
}

/// The revisions of one repository and platform.
#[derive(Debug)]
pub struct Group {
    /// Fully qualified.
    pub repository: String,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// Newest first.
    pub entries: Vec<Entry>,
}

/// A revision in a group.
#[derive(Debug)]
pub struct Entry {
    /// The revision.
    pub revision: RevisionRow,
    /// The tags that it has in this repository, as far as they were asked for.
    pub tags: Vec<String>,
    /// Why it stays; empty where it goes.
    pub reasons: Vec<Reason>,
    /// Whether it is removed, since it has no name anywhere else.
    pub removed: bool,
}

impl ForgetPlan {
    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.removal.revisions.is_empty()
    }

    /// How many revisions lose names.
    pub fn going(&self) -> usize {
        self.removal.revisions.len()
    }

    /// The revisions that are removed: record, and place in it.
    pub fn removed(&self) -> Vec<(Id, u32)> {
        let removed = self.removal.revisions.iter().filter(|it| it.removed);
        removed.map(|it| (it.revision.record, it.revision.position)).collect()
    }

    /// Writes the record of it; `None` where nothing goes. What was pinned since it was
    /// planned stays, and is so in the plan from then on.
    pub fn carry_out(&mut self, store: &mut Store, author: Author<'_>) -> Result<Option<Id>> {
        self.spare_pinned(store)?;
        if self.is_empty() {
            // Whoever let go of the rest may have been killed before that was durable.
            store.make_durable()?;
            return Ok(None);
        }
        rm::write(store, "forget", &self.removal, author).map(Some)
    }

    fn spare_pinned(&mut self, store: &mut Store) -> Result<()> {
        store.refresh()?;
        let pinned = store.state()?.pinned;
        let before = self.going();
        self.removal.revisions.retain(|it| !pinned.contains(&key_of(&it.revision)));
        self.pinned_since = before - self.going();
        for entry in self.groups.iter_mut().flat_map(|group| &mut group.entries) {
            if entry.reasons.is_empty() && pinned.contains(&key_of(&entry.revision)) {
                (entry.reasons, entry.removed) = (vec![Reason::Pinned], false);
            }
        }
        Ok(())
    }
}

/// Plans what goes of the names that match a pattern, as for `images`.
pub fn plan(
    store: &Store,
    pattern: Option<&str>,
    policy: &Policy,
    zone: &Zone,
) -> Result<ForgetPlan> {
    let (mut groups, unnamed) = groups(store, pattern)?;
    for group in &mut groups {
        let candidates: Vec<_> = group.entries.iter().map(Entry::candidate).collect();
        let verdicts = policy.judge(&candidates, zone);
        for (entry, reasons) in group.entries.iter_mut().zip(verdicts) {
            entry.reasons = reasons;
        }
    }
    let mut going = Vec::new();
    for group in &groups {
        for entry in group.entries.iter().filter(|entry| entry.reasons.is_empty()) {
            let mut names = store.catalog().names_given_to(&entry.revision)?;
            let of_group = |tag: &String| entry.tags.contains(tag);
            names.retain(|it| it.name.repository == group.repository && of_group(&it.name.tag));
            going.push((entry.revision.clone(), names));
        }
    }
    let removal = rm::removal(store, going)?;
    let removed = removal.revisions.iter().filter(|it| it.removed);
    let removed: HashSet<_> = removed.map(|it| key_of(&it.revision)).collect();
    for entry in groups.iter_mut().flat_map(|group| &mut group.entries) {
        let goes = entry.reasons.is_empty();
        entry.removed = goes && removed.contains(&key_of(&entry.revision));
    }
    Ok(ForgetPlan { groups, unnamed, pinned_since: 0, removal })
}

/// All revisions with names that match, in their groups; and how many have none.
fn groups(store: &Store, pattern: Option<&str>) -> Result<(Vec<Group>, usize)> {
    let wanted = |repository: &str, tag: &str| {
        pattern.is_none_or(|pattern| matches(pattern, repository, tag))
    };
    let mut unnamed = 0;
    let mut groups: BTreeMap<(String, String), Vec<Entry>> = BTreeMap::new();
    for (name, revision) in store.catalog().revisions_named(true, wanted)? {
        let Some(name) = name else {
            unnamed += usize::from(pattern.is_none());
            continue;
        };
        let key = (name.repository, revision.platform.clone());
        let entries = groups.entry(key).or_default();
        // A revision's names come one after the other.
        match entries.last_mut().filter(|last| key_of(&last.revision) == key_of(&revision)) {
            Some(last) => last.tags.push(name.tag),
            None => entries.push(Entry {
                revision,
                tags: vec![name.tag],
                reasons: Vec::new(),
                removed: false,
            }),
        }
    }
    let groups = groups.into_iter().map(|((repository, platform), mut entries)| {
        entries.reverse();
        Group { repository, platform, entries }
    });
    Ok((groups.collect(), unnamed))
}

impl Entry {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            saved_at: self.revision.saved_at,
            tags: self.tags.iter().map(String::as_str).collect(),
            pinned: self.revision.pinned,
        }
    }
}
