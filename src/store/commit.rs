//! The commit of a write session: packs, then the record, then the catalog.
//!
//! Guarantees the order of docs/FORMAT.md section 10: a record is written when
//! everything that it names is durable, and not before.

use super::filling::Named;
use super::layer_writer::FRAME_BITS;
use super::record::{Record, SaveRecord};
use super::session::{Pending, WriteSession};
use super::{Result, StoreError};
use crate::chunk::recipe::{Body, Names, Recipe, Span};
use crate::digest::Id;
use crate::pack::format::{FrameKind, PackKind, len32};
use crate::pack::frame::RawFrame;
use crate::time::Time;

impl WriteSession<'_> {
    /// Makes all that was put durable, then the record, which is the commit.
    /// `now` is the time; `as_given` takes it whatever other records say.
    /// Returns the record, with what was filled in, and its id.
    pub fn commit(
        mut self,
        mut record: SaveRecord,
        now: Time,
        as_given: bool,
    ) -> Result<(Id, SaveRecord)> {
        while !self.content.is_empty() {
            self.flush_content(0)?;
        }
        self.pipeline.close(PackKind::Data)?;
        self.take_placed()?;
        self.flush_sections()?;
        self.flush_recipes()?;
        self.pipeline.close(PackKind::Metadata)?;
        self.take_placed()?;

        let stamp = self.store.next_stamp(now, as_given)?;
        (record.saved_at, record.sequence) = (stamp.saved_at, stamp.sequence);
        record.packs = self.packs.iter().copied().chain(self.adopted.iter().copied()).collect();
        share(&mut record, self.packs_bytes);
        let id = self.store.publish_record(&self.workspace, &record.encode())?;
        self.store.apply_written(id, &Record::Save(Box::new(record.clone())));
        Ok((id, record))
    }

    /// Writes recipes in the order in which blobs were put, so that none stands on
    /// a later one.
    fn flush_recipes(&mut self) -> Result<()> {
        let mut frame = RawFrame::default();
        for (digest, size, pending) in std::mem::take(&mut self.pending) {
            let body = match pending {
                Pending::Bytes(bytes) => Body::Bytes(bytes),
                Pending::Chunks(named) => Body::Chunks(self.names(named)?),
                Pending::Tar(named) => Body::Tar(self.names(named)?),
                Pending::Encode { of, replay } => Body::Encode { of, replay },
                Pending::Decode { of, compression, sections } => {
                    Body::Decode { of, compression, sections }
                }
            };
            let chunk = Recipe { digest, size, body }.encode();
            if !frame.has_room(chunk.len()) {
                self.pipeline.push(FrameKind::Recipes, std::mem::take(&mut frame))?;
            }
            frame.push(Id::of(&chunk), &chunk);
        }
        if !frame.is_empty() {
            self.pipeline.push(FrameKind::Recipes, frame)?;
        }
        Ok(())
    }

    /// Says what virtual numbers mean, now that all data packs are closed.
    fn names(&self, named: Named) -> Result<Names> {
        let mut names = Names { sections: named.sections, ..Names::default() };
        for number in named.frames {
            let place = self.placed.get(&number);
            let (directory, first, count) =
                *place.ok_or(StoreError::Inconsistent("a frame that wasn't written"))?;
            let directory = add_directory(&mut names, directory);
            let virtual_first = number << FRAME_BITS;
            names.spans.push(Span { virtual_first, directory, first, count });
        }
        for (virtual_first, pack) in named.packs {
            let pack = self.store.pack(pack)?;
            let directory = add_directory(&mut names, pack.directory_id());
            let count = len32(pack.directory().ids.len());
            names.spans.push(Span { virtual_first, directory, first: 0, count });
        }
        Ok(names)
    }
}

fn add_directory(names: &mut Names, id: Id) -> u32 {
    let at = names.directories.iter().position(|known| *known == id).unwrap_or_else(|| {
        names.directories.push(id);
        names.directories.len() - 1
    });
    len32(at)
}

/// Divides what the store grew by among the revisions, by the bytes that were
/// new for each (which `added` holds on the way in); the record itself included.
fn share(record: &mut SaveRecord, packs_bytes: u64) {
    let total = packs_bytes + record.encode().len() as u64;
    let new: u128 = record.revisions.iter().map(|revision| u128::from(revision.added)).sum();
    let count = record.revisions.len() as u128;
    let mut left = total;
    for revision in &mut record.revisions {
        let share = match new {
            0 => u128::from(total) / count.max(1),
            new => u128::from(total) * u128::from(revision.added) / new,
        };
        revision.added = u64::try_from(share).unwrap_or(total);
        left -= revision.added;
    }
    if let Some(last) = record.revisions.iter_mut().max_by_key(|revision| revision.added) {
        last.added += left;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::Levels;
    use crate::fs::{self, Disk};
    use crate::store::record::Source;
    use crate::store::{OpenOptions, Store};

    #[test]
    fn the_largest_sequence_of_all_is_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        Store::create(&Disk, &root, "test").unwrap();
        let open = || Store::open(Arc::new(Disk), &root, &OpenOptions::default()).unwrap();
        let source = || Source { name: "-".to_owned(), dialect: "none".to_owned() };
        let mut last = SaveRecord::new("another", source(), Vec::new());
        last.sequence = u64::MAX;
        last.saved_at = "9999-12-30T22:00:00.999999999Z".parse().unwrap();
        let path = open().layout.record(Id::of(&last.encode()));
        fs::create_dir_all(&Disk, path.parent().unwrap()).unwrap();
        fs::Fs::create(&Disk, &path).unwrap().write_all(&last.encode()).unwrap();
        for _ in 0..2 {
            let mut store = open();
            assert_eq!(store.take_notices(), []);
            let session = store.begin(Levels::for_content(1)).unwrap();
            let record = SaveRecord::new("test", source(), Vec::new());
            let (id, record) = session.commit(record, Time::from_nanos(0), false).unwrap();
            assert_eq!(record.sequence, u64::MAX);
            assert_eq!(store.record(id).unwrap().sequence, u64::MAX);
        }
    }
}
