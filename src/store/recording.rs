//! Writes records: their time and sequence, their place, and into the catalog.
//!
//! Assumes that all that a record names is durable. Guarantees that it has its
//! place in the order of records and is durable itself before it is in the
//! catalog, which may lag behind.

use super::record::{Action, ActionRecord, Record, Stamp};
use super::workspace::Workspace;
use super::{Notice, Result, Store};
use crate::digest::Id;
use crate::fs;
use crate::time::Time;

impl Store {
    /// Writes a record that is no save. `now` is the time; `as_given` takes it
    /// whatever other records say. Returns the record, and its id.
    pub fn write_record(
        &mut self,
        action: Action,
        program: &str,
        now: Time,
        as_given: bool,
    ) -> Result<(Id, ActionRecord)> {
        self.check_write()?;
        self.make_folders()?;
        // It may be about records that nobody made durable yet.
        self.make_durable()?;
        let workspace = Workspace::create(&self.fs, &self.layout)?;
        self.write_record_in(&workspace, action, program, (now, as_given))
    }

    /// The same for a writer that has a folder.
    pub(super) fn write_record_in(
        &mut self,
        workspace: &Workspace,
        action: Action,
        program: &str,
        (now, as_given): (Time, bool),
    ) -> Result<(Id, ActionRecord)> {
        let Stamp { saved_at, sequence } = self.next_stamp(now, as_given)?;
        let record = ActionRecord { program: program.to_owned(), saved_at, sequence, action };
        let id = self.publish_record(workspace, &record.encode())?;
        self.apply_written(id, &Record::Action(record.clone()));
        Ok((id, record))
    }

    /// The time and the sequence of the next record.
    pub(super) fn next_stamp(&mut self, now: Time, as_given: bool) -> Result<Stamp> {
        let newest = self.catalog.newest_record()?;
        // Another program may have written the largest there is.
        let sequence = newest.map_or(1, |(_, sequence)| sequence.saturating_add(1));
        let saved_at = match newest {
            Some((newest, _)) if now < newest && !as_given => {
                self.notices.push(Notice::ClockBehind);
                newest.next_second()
            }
            _ => now,
        };
        Ok(Stamp { saved_at, sequence })
    }

    /// Puts a record in its place, durably, which is its commit.
    pub(super) fn publish_record(&self, workspace: &Workspace, bytes: &[u8]) -> Result<Id> {
        let fs = &*self.fs;
        let id = Id::of(bytes);
        let path = workspace.path().join("record.json");
        let mut file = fs.create(&path)?;
        file.write_all(bytes)?;
        file.sync()?;
        drop(file);
        fs::publish(fs, &path, &self.layout.record(id))?;
        Ok(id)
    }

