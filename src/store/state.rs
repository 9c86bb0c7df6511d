//! What all records that are no saves add up to.
//!
//! A pure function: assumes that it is given all of them, in whatever order.
//! Guarantees that the result depends on what they say and on their order in
//! time alone. Deliberately doesn't know which revisions there are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::record::{Action, ActionRecord, GivenName, RevisionKey, Stamp};
use crate::digest::Id;

/// What counts of all that users did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    /// Revisions that were removed.
    pub removed: BTreeSet<RevisionKey>,
    /// Names that were removed.
    pub removed_names: BTreeSet<GivenName>,
    /// Names that tags gave, oldest first.
    pub tags: Vec<TagGiven>,
    /// Revisions that must not be removed.
    pub pinned: BTreeSet<RevisionKey>,
    /// Packs that garbage collection dropped.
    pub dropped: BTreeSet<Id>,
    /// The last removal or tag that counts, if it can be undone.
    pub last: Option<Id>,
}

/// Names that a tag gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagGiven {
    /// The record of the tag.
    pub record: Id,
    /// Its time and sequence.
    pub stamp: Stamp,
    /// Which revision got them.
    pub revision: RevisionKey,
    /// Fully qualified names.
    pub references: Vec<String>,
}

/// Adds up records.
pub fn fold(actions: impl IntoIterator<Item = (Id, ActionRecord)>) -> State {
    let ordered: BTreeMap<(Stamp, Id), ActionRecord> =
        actions.into_iter().map(|(id, action)| ((action.stamp(), id), action)).collect();
    let (undone, last) = undone(&ordered);
    let mut state = State { last, ..State::default() };
    let mut removals = Vec::new();
    let counting = ordered.into_iter().filter(|((_, id), _)| !undone.contains(id));
    for ((stamp, record), ActionRecord { action, .. }) in counting {
        match action {
            Action::Tag(tag) => {
                let (revision, references) = (tag.revision, tag.references);
                state.tags.push(TagGiven { record, stamp, revision, references });
            }
            Action::Remove(remove) => {
                removals.push(((stamp, record), remove.revisions));
                state.removed_names.extend(remove.names);
            }
            Action::Pin(pin) => {
                for revision in pin.revisions {
                    if pin.pinned {
                        state.pinned.insert(revision);
                    } else {
                        state.pinned.remove(&revision);
                    }
                }
            }
            Action::Repack(repack) => {
                for pack in repack.packs {
                    state.dropped.remove(&pack);
                }
                state.dropped.extend(repack.dropped);
            }
            Action::Undo(_) => {}
        }
    }
    state.removed = removed(removals, &state);
    state
}

/// The revisions that were removed. Who removes one lists all names of it, so one that
/// was given before and that nobody lists came when the rest was planned already: the
/// revision stays for it.
fn removed(removals: Vec<((Stamp, Id), Vec<RevisionKey>)>, state: &State) -> BTreeSet<RevisionKey> {
    let mut unseen: HashMap<RevisionKey, (Stamp, Id)> = HashMap::new();
    for tag in &state.tags {
        let given = |reference: &String| GivenName {
            reference: reference.clone(),
            record: tag.record,
            position: 0,
        };
        if !tag.references.iter().all(|name| state.removed_names.contains(&given(name))) {
            // The first one, as they come in their order.
            unseen.entry(tag.revision).or_insert((tag.stamp, tag.record));
        }
    }
    let mut removed = BTreeSet::new();
    for (at, revisions) in removals {
        let stays = |key: &RevisionKey| unseen.get(key).is_some_and(|tagged| *tagged < at);
        removed.extend(revisions.into_iter().filter(|key| !stays(key)));
    }
    removed
}

