//! What all records together mean, from section 7.2 of the text alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use orlop::ops::action::Author;
use orlop::ops::forget::plan;
use orlop::ops::forget::policy::{Policy, Reason};
use orlop::time::{Time, Zone};
use serde_json::Value;

use super::bytes;
use super::store::list;
use crate::support::stores::open_disk;
use crate::support::{Scratch, hello};

/// Record and position.
pub(super) type Key = (String, u64);

/// What a store's names mean.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of each name, the revisions that it means, the first given first.
    pub(super) meant: BTreeMap<String, Vec<Key>>,
    pinned: BTreeSet<String>,
    pub(super) removed: BTreeSet<Key>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn key(value: &Value) -> Key {
    (text(&value["record"]), value["position"].as_u64().unwrap())
}

fn keys(value: &Value) -> impl Iterator<Item = Key> + '_ {
    value.as_array().unwrap().iter().map(key)
}

/// All records in order: id and content.
fn records(store: &Path) -> Vec<(String, Value)> {
    let read = |(id, path): ([u8; 32], _)| {
        let record: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        (text(&record["saved_at"]), record["sequence"].as_u64().unwrap(), bytes::hex(&id), record)
    };
    let mut records: Vec<_> = list(&store.join("records"), ".json").into_iter().map(read).collect();
    records.sort_by(|one, other| (&one.0, one.1, &one.2).cmp(&(&other.0, other.1, &other.2)));
    records.into_iter().map(|(_, _, id, record)| (id, record)).collect()
}

fn undone(records: &[(String, Value)]) -> BTreeSet<String> {
    let mut undone = BTreeSet::new();
    for (at, (_, record)) in records.iter().enumerate().filter(|(_, it)| it.1["kind"] == "undo") {
        let target = text(&record["undone"]);
        let Some(from) = records[..at].iter().position(|(id, _)| *id == target) else { continue };
        let takes_back = ["tag", "remove"].iter().any(|kind| records[from].1["kind"] == *kind);
        let between = records[from..at].iter().any(|(_, it)| it["kind"] == "repack");
        if takes_back && !between {
            // Another one before it changes nothing.
            undone.insert(target);
        }
    }
    undone
}

pub(super) fn read(store: &Path) -> Names {
    let records = records(store);
    let undone = undone(&records);
    let counting = || records.iter().filter(|(id, _)| !undone.contains(id));
    let mut taken = BTreeSet::new();
    for (_, record) in counting().filter(|(_, record)| record["kind"] == "remove") {
        let names = record["names"].as_array().unwrap();
        taken.extend(names.iter().map(|name| (text(&name["reference"]), key(name))));
    }
    let mut removed = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for (id, record) in counting() {
        if record["kind"] == "tag" {
            let mut names = record["references"].as_array().unwrap().iter().map(text);
            if names.any(|name| !taken.contains(&(name, (id.clone(), 0)))) {
                unknown.insert(key(&record["revision"]));
            }
        } else if record["kind"] == "remove" {
            removed.extend(keys(&record["revisions"]).filter(|of| !unknown.contains(of)));
        }
    }
    let mut found = Names::default();
    let mut give = |reference: &Value, given: Key, of: Key| {
        let reference = text(reference);
        if !removed.contains(&of) && !taken.contains(&(reference.clone(), given)) {
            found.meant.entry(reference).or_default().push(of);
        }
    };
    let mut pins: HashMap<Key, bool> = HashMap::new();
    for (id, record) in counting() {
        match record["kind"].as_str().unwrap() {
            "save" => {
                for (position, revision) in (0..).zip(record["revisions"].as_array().unwrap()) {
                    for reference in revision["references"].as_array().unwrap() {
                        give(reference, (id.clone(), position), (id.clone(), position));
                    }
                }
            }
            "tag" => {
                for reference in record["references"].as_array().unwrap() {
                    give(reference, (id.clone(), 0), key(&record["revision"]));
                }
            }
            "pin" => {
                let pinned = record["pinned"].as_bool().unwrap();
                pins.extend(keys(&record["revisions"]).map(|of| (of, pinned)));
            }
            _ => {}
        }
    }
    let pinned = pins.into_iter().filter(|(of, pinned)| *pinned && !removed.contains(of));
    found.pinned = pinned.map(|((record, _), _)| record).collect();
    found.removed = removed;
    found
}

/// What the program says: name and save of each line, and which saves are pinned.
fn listed(scratch: &Scratch, all: bool) -> (BTreeSet<(String, String)>, BTreeSet<String>) {
    let arguments: &[&str] =
        if all { &["images", "--json", "--all"] } else { &["images", "--json"] };
    let document: Value = serde_json::from_str(&scratch.ok(arguments)).unwrap();
    let (mut names, mut pinned) = (BTreeSet::new(), BTreeSet::new());
    for row in document["images"].as_array().unwrap() {
        let name = format!("{}:{}", text(&row["repository"]), text(&row["tag"]));
        names.insert((name, text(&row["save"])));
        if row["pinned"] == true {
            pinned.insert(text(&row["save"]));
        }
    }
    (names, pinned)
}

