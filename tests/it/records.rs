//! What records that are no saves make of a store: tags, removals, pins, undos.
//!
//! Guarantees that a catalog that was kept up to date, record by record, holds the
//! same as one that was built anew, whatever was done and in whatever order the
//! records turn up. The image archives are left out: revisions are made up.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use orlop::codec::Levels;
use orlop::digest::{Digest, Id};
use orlop::fs::Disk;
use orlop::image::Query;
use orlop::ops::action::Author;
use orlop::ops::pin::pin;
use orlop::ops::resolve::resolve;
use orlop::ops::rm::{RmError, rm};
use orlop::ops::undo::{UndoError, undo};
use orlop::store::record::{
    Action, GivenName, Pin, Platform, Remove, Repack, Revision, RevisionKey, Root, SaveRecord,
    Source, Tag, Undo,
};
use orlop::store::{Notice, OpenOptions, Store};
use orlop::time::Time;

use crate::support::Scratch;
use crate::support::stores::files;

/// Numbers that look like chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).unwrap()
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len())].clone()) }
    }
}

fn open(root: &Path) -> Store {
    Store::open(Arc::new(Disk), root, &OpenOptions::default()).unwrap()
}

fn revision(number: usize, references: Vec<String>) -> Revision {
    let digest = Digest::of(&number.to_le_bytes());
    Revision {
        root: Root { media_type: "application/json".to_owned(), digest, size: 2 },
        image_id: digest,
        platform: Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: None,
        },
        images: Vec::new(),
        referrers: Vec::new(),
        ancestors: Vec::new(),
        references,
        not_shipped: Vec::new(),
        created: None,
        layers: 1,
        size: 1,
        added: 1,
    }
}

/// A store and what was done to it.
struct Played {
    chance: Chance,
    root: std::path::PathBuf,
    clock: i64,
    revisions: Vec<RevisionKey>,
    names: Vec<GivenName>,
    records: Vec<Id>,
}

impl Played {
    fn reference(&mut self) -> String {
        let repository = self.chance.one(&["docker.io/library/app", "host/db"]).unwrap();
        format!("{repository}:{}", self.chance.below(3))
    }

    /// Saves something new; a pack comes with it.
    fn save(&mut self, store: &mut Store) -> Id {
        let number = self.records.len();
        let mut session = store.begin(Levels::for_content(1)).unwrap();
        session.put_bytes(format!("{number}").as_bytes()).unwrap();
        let mut revisions = Vec::new();
        for position in 0..=self.chance.below(2) {
            let names = (0..self.chance.below(3)).map(|_| self.reference()).collect();
            revisions.push(revision(number * 2 + position, names));
        }
        let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
        let record = SaveRecord::new("test", source, revisions);
        let (id, record) = session.commit(record, Time::from_nanos(self.clock), true).unwrap();
        for (position, revision) in (0..).zip(record.revisions) {
            self.revisions.push(RevisionKey { record: id, position });
            let given = |reference| GivenName { reference, record: id, position };
            self.names.extend(revision.references.into_iter().map(given));
        }
        id
    }

    fn action(&mut self) -> Option<Action> {
        Some(match self.chance.below(8) {
            0 | 1 => {
                let references = vec![self.reference(), self.reference()];
                Action::Tag(Tag { revision: self.chance.one(&self.revisions)?, references })
            }
            2 | 3 => Action::Remove(Remove {
                reason: "rm".to_owned(),
                revisions: self.chance.one(&self.revisions).into_iter().collect(),
                names: vec![self.chance.one(&self.names)?],
            }),
            4 => Action::Remove(Remove {
                reason: "forget".to_owned(),
                revisions: Vec::new(),
                names: vec![self.chance.one(&self.names)?],
            }),
            5 => Action::Pin(Pin {
                pinned: self.chance.below(3) > 0,
                revisions: vec![self.chance.one(&self.revisions)?],
            }),
            6 if self.chance.below(4) == 0 => Action::Repack(Repack::default()),
            _ => Action::Undo(Undo { undone: self.chance.one(&self.records)? }),
        })
    }