/// The records that were undone, and the one that can be undone next. An undo
/// counts if it takes back a tag or a removal before it that nobody took back
/// before, and if garbage wasn't collected between the two.
fn undone(ordered: &BTreeMap<(Stamp, Id), ActionRecord>) -> (HashSet<Id>, Option<Id>) {
    // Those since garbage was collected last, with their places.
    let mut open: HashMap<Id, usize> = HashMap::new();
    let mut undone = HashSet::new();
    for (place, ((_, id), record)) in ordered.iter().enumerate() {
        match &record.action {
            Action::Tag(_) | Action::Remove(_) => drop(open.insert(*id, place)),
            Action::Undo(undo) => {
                if open.remove(&undo.undone).is_some() {
                    undone.insert(undo.undone);
                }
            }
            Action::Repack(repack) if repack.optimized => {}
            Action::Repack(_) => open.clear(),
            Action::Pin(_) => {}
        }
    }
    let last = open.into_iter().max_by_key(|(_, place)| *place);
    (undone, last.map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Pin, Remove, Repack, Tag, Undo};
    use crate::time::Time;

    /// A sequence of numbers that looks like chance.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % limit
        }
    }

    fn key(number: u64) -> RevisionKey {
        RevisionKey { record: Id::of(&number.to_le_bytes()), position: 0 }
    }

    fn given(number: u64) -> GivenName {
        let RevisionKey { record, position } = key(number);
        GivenName { reference: format!("a/b/c:{number}"), record, position }
    }

    fn tag(number: u64) -> Action {
        Action::Tag(Tag { revision: key(number), references: vec![format!("a/b/c:{number}")] })
    }

    fn remove(number: u64) -> Action {
        let (revisions, names) = (vec![key(number)], vec![given(number)]);
        Action::Remove(Remove { reason: "rm".to_owned(), revisions, names })
    }

    fn pin(number: u64, pinned: bool) -> Action {
        Action::Pin(Pin { pinned, revisions: vec![key(number)] })
    }

    fn repack() -> Action {
        Action::Repack(Repack::default())
    }

    fn at(sequence: u64, action: Action) -> (Id, ActionRecord) {
        let saved_at = Time::from_nanos(i64::try_from(sequence).unwrap() / 3);
        let record = ActionRecord { program: "test".to_owned(), saved_at, sequence, action };
        (Id::of(&record.encode()), record)
    }

    fn undo(sequence: u64, target: &(Id, ActionRecord)) -> (Id, ActionRecord) {
        at(sequence, Action::Undo(Undo { undone: target.0 }))
    }

    fn folded(actions: &[&(Id, ActionRecord)]) -> State {
        fold(actions.iter().map(|action| (*action).clone()))
    }

    #[test]
    fn each_kind_does_what_it_says() {
        let (tagged, removed) = (at(1, tag(1)), at(2, remove(2)));
        let (pinned, unpinned) = (at(3, pin(3, true)), at(5, pin(4, false)));
        let before = at(4, pin(4, true));
        let state = folded(&[&tagged, &removed, &pinned, &before, &unpinned]);
        assert_eq!(state.tags.len(), 1);
        assert_eq!(state.tags[0].record, tagged.0);
        assert_eq!(state.tags[0].references, ["a/b/c:1"]);
        assert_eq!(state.removed, [key(2)].into());
        assert_eq!(state.removed_names, [given(2)].into());
        assert_eq!(state.pinned, [key(3)].into());
        assert_eq!(state.last, Some(removed.0));
    }

    #[test]
    fn a_tag_that_a_removal_did_not_see_keeps_its_revision() {
        let (tagged, removed, late) = (at(1, tag(1)), at(2, remove(1)), at(3, tag(1)));
        let state = folded(&[&tagged, &removed]);
        assert_eq!((state.removed.len(), state.removed_names), (0, [given(1)].into()));
        // One that comes later is too late: its content may be gone.
        assert_eq!(folded(&[&removed, &late]).removed, [key(1)].into());
        // When it is undone, or removed itself, nothing keeps the revision.
        let state = folded(&[&tagged, &removed, &undo(4, &tagged)]);
        assert_eq!(state.removed, [key(1)].into());
        let reference = "a/b/c:1".to_owned();
        let names = vec![GivenName { reference, record: tagged.0, position: 0 }];
        let removal = Remove { reason: "rm".to_owned(), revisions: vec![key(1)], names };
        let state = folded(&[&tagged, &removed, &at(5, Action::Remove(removal))]);
        assert_eq!((state.removed, state.removed_names.len()), ([key(1)].into(), 2));
    }

    #[test]
    fn what_is_undone_counts_no_more() {
        let (tagged, removed) = (at(1, tag(1)), at(2, remove(2)));
        let first = undo(3, &removed);
        let state = folded(&[&tagged, &removed, &first]);
        assert_eq!((state.removed.len(), state.last), (0, Some(tagged.0)));
        let second = undo(4, &tagged);
        let state = folded(&[&tagged, &removed, &first, &second]);
        assert_eq!(state, State::default());
        // Not twice, and an undo is no thing to undo.
        for third in [undo(5, &removed), undo(5, &first)] {
            assert_eq!(folded(&[&tagged, &removed, &first, &second, &third]), state);
        }
    }

    #[test]
    fn an_undo_must_be_later_and_no_garbage_be_collected_between() {
        let (early, removed, collected) = (at(1, remove(1)), at(3, remove(3)), at(4, repack()));
        let before = undo(2, &removed);
        let state = folded(&[&early, &before, &removed]);
        assert_eq!((state.removed.len(), state.last), (2, Some(removed.0)));
        let state = folded(&[&early, &removed, &collected, &undo(5, &removed)]);
        assert_eq!((state.removed.len(), state.last), (2, None));
        let after = at(6, remove(6));
        let state = folded(&[&early, &removed, &collected, &after]);
        assert_eq!(state.last, Some(after.0));
    }

    #[test]
    fn the_order_in_which_records_are_given_is_no_matter() {
        let mut chance = Chance(0x5eed_0f0f);
        for _ in 0..300 {
            let mut actions: Vec<(Id, ActionRecord)> = Vec::new();
            for sequence in 0..chance.below(20) {
                let number = chance.below(4);
                let action = match chance.below(12) {
                    0..3 => tag(number),
                    3..6 => remove(number),
                    6..8 => pin(number, number.is_multiple_of(2)),
                    8 => repack(),
                    _ => match actions.len() {
                        0 => continue,
                        count => {
                            let target = chance.below(count as u64);
                            let target = usize::try_from(target).unwrap();
                            Action::Undo(Undo { undone: actions[target].0 })
                        }
                    },
                };
                actions.push(at(sequence, action));
            }
            let expected = fold(actions.clone());
            for _ in 0..5 {
                for last in (1..actions.len()).rev() {
                    let other = usize::try_from(chance.below(last as u64 + 1)).unwrap();
                    actions.swap(last, other);
                }
                let twice = actions.iter().chain(actions.first()).cloned();
                assert_eq!(fold(twice), expected);
            }
        }
    }
}