    /// Brings the catalog up to date with a record that was written: it counts,
    /// whatever happens to the catalog.
    pub(super) fn apply_written(&mut self, id: Id, record: &Record) {
        if self.apply(id, record).is_err() {
            self.notices.push(Notice::CatalogBehind);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::codec::Levels;
    use crate::fs::Disk;
    use crate::store::record::{
        GivenName, Pin, Remove, Repack, RevisionKey, SaveRecord, Source, Tag, Undo,
    };
    use crate::store::{OpenOptions, StoreError};

    fn open(root: &Path) -> Store {
        Store::open(Arc::new(Disk), root, &OpenOptions::default()).unwrap()
    }

    fn at(seconds: i64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// A store with one save of nothing but a blob, at second 10.
    fn store_with_save(root: &Path) -> (Id, SaveRecord) {
        Store::create(&Disk, root, "test").unwrap();
        let mut store = open(root);
        let mut session = store.begin(Levels::for_content(1)).unwrap();
        session.put_bytes(b"{}").unwrap();
        let source = Source { name: "-".to_owned(), dialect: "none".to_owned() };
        session.commit(SaveRecord::new("test", source, Vec::new()), at(10), false).unwrap()
    }

    #[test]
    fn records_of_all_kinds_are_written_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let (save, _) = store_with_save(&root);
        let revision = RevisionKey { record: save, position: 0 };
        let given = GivenName { reference: "a/b/c:1".to_owned(), record: save, position: 0 };
        let actions = [
            Action::Tag(Tag { revision, references: vec!["a/b/c:2".to_owned()] }),
            Action::Remove(Remove {
                reason: "rm".to_owned(),
                revisions: vec![revision],
                names: vec![given],
            }),
            Action::Pin(Pin { pinned: true, revisions: vec![revision] }),
            Action::Undo(Undo { undone: save }),
            Action::Repack(Repack { dropped: vec![save], ..Repack::default() }),
        ];
        let mut store = open(&root);
        let mut ids = vec![save];
        for (number, action) in (11..).zip(actions) {
            let now = at(number);
            let written = store.write_record(action.clone(), "test", now, false).unwrap();
            let (id, record) = &written;
            assert_eq!(record.saved_at, now);
            assert_eq!(record.sequence, u64::try_from(number).unwrap() - 9);
            assert_eq!(record.action, action);
            let path = store.layout.record(*id);
            let Record::Action(read) = Record::read(&Disk, &path, *id).unwrap() else {
                panic!("a save")
            };
            assert_eq!(read, *record);
            assert!(matches!(store.record(*id), Err(StoreError::NoSave { .. })));
            ids.push(*id);
        }
        assert_eq!(store.take_notices(), []);
        let mut again = open(&root);
        assert_eq!(again.take_notices(), []);
        assert_eq!(again.catalog.records().unwrap(), ids.iter().copied().collect());
        assert_eq!(again.catalog.records_not_durable().unwrap(), []);
        again.reindex().unwrap();
        assert_eq!(again.catalog.records().unwrap(), ids.into_iter().collect());
        let tmp = again.layout.tmp();
        drop((store, again));
        assert_eq!(fs::Fs::list(&Disk, &tmp).unwrap(), [""; 0]);
    }

    #[test]
    fn a_clock_that_is_behind_is_told_unless_the_time_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        store_with_save(&root);
        let mut store = open(&root);
        let pin = || Action::Pin(Pin { pinned: true, revisions: Vec::new() });
        let (_, given) = store.write_record(pin(), "test", at(5), true).unwrap();
        assert_eq!((given.saved_at, given.sequence), (at(5), 2));
        assert_eq!(store.take_notices(), []);
        let (_, behind) = store.write_record(pin(), "test", at(5), false).unwrap();
        assert_eq!((behind.saved_at, behind.sequence), (at(11), 3));
        assert_eq!(store.take_notices(), [Notice::ClockBehind]);
    }

    #[test]
    fn a_pack_that_was_dropped_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let (_, save) = store_with_save(&root);
        let pack = save.packs[0];
        let mut store = open(&root);
        fs::Fs::remove_file(&Disk, &store.layout.pack(pack)).unwrap();
        store.reindex().unwrap();
        let notices = store.take_notices();
        assert!(matches!(notices[0], Notice::PackUnreadable { .. }), "{notices:?}");
        let repack = Action::Repack(Repack { dropped: vec![pack], ..Repack::default() });
        store.write_record(repack, "test", at(12), false).unwrap();
        store.reindex().unwrap();
        let notices = store.take_notices();
        assert!(matches!(notices[..], [Notice::CatalogRebuilt { records: 2, .. }]), "{notices:?}");
    }

    #[test]
    fn a_pack_that_was_dropped_is_forgotten() {
        for dropped in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("store");
            let (_, save) = store_with_save(&root);
            let pack = save.packs[0];
            let mut store = open(&root);
            if dropped {
                let repack = Repack { dropped: vec![pack], ..Repack::default() };
                store.write_record(Action::Repack(repack), "test", at(12), false).unwrap();
            }
            assert!(store.catalog.pack(pack).unwrap().is_some());
            fs::Fs::remove_file(&Disk, &store.layout.pack(pack)).unwrap();
            drop(store.begin(Levels::for_content(1)).unwrap());
            assert_eq!(store.catalog.pack(pack).unwrap(), None);
            let notices = store.take_notices();
            // Where nothing says that it may be gone, it is damage.
            assert_eq!(notices.is_empty(), dropped, "{notices:?}");
        }
    }

    #[test]
    fn a_pack_that_a_repack_names_counts_as_one_of_a_save() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let (id, save) = store_with_save(&root);
        let mut store = open(&root);
        fs::Fs::remove_file(&Disk, &store.layout.record(id)).unwrap();
        store.reindex().unwrap();
        let recorded = |store: &Store| store.catalog.pack(save.packs[0]).unwrap().unwrap().recorded;
        assert!(!recorded(&store));
        let repack = Repack { packs: save.packs.clone(), ..Repack::default() };
        store.write_record(Action::Repack(repack), "test", at(12), false).unwrap();
        assert!(recorded(&store));
        store.reindex().unwrap();
        assert!(recorded(&store));
    }

    #[test]
    fn a_kind_that_nobody_knows_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let (_, save) = store_with_save(&root);
        let text = String::from_utf8(save.encode()).unwrap();
        let text = text.replacen("\"kind\":\"save\"", "\"kind\":\"receipt\"", 1);
        let id = Id::of(text.as_bytes());
        let store = open(&root);
        let path = store.layout.record(id);
        fs::create_dir_all(&Disk, path.parent().unwrap()).unwrap();
        fs::Fs::create(&Disk, &path).unwrap().write_all(text.as_bytes()).unwrap();
        drop(store);
        let error = Store::open(Arc::new(Disk), &root, &OpenOptions::default()).unwrap_err();
        assert!(
            matches!(&error, StoreError::Unsupported { need, .. } if need == "record kind `receipt`"),
            "{error}"
        );
    }
}
