//! A pack anew: the same chunks in the same order, compressed harder.
//!
//! The new pack has the directory of the old one, and each frame has its depth, so
//! whatever names that directory or stands on it goes on to, with either of the two.
//! Frames are compressed on several threads and written in order by the caller's.
//! Memory is what [`worker_memory`] says for each of them. Deliberately doesn't know
//! where bases are, nor what becomes of the old pack.

use std::collections::BTreeMap;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::format::{FRAME_RAW_MAX, FRAME_STORED_MAX, PREFIX_MAX};
use super::frame::{EncodedFrame, FrameError, StoredFrame, encode_again};
use super::pipeline::PipelineError;
use super::writer::{FinishedPack, PackWriter};
use crate::codec::{Compressor, HARDEST_MEMORY, Levels};
use crate::digest::Id;

/// How many frames are on their way for each worker: one that is compressed, and
/// one that waits.
const FRAMES_EACH: usize = 2;

/// The most memory that a worker needs, with the frames on their way to it and from
/// it, in bytes.
pub fn worker_memory() -> u64 {
    let frame = u64::from(FRAME_RAW_MAX) + u64::from(PREFIX_MAX) + u64::from(FRAME_STORED_MAX);
    HARDEST_MEMORY + FRAMES_EACH as u64 * frame
}

/// A frame, and the ids of its chunks.
type Read = (StoredFrame, Vec<Id>);
/// A frame that waits, by its number.
type Job = (usize, Read);
/// What became of it.
type Done = (usize, Result<EncodedFrame, FrameError>);

/// Compresses frames as hard as they can be, and ends the pack with them. `written`
/// is told how many bytes of chunks were dealt with.
pub fn rewrite<E: From<PipelineError>>(
    frames: impl Iterator<Item = Result<Read, E>>,
    writer: PackWriter,
    workers: usize,
    written: &dyn Fn(u64),
) -> Result<FinishedPack, E> {
    let ahead = workers.max(1) * FRAMES_EACH;
    thread::scope(|scope| {
        let (jobs, queue) = bounded(ahead);
        let (results, finished) = unbounded();
        for _ in 0..workers.max(1) {
            let (queue, results) = (queue.clone(), results.clone());
            scope.spawn(move || work(&queue, &results));
        }
        drop((queue, results));
        // Whatever fails, the queue goes with this, and the threads end.
        write(frames, writer, (jobs, finished), ahead, written)
    })
}

fn write<E: From<PipelineError>>(
    mut frames: impl Iterator<Item = Result<Read, E>>,
    mut writer: PackWriter,
    (jobs, finished): (Sender<Job>, Receiver<Done>),
    ahead: usize,
    written: &dyn Fn(u64),
) -> Result<FinishedPack, E> {
    let mut waiting = BTreeMap::new();
    let (mut sent, mut next) = (0, 0);
    loop {
        while sent - next < ahead {
            let Some(frame) = frames.next() else { break };
            jobs.send((sent, frame?)).map_err(|_| PipelineError::Died)?;
            sent += 1;
        }
        if next == sent {
            return Ok(writer.finish().map_err(PipelineError::from)?);
        }
        let (number, encoded) = finished.recv().map_err(|_| PipelineError::Died)?;
        waiting.insert(number, encoded);
        while let Some(encoded) = waiting.remove(&next) {
            let frame = encoded.map_err(PipelineError::from)?;
            let raw = frame.entry.raw_len;
            writer.append(frame).map_err(PipelineError::from)?;
            next += 1;
            written(raw.into());
        }
    }
}