    /// Does something to the store.
    fn step(&mut self, store: &mut Store) {
        self.clock += i64::try_from(self.chance.below(3)).unwrap() * 1_000_000_000;
        if self.chance.below(3) == 0 {
            let id = self.save(store);
            self.records.push(id);
        } else if let Some(action) = self.action() {
            let now = Time::from_nanos(self.clock);
            let (id, _) = store.write_record(action.clone(), "test", now, true).unwrap();
            if let Action::Tag(tag) = action {
                let given = |reference| GivenName { reference, record: id, position: 0 };
                self.names.extend(tag.references.into_iter().map(given));
            }
            self.records.push(id);
        }
    }

    /// Removes a record, as garbage collection does.
    fn lose(&mut self) {
        let records = files(&self.root.join("records"));
        if let Some(path) = self.chance.one(&records.into_iter().collect::<Vec<_>>()) {
            let id = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            fs::remove_file(path).unwrap();
            self.records.retain(|known| *known != id);
        }
    }
}

/// What the catalog holds of records, by table.
fn contents(root: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let database = rusqlite::Connection::open(root.join("catalog.sqlite")).unwrap();
    let mut found = BTreeMap::new();
    for (table, columns) in [
        ("record", "id, saved_at, sequence"),
        ("action", "*"),
        ("revision", "*"),
        ("reference", "*"),
        ("named", "*"),
        ("pack", "id, kind, size, directory, recorded"),
        ("chunk JOIN pack ON number = place >> 24", "key, place & 0xffffff, id"),
        ("blob JOIN pack ON number = place >> 24", "digest, place & 0xffffff, id"),
    ] {
        let query = format!("SELECT {columns} FROM {table}");
        let mut query = database.prepare(&query).unwrap();
        let count = query.column_count();
        let rows = query.query_map([], |row| {
            let cells = (0..count).map(|at| row.get::<_, rusqlite::types::Value>(at));
            Ok(format!("{:?}", cells.collect::<rusqlite::Result<Vec<_>>>()?))
        });
        let mut rows: Vec<String> = rows.unwrap().collect::<rusqlite::Result<_>>().unwrap();
        rows.sort_unstable();
        found.insert(table, rows);
    }
    found
}

/// Two catalogs hold the same.
#[track_caller]
fn same(seed: u64, one: &BTreeMap<&str, Vec<String>>, other: &BTreeMap<&str, Vec<String>>) {
    for (table, rows) in one {
        assert_eq!(rows, &other[table], "{table}, seed {seed}");
    }
}

#[test]
fn a_catalog_that_was_kept_holds_the_same_as_one_built_anew() {
    for seed in 1..=20 {
        let scratch = Scratch::new();
        let root = scratch.store();
        Store::create(&Disk, &root, "test").unwrap();
        let chance = Chance(seed * 0x9e37_79b9);
        let mut played = Played {
            chance,
            root: root.clone(),
            clock: 0,
            revisions: Vec::new(),
            names: Vec::new(),
            records: Vec::new(),
        };
        // A catalog that sees all of it late, some of it in the wrong order.
        let late = scratch.path("late.sqlite");
        let mut store = open(&root);
        for step in 0..25 {
            played.step(&mut store);
            if step == 10 {
                drop(store);
                fs::copy(root.join("catalog.sqlite"), &late).unwrap();
                store = open(&root);
            }
            if step % 8 == 7 {
                played.lose();
                drop(store);
                store = open(&root);
                assert_eq!(store.take_notices(), []);
                // Packs without a record show when somebody writes.
                drop(store.begin(Levels::for_content(1)).unwrap());
            }
        }
        drop(store.begin(Levels::for_content(1)).unwrap());
        drop(store);
        let kept = contents(&root);
        fs::copy(&late, root.join("catalog.sqlite")).unwrap();
        let mut store = open(&root);
        assert_eq!(store.take_notices(), []);
        drop(store.begin(Levels::for_content(1)).unwrap());
        drop(store);
        same(seed, &kept, &contents(&root));
        fs::remove_file(root.join("catalog.sqlite")).unwrap();
        let mut store = open(&root);
        assert!(matches!(store.take_notices()[..], [Notice::CatalogRebuilt { .. }]));
        drop(store);
        same(seed, &kept, &contents(&root));
    }
}

