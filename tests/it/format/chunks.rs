//! The chunks of many packs, section 4 of docs/FORMAT.md: decoded by depth, and found
//! by directory and position.
//!
//! Holds all decoded chunks in memory: made for small stores. What the text forbids
//! is a panic. Doesn't know records: the caller says which packs there are, and
//! whether garbage was collected, after which frames may be left that nothing needs.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::format::bytes::{Cursor, Hash, id, index};
use crate::format::pack::{self, Frame, Tail};

/// How packs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Front and back are both read, and compared.
    Whole,
    /// The back isn't looked at, nor is the hash of the file.
    Scan,
}

/// A chunk, and the depth of the least deep frame that has it.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    depth: u8,
}

/// A pack, of which some frames may be decoded.
#[derive(Debug)]
struct Pack {
    kind: u8,
    /// Those that aren't.
    frames: Vec<Frame>,
    /// The ids of the chunks of those that are.
    ids: Vec<Option<(u32, Hash)>>,
    /// The depth of each chunk.
    depths: Vec<u8>,
    tail: Option<Tail>,
}

/// How often something was met, to know that it was tested.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// (pack kind, codec, depth): frames.
    pub(crate) frames: HashMap<(u8, u8, u8), usize>,
    /// Frames with bases in other packs.
    pub(crate) foreign_bases: usize,
    /// Frames that stand on chunks of a directory that is kept without its pack.
    pub(crate) moved_bases: usize,
    /// Frames that are deeper than they need be.
    pub(crate) deeper: usize,
    /// Frames whose bases are gone.
    pub(crate) lost: usize,
    /// Packs with the directory of another.
    pub(crate) same: usize,
    /// Packs with the feature `generation-N`.
    pub(crate) generations: usize,
    /// And with `optimized`.
    pub(crate) optimized: usize,
}

/// The chunks of the packs that were added so far.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    packs: Vec<Pack>,
    found: HashMap<Hash, Chunk>,
    /// The ids of the chunks of each.
    directories: HashMap<Hash, Vec<Hash>>,
    /// The packs with a directory.
    homes: HashMap<Hash, Vec<usize>>,
    pieces: HashMap<Hash, BTreeMap<u64, Vec<u8>>>,
    sections: HashSet<Hash>,
    recipes: HashMap<Hash, Vec<Vec<u8>>>,
    /// Whether garbage was collected.
    pub(crate) collected: bool,
    pub(crate) seen: Seen,
}

impl Chunks {
    /// Adds packs, in whatever order.
    pub(crate) fn add_bytes(&mut self, packs: impl IntoIterator<Item = Vec<u8>>, way: Way) {
        for bytes in packs {
            self.add_pack(&bytes, way);
        }
        match way {
            // Directories are known, so that a pass for each depth is enough.
            Way::Whole => {
                for depth in 0..=2 {
                    self.decode(Some(depth));
                }
            }
            // Of some they are known when their frames are decoded.
            Way::Scan => while self.decode(None) {},
        }
        let lost = self.packs.iter().map(|pack| pack.frames.len()).sum();
        assert!(self.collected || lost == 0, "{lost} frames without their bases");
        self.seen.lost = lost;
    }

    fn add_pack(&mut self, bytes: &[u8], way: Way) {
        let (frames, end) = pack::scan(bytes);
        for feature in pack::features(bytes) {
            let generation = feature.strip_prefix("c generation-");
            self.seen.generations += usize::from(generation.is_some_and(|number| {
                number.parse::<u64>().is_ok_and(|parsed| parsed.to_string() == number)
            }));
            self.seen.optimized += usize::from(feature == "c optimized");
        }
        let per_chunk = |frame: &Frame| vec![frame.row.depth; index(frame.row.count)];
        let depths: Vec<u8> = frames.iter().flat_map(per_chunk).collect();
        let mut tail = None;
        if way == Way::Whole {
            let read = pack::tail(bytes);
            assert_eq!(read.offset, end as u64, "the directory follows the frames");
            let rows: Vec<_> = frames.iter().map(|frame| frame.row.clone()).collect();
            assert_eq!(read.rows, rows, "the frame table tells what the scan finds");
            assert_eq!(read.directory.len(), depths.len());
            let ids = read.directory.iter().map(|(_, id)| *id).collect();
            self.name(read.directory_id, ids, self.packs.len());
            tail = Some(read);
        }
        let ids = vec![None; depths.len()];
        self.packs.push(Pack { kind: bytes[10], frames, ids, depths, tail });
    }

    /// Notes the directory of a pack.
    fn name(&mut self, directory: Hash, ids: Vec<Hash>, pack: usize) {
        self.directories.insert(directory, ids);
        let homes = self.homes.entry(directory).or_default();
        self.seen.same += usize::from(!homes.is_empty());
        homes.push(pack);
    }

    /// Decodes the frames, those of one depth or all, whose bases are there. Whether
    /// there were any.
    fn decode(&mut self, depth: Option<u8>) -> bool {
        let mut any = false;
        for at in 0..self.packs.len() {
            let (mut waiting, frames) = (Vec::new(), std::mem::take(&mut self.packs[at].frames));
            let before = frames.len();
            for frame in frames {
                let now = depth.is_none_or(|depth| depth == frame.row.depth);
                match now.then(|| self.prefix(at, &frame)).flatten() {
                    Some(prefix) => self.add_frame(at, &frame, &prefix),
                    None => waiting.push(frame),
                }
            }
            let progress = waiting.len() < before;
            any |= progress;
            if waiting.is_empty() && progress {
                self.end_pack(at);
            }
            self.packs[at].frames = waiting;
        }
        any
    }