fn work(queue: &Receiver<Job>, results: &Sender<Done>) {
    let mut compressor = None;
    for (number, (frame, ids)) in queue {
        let encoded = compressor
            .take()
            .map_or_else(|| Compressor::new(Levels::hardest()), Ok)
            .map_err(FrameError::from)
            .and_then(|ready| encode_again(frame, ids, compressor.insert(ready)));
        if results.send((number, encoded)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::{self, Disk, Fs};
    use crate::pack::format::{Codec, FrameHeader, FrameKind, PackFeatures, PackKind};
    use crate::pack::frame::{Base, RawFrame, encode};
    use crate::pack::reader::{PackError, PackReader};
    use crate::varint::in_memory;

    /// Text that a better search makes smaller.
    fn text(seed: u64, length: usize) -> Vec<u8> {
        let (mut state, mut bytes) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Vec::new());
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let (line, word) = (state % 977, state >> 32 & 0xff);
            bytes.extend_from_slice(format!("line {line} of {word:x} in the text\n").as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn noise(length: usize) -> Vec<u8> {
        let bytes = (0u64..).flat_map(|number| *Id::of(&number.to_le_bytes()).as_bytes());
        bytes.take(length).collect()
    }

    /// A pack of four frames: text, the same with changes and with the first as its
    /// base, noise, and zeros.
    fn pack(path: &Path) -> FinishedPack {
        let mut writer = PackWriter::create(Disk.create(path).unwrap(), PackKind::Data).unwrap();
        let mut compressor = Compressor::new(Levels::for_content(1)).unwrap();
        let first = text(1, 90_000);
        let mut edited = first.clone();
        edited[40_000..40_020].copy_from_slice(b"something other here");
        edited.extend_from_slice(&text(2, 20_000));
        for content in [first.clone(), edited, noise(50_000), vec![0; 100_000]] {
            let mut frame = RawFrame::default();
            for chunk in content.chunks(30_000) {
                frame.push(Id::of(chunk), chunk);
            }
            if writer.chunks() == 3 {
                frame.base = Base { runs: Vec::new(), length: 0, depth: 1 };
                let run = crate::pack::format::BaseRun { directory: None, first: 0, count: 3 };
                frame.base.runs.push(run);
            }
            let prefix = first.clone();
            let base = move |_: &[_]| Some(prefix.clone());
            let encoded = encode(FrameKind::Content, frame, &mut compressor, &base).unwrap();
            writer.append(encoded).unwrap();
        }
        writer.finish().unwrap()
    }

    /// The content of each frame.
    fn frames(pack: &PackReader) -> Vec<StoredFrame> {
        let mut found: Vec<StoredFrame> = Vec::new();
        for number in 0..pack.frames().len() {
            let below = |_: &FrameHeader| Ok::<_, PackError>(found[0].raw.clone());
            found.push(pack.stored_frame(number, below).unwrap());
        }
        found
    }

    fn rewritten(from: &Path, to: &Path, workers: usize) -> (FinishedPack, u64) {
        let pack = PackReader::open(&Disk, from).unwrap();
        let ids = pack.frames().iter().map(|frame| {
            let first = in_memory(frame.first);
            pack.directory().ids[first..first + in_memory(frame.count)].to_vec()
        });
        let read = frames(&pack).into_iter().zip(ids).map(Ok::<_, PipelineError>);
        let file = Disk.create(to).unwrap();
        let writer = PackWriter::create_with(file, pack.kind(), optimized()).unwrap();
        let done = std::cell::Cell::new(0);
        let count = |bytes| done.set(done.get() + bytes);
        let finished = rewrite(read, writer, workers, &count).unwrap();
        (finished, done.get())
    }

    fn optimized() -> PackFeatures {
        PackFeatures { optimized: true, generation: None }
    }

    #[test]
    fn the_same_chunks_come_out_of_a_smaller_pack() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let old = pack(&path("old"));
        let (new, done) = rewritten(&path("old"), &path("new"), 3);
        assert_eq!(done, 90_000 + 110_000 + 50_000 + 100_000);
        assert_eq!((new.directory_id, &new.directory), (old.directory_id, &old.directory));
        assert!(new.size < old.size && new.id != old.id);
        let (before, after) = (PackReader::open(&Disk, &path("old")), path("new"));
        let (before, after) = (before.unwrap(), PackReader::open(&Disk, &after).unwrap());
        assert_eq!((before.is_optimized(), after.is_optimized()), (false, true));
        let (before, after) = (frames(&before), frames(&after));
        for (one, other) in before.iter().zip(&after) {
            assert_eq!(one.raw, other.raw);
            assert_eq!(one.header.bases, other.header.bases);
            assert_eq!(one.header.depth, other.header.depth);
            assert!(other.header.stored_len <= one.header.stored_len);
        }
        let depths: Vec<u8> = after.iter().map(|frame| frame.header.depth).collect();
        assert_eq!(depths, [0, 1, 0, 0]);
        for gained in [0, 1] {
            assert!(after[gained].header.stored_len < before[gained].header.stored_len);
        }
        // What can't be smaller is as it was.
        assert_eq!(after[2].header.codec, Codec::Stored);
        assert_eq!(after[2].bytes, before[2].bytes);
    }

    #[test]
    fn a_pack_is_the_same_whoever_rewrites_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        pack(&path("old"));
        rewritten(&path("old"), &path("one"), 1);
        let (again, _) = rewritten(&path("old"), &path("several"), 4);
        rewritten(&path("one"), &path("twice"), 2);
        let read = |name: &str| fs::read(&Disk, &path(name), 1 << 20).unwrap();
        assert_eq!(Id::of(&read("one")), again.id);
        assert_eq!(read("one"), read("several"));
        assert_eq!(read("one"), read("twice"));
    }

    #[test]
    fn an_error_on_the_way_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = Disk.create(&folder.path().join("new")).unwrap();
        let writer = PackWriter::create_with(file, PackKind::Data, optimized()).unwrap();
        let frames = std::iter::once(Err(PipelineError::Frame(FrameError::Unfaithful)));
        let result = rewrite(frames, writer, 2, &|_| ());
        assert!(matches!(result, Err(PipelineError::Frame(FrameError::Unfaithful))));
    }

    #[test]
    fn memory_is_what_limits_say() {
        assert_eq!(worker_memory(), HARDEST_MEMORY + (2 << 20) * (4 + 4 + 8));
    }
}