#[test]
fn records_that_turn_up_late_count_where_they_belong() {
    let scratch = Scratch::new();
    let root = scratch.store();
    Store::create(&Disk, &root, "test").unwrap();
    let at = |second: i64| Time::from_nanos(second * 1_000_000_000);
    let mut store = open(&root);
    let name = "docker.io/library/app:1".to_owned();
    let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
    let record = SaveRecord::new("test", source, vec![revision(1, vec![name.clone()])]);
    let session = store.begin(Levels::for_content(1)).unwrap();
    let (save, _) = session.commit(record, at(1), true).unwrap();
    let saved = files(&root.join("records")).first().unwrap().clone();
    let key = RevisionKey { record: save, position: 0 };
    let stable = Tag { revision: key, references: vec!["host/db:2".to_owned()] };
    store.write_record(Action::Tag(stable), "test", at(2), true).unwrap();
    let given = GivenName { reference: name, record: save, position: 0 };
    let remove = Remove { reason: "rm".to_owned(), revisions: Vec::new(), names: vec![given] };
    store.write_record(Action::Remove(remove), "test", at(3), true).unwrap();
    let pin = Pin { pinned: true, revisions: vec![key] };
    store.write_record(Action::Pin(pin), "test", at(4), true).unwrap();
    let listed = |store: &Store| {
        let rows = store.catalog().revisions_named(true, |_, _| true).unwrap();
        let text =
            |(name, row): (Option<orlop::catalog::ReferenceRow>, orlop::catalog::RevisionRow)| {
                let name = name.map(|name| format!("{}:{}", name.repository, name.tag));
                (name.unwrap_or_default(), row.pinned)
            };
        rows.into_iter().map(text).collect::<Vec<_>>()
    };
    let expected = [("host/db:2".to_owned(), true)];
    assert_eq!(listed(&store), expected);
    drop(store);
    // As if the save had come with another copy of the store.
    let away = scratch.path("away.json");
    fs::rename(&saved, &away).unwrap();
    assert_eq!(listed(&open(&root)), []);
    fs::rename(&away, &saved).unwrap();
    assert_eq!(listed(&open(&root)), expected);
}