/// What the text says must be what the program says. Returns the former.
pub(super) fn agree(scratch: &Scratch, after: &[&str]) -> Names {
    let names = read(&scratch.store());
    let pairs = |all: bool| -> BTreeSet<(String, String)> {
        let shown = |(name, given): (&String, &Vec<Key>)| {
            let from = if all { 0 } else { given.len() - 1 };
            given[from..].iter().map(|of| (name.clone(), of.0.clone())).collect::<Vec<_>>()
        };
        names.meant.iter().flat_map(shown).collect()
    };
    assert_eq!(listed(scratch, true), (pairs(true), names.pinned.clone()), "{after:?}");
    assert_eq!(listed(scratch, false).0, pairs(false), "{after:?}");
    names
}

#[test]
fn what_others_do_between_a_plan_and_its_record_counts() {
    let scratch = Scratch::new();
    scratch.ok(["save", "-i", hello(1).to_str().unwrap()]);
    scratch.ok(["save", "-i", hello(2).to_str().unwrap()]);
    scratch.ok(["tag", "hello:2", "hello:1"]);
    let rules = ["forget", "--keep-tag", "none", "--dry-run", "--json"];
    let planned: Value = serde_json::from_str(&scratch.ok(rules)).unwrap();
    assert_eq!(planned["groups"][0]["forget"].as_array().unwrap().len(), 2);
    let mut store = open_disk(&scratch.store());
    let policy = Policy { tags: vec!["none".to_owned()], ..Policy::default() };
    let mut plan = plan(&store, None, &policy, &Zone::utc()).unwrap();
    assert_eq!(plan.removed().len(), 2);

    // One of the two gets a name that isn't in the plan, and loses it again; then
    // another one. The other is pinned.
    scratch.ok(["tag", "hello:1~1", "other:gone"]);
    scratch.ok(["rm", "other:gone"]);
    scratch.ok(["tag", "hello:1~1", "other:x"]);
    scratch.ok(["pin", "hello:2"]);
    let author = Author { program: "test", now: Time::from_nanos(0) };
    assert!(plan.carry_out(&mut store, author).unwrap().is_some());
    assert_eq!(plan.pinned_since, 1);
    let stays = &plan.groups[0].entries[0];
    assert_eq!((stays.reasons.as_slice(), stays.removed), (&[Reason::Pinned][..], false));
    let names = agree(&scratch, &["forget"]);
    assert_eq!(names.removed, BTreeSet::new());
    let shown: Vec<&str> = names.meant.keys().map(String::as_str).collect();
    let hello = "docker.io/library/hello";
    let other = "docker.io/library/other:x".to_owned();
    assert_eq!(shown, [format!("{hello}:1"), format!("{hello}:2"), other]);
    scratch.ok(["gc", "--max-waste", "0%"]);
    scratch.ok(["reindex"]);
    agree(&scratch, &["gc"]);
    scratch.ok(["export", "hello:1", "hello:2", "other:x", "-o", "out.tar"]);

    // Without that name, the revision goes as it should have.
    scratch.ok(["rm", "other:x"]);
    assert_eq!(agree(&scratch, &["rm"]).removed.len(), 1);
    scratch.ok(["gc", "--max-waste", "0%"]);
    agree(&scratch, &["gc"]);
}

#[test]
fn the_document_is_enough_to_know_what_names_mean() {
    let scratch = Scratch::new();
    for version in [1, 2] {
        let archive = fs::read(hello(version)).unwrap();
        let text = format!("hello:{version}");
        let mut renamed = archive.clone();
        let places = archive.windows(text.len()).enumerate();
        for (at, _) in places.filter(|(_, window)| *window == text.as_bytes()) {
            renamed[at..at + text.len()].copy_from_slice(b"hello:n");
        }
        fs::write(scratch.path(format!("n{version}.tar")), renamed).unwrap();
    }
    let steps: &[&[&str]] = &[
        &["save", "-i", "n1.tar"],
        &["save", "-i", "n2.tar"],
        &["save", "-i", "n1.tar"],
        &["tag", "hello:n~1", "other:x"],
        &["tag", "hello:n", "other:x"],
        &["pin", "hello:n"],
        &["tag", "hello:n~2", "hello:n"],
        &["pin", "hello:n"],
        &["unpin", "hello:n~1"],
        &["rm", "other:x"],
        &["unpin", "hello:n"],
        &["rm", "hello:n"],
        &["rm", "hello:n~1"],
        &["undo"],
        &["save", "-i", "n2.tar"],
        &["undo"],
        &["pin", "other:x"],
        &["forget", "--keep-last", "1", "--yes", "hello"],
        &["undo"],
        &["undo"],
        &["unpin", "other:x", "other:x~1"],
        &["rm", "--all-revisions", "other:x"],
        &["undo"],
    ];
    for step in steps {
        scratch.ok(*step);
        agree(&scratch, step);
    }
}