    /// The prefix of a frame, if all of it is there.
    fn prefix(&mut self, at: usize, frame: &Frame) -> Option<Vec<u8>> {
        let (mut prefix, mut depth) = (Vec::new(), 0);
        let (mut foreign, mut moved) = (0, 0);
        for run in &frame.runs {
            for position in run.first..run.first + run.count {
                let id = match run.directory {
                    None => {
                        assert!(position < u64::from(frame.row.first), "a base in a later frame");
                        self.packs[at].ids[index(position)]?.1
                    }
                    Some(directory) => self.directories.get(&directory)?[index(position)],
                };
                let chunk = self.found.get(&id)?;
                if chunk.depth >= frame.row.depth {
                    return None;
                }
                prefix.extend(&chunk.bytes);
                depth = depth.max(1 + chunk.depth);
                let homes = run.directory.and_then(|directory| self.homes.get(&directory));
                for home in homes.into_iter().flatten() {
                    let there = self.packs[*home].depths[index(position)];
                    assert!(there < frame.row.depth, "a base in a pack where it is too deep");
                }
            }
            if let Some(directory) = run.directory {
                foreign += 1;
                moved += usize::from(!self.homes.contains_key(&directory));
            }
        }
        self.seen.foreign_bases += usize::from(foreign > 0);
        self.seen.moved_bases += usize::from(moved > 0);
        self.seen.deeper += usize::from(frame.row.depth != depth);
        Some(prefix)
    }

    fn add_frame(&mut self, at: usize, frame: &Frame, prefix: &[u8]) {
        let (row, pack) = (&frame.row, &self.packs[at]);
        *self.seen.frames.entry((pack.kind, row.codec, row.depth)).or_default() += 1;
        for (position, bytes) in (index(row.first)..).zip(frame.decode(prefix)) {
            let entry = (u32::try_from(bytes.len()).unwrap(), id(&bytes));
            let pack = &mut self.packs[at];
            pack.ids[position] = Some(entry);
            let told = pack.tail.as_ref().map(|tail| tail.directory[position]);
            assert!(told.is_none_or(|told| told == entry), "the directory tells another chunk");
            match row.kind {
                2 => {
                    let known = self.recipes.entry(bytes[2..34].try_into().unwrap()).or_default();
                    if !known.contains(&bytes) {
                        known.push(bytes.clone());
                    }
                }
                3 => drop(self.sections.insert(entry.1)),
                4 => {
                    assert_eq!(row.depth, 0, "a kept directory that stands on something");
                    self.add_piece(&bytes);
                }
                _ => {}
            }
            let new = || Chunk { bytes, depth: row.depth };
            let chunk = self.found.entry(entry.1).or_insert_with(new);
            chunk.depth = chunk.depth.min(row.depth);
        }
    }

    /// Adds a piece of a kept directory.
    fn add_piece(&mut self, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        assert_eq!(cursor.u8(), 1, "version");
        let (directory, start) = (cursor.hash(), cursor.varint());
        let pieces = self.pieces.entry(directory).or_default();
        let piece = cursor.take(cursor.len()).to_vec();
        let known = pieces.entry(start).or_insert_with(|| piece.clone());
        assert!(*known == piece, "two pieces for one place");
        let mut whole = Vec::new();
        for (start, piece) in pieces {
            if *start == whole.len() as u64 {
                whole.extend_from_slice(piece);
            }
        }
        if id(&whole) == directory {
            let ids = pack::directory(&whole).into_iter().map(|(_, id)| id).collect();
            self.directories.insert(directory, ids);
        }
    }

    /// All frames of a pack are decoded.
    fn end_pack(&mut self, at: usize) {
        let pack = &self.packs[at];
        let directory = pack.ids.iter().map(|entry| entry.unwrap()).collect();
        let rebuilt = pack::directory_bytes(&directory);
        if let Some(tail) = &pack.tail {
            assert_eq!(tail.directory_bytes, rebuilt);
            assert_eq!(tail.directory_id, id(&rebuilt));
        } else {
            let ids = directory.into_iter().map(|(_, id)| id).collect();
            self.name(id(&rebuilt), ids, at);
        }
    }

    /// The chunk at a position of a directory, if it is there.
    pub(crate) fn find(&self, directory: &Hash, position: u64) -> Option<&[u8]> {
        let id = self.directories.get(directory)?.get(index(position))?;
        Some(&self.found.get(id)?.bytes)
    }

    /// The chunk at a position of a directory.
    pub(crate) fn at(&self, directory: &Hash, position: u64) -> &[u8] {
        self.find(directory, position).expect("a chunk")
    }

    /// Whether the pack with this directory is gone.
    pub(crate) fn is_kept(&self, directory: &Hash) -> bool {
        self.directories.contains_key(directory) && !self.homes.contains_key(directory)
    }

    /// The pieces of directories that there are, and of how many directories.
    pub(crate) fn pieces(&self) -> (usize, usize) {
        (self.pieces.values().map(BTreeMap::len).sum(), self.pieces.len())
    }

    /// The section with this id, if it is there.
    pub(crate) fn find_section(&self, id: &Hash) -> Option<&[u8]> {
        self.sections.contains(id).then(|| &self.found[id].bytes[..])
    }

    /// The section with this id.
    pub(crate) fn section(&self, id: &Hash) -> &[u8] {
        self.find_section(id).expect("a section")
    }

    /// The recipes of a blob.
    pub(crate) fn recipes(&self, digest: &Hash) -> &[Vec<u8>] {
        self.recipes.get(digest).map_or(&[], Vec::as_slice)
    }

    /// All blobs that there is a recipe for.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Hash> {
        self.recipes.keys()
    }
}