#[test]
fn an_undo_brings_back_only_what_is_whole() {
    let author = Author { program: "test", now: Time::from_nanos(5) };
    for (with_root, with_record) in [(true, true), (false, true), (true, false)] {
        let scratch = Scratch::new();
        let root = scratch.store();
        Store::create(&Disk, &root, "test").unwrap();
        let mut store = open(&root);
        assert!(matches!(undo(&mut store, author), Err(UndoError::Nothing)));
        let name = "docker.io/library/app:1".to_owned();
        let mut session = store.begin(Levels::for_content(1)).unwrap();
        if with_root {
            session.put_bytes(&1_usize.to_le_bytes()).unwrap();
        }
        let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
        let record = SaveRecord::new("test", source, vec![revision(1, vec![name.clone()])]);
        let (save, _) = session.commit(record, Time::from_nanos(1), true).unwrap();
        let saved = files(&root.join("records")).first().unwrap().clone();
        let revisions = vec![RevisionKey { record: save, position: 0 }];
        let names = vec![GivenName { reference: name.clone(), record: save, position: 0 }];
        let remove = Remove { reason: "forget".to_owned(), revisions, names };
        let now = Time::from_nanos(2);
        let (removed, _) = store.write_record(Action::Remove(remove), "test", now, true).unwrap();
        if !with_record {
            fs::remove_file(saved).unwrap();
        }
        drop(store);
        let mut store = open(&root);
        let count = files(&root.join("records")).len();
        let listed = |store: &Store| store.catalog().revision("docker.io/library/app", "1", 0);
        assert_eq!(listed(&store).unwrap(), None);
        match undo(&mut store, author) {
            Ok(undone) => {
                assert!(with_root && with_record);
                assert_eq!((undone.undone, undone.what.as_str()), (removed, "forget"));
                assert_eq!((undone.names, undone.revisions), (vec![name], 1));
                assert_eq!(listed(&store).unwrap().unwrap().record, save);
                assert!(matches!(undo(&mut store, author), Err(UndoError::Nothing)));
            }
            Err(UndoError::Gone { what }) => {
                assert!(!(with_root && with_record));
                let expected = if with_record { "image sha256:" } else { "save `" };
                assert!(what.starts_with(expected), "{what}");
                assert_eq!(files(&root.join("records")).len(), count, "nothing was written");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn rm_takes_all_or_nothing() {
    let author = Author { program: "test", now: Time::from_nanos(5) };
    let scratch = Scratch::new();
    let root = scratch.store();
    Store::create(&Disk, &root, "test").unwrap();
    let mut store = open(&root);
    let name = |tag: &str| format!("docker.io/library/app:{tag}");
    let mut save = |number: usize, names: &[&str]| {
        let session = store.begin(Levels::for_content(1)).unwrap();
        let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
        let names = names.iter().map(|tag| name(tag)).collect();
        let record = SaveRecord::new("test", source, vec![revision(number, names)]);
        session.commit(record, Time::from_nanos(1), false).unwrap().0
    };
    let (first, second) = (save(1, &["1", "2"]), save(2, &["1"]));
    let find = |store: &Store, text: &str| {
        let query = Query::parse(text).unwrap();
        (text.to_owned(), resolve(store, &query, &|_| None).unwrap())
    };
    let key = |record| RevisionKey { record, position: 0 };
    let pinned = [find(&store, "app:2").1];
    pin(&mut store, &pinned, true, author).unwrap().unwrap();
    let both = [find(&store, "app:1"), find(&store, "app:2")];
    let refused = rm(&mut store, &both, false, author);
    assert!(matches!(refused, Err(RmError::Pinned { name }) if name == "app:2"));
    let whole = [find(&store, "app:1")];
    let refused = rm(&mut store, &whole, true, author);
    assert!(matches!(refused, Err(RmError::Pinned { name }) if name == "app:1~1"));
    assert_eq!(store.state().unwrap().removed, [].into());
    let unpinned = [find(&store, "app:2").1];
    pin(&mut store, &unpinned, false, author).unwrap().unwrap();
    // Of the first, one name stays; the second has no other.
    let removed = rm(&mut store, &whole, true, author).unwrap();
    assert_eq!(removed.now, []);
    let state = store.state().unwrap();
    assert_eq!(state.removed, [key(second)].into());
    let given = |record| GivenName { reference: name("1"), record, position: 0 };
    assert_eq!(state.removed_names, [given(first), given(second)].into());
    assert_eq!(find(&store, "app:2").1.revision.record, first);
}

#[test]
fn a_feature_that_writers_must_know_forbids_writing() {
    let scratch = Scratch::new();
    let root = scratch.store();
    scratch.ok(["init"]);
    let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
    let name = "docker.io/library/app:1".to_owned();
    let record = SaveRecord::new("test", source, vec![revision(1, vec![name])]);
    let write = |feature: &str| {
        let mut record = serde_json::to_value(&record).unwrap();
        record["features"]["read_only"] = vec![feature].into();
        let bytes = format!("{record}\n").into_bytes();
        let id = Id::of(&bytes).to_string();
        let folder = root.join("records").join(&id[..2]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{id}.json")), bytes).unwrap();
    };
    write("ancestors");
    open(&root).begin(Levels::for_content(1)).unwrap();
    write("sealed");
    for again in [false, true] {
        if again {
            fs::remove_file(root.join("catalog.sqlite")).unwrap();
        }
        let mut store = open(&root);
        let found = resolve(&store, &Query::parse("app:1").unwrap(), &|_| None).unwrap();
        assert_eq!(found.revision.root, Digest::of(&1_usize.to_le_bytes()));
        let said = store.begin(Levels::for_content(1)).unwrap_err().to_string();
        assert!(
            said.contains("a record of the store") && said.contains("feature `sealed`"),
            "{said}"
        );
        assert!(store.collect(0).is_err());
        let author = Author { program: "test", now: Time::from_nanos(5) };
        assert!(pin(&mut store, &[found], true, author).is_err());
    }
}
