//! What a simulated disk holds: what programs see, and what a power cut leaves.
//!
//! Content is durable after it was synced, a name after its folder was; until
//! then a power cut may leave any of it, in any order, as file systems with and
//! without a journal do. Files only grow, as those of a store do. Knows nothing
//! of processes, locks and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::random::Random;

/// A file or a folder, whatever its names are.
pub(super) type Node = u64;

/// The unit in which a system writes back what wasn't synced.
const PAGE: usize = 4096;
/// The unit in which a disk writes.
const SECTOR: usize = 512;
/// The folder above all.
const ROOT: Node = 0;

/// The result of an operation.
pub(super) type Result<T> = std::result::Result<T, ErrorKind>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Medium {
    /// Content of files; folders have none.
    files: BTreeMap<Node, Content>,
    folders: BTreeSet<Node>,
    /// Names in folders, as programs see them.
    names: BTreeMap<(Node, String), Node>,
    /// The same, as a power cut leaves them at least.
    durable: BTreeMap<(Node, String), Node>,
    /// What was done to names and isn't durable, in order.
    changes: Vec<Change>,
    last: Node,
    /// Number of the last operation on names, and of the last that is durable.
    operation: u64,
    settled: u64,
    used: u64,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Arc<Vec<u8>>,
    /// So many of its bytes were synced.
    synced: usize,
    /// Pages that no sync writes any more, since one failed to.
    lost: BTreeSet<usize>,
}

/// A name got another meaning. A rename is two of them, with one number.
#[derive(Debug, Clone)]
struct Change {
    operation: u64,
    key: (Node, String),
    node: Option<Node>,
    /// The other half of this rename is durable.
    other_half: bool,
}

/// Which changes to names a power cut leaves, of those that aren't durable.
#[derive(Debug, Clone, Copy)]
enum Names {
    None,
    All,
    /// All up to one.
    Ordered(u64),
    /// Any operations, each wholly.
    Operations,
    /// Any changes: a rename may be half done.
    Halves,
}

/// What a power cut leaves of bytes that weren't synced.
#[derive(Debug, Clone, Copy)]
enum Tail {
    Lost,
    Kept,
    TornAt(usize),
    Zeros,
    /// Some blocks of this length, the others are zeros.
    Blocks(usize),
}

impl Medium {
    pub(super) fn new() -> Self {
        Self { folders: BTreeSet::from([ROOT]), ..Self::default() }
    }

    fn find(&self, path: &Path) -> Result<Node> {
        let mut node = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                self.check_folder(node)?;
                let key = (node, name.to_string_lossy().into_owned());
                node = *self.names.get(&key).ok_or(ErrorKind::NotFound)?;
            }
        }
        // `components` leaves that out.
        if path.as_os_str().as_encoded_bytes().ends_with(b"/.") {
            self.check_folder(node)?;
        }
        Ok(node)
    }

    fn check_folder(&self, node: Node) -> Result<()> {
        if self.folders.contains(&node) { Ok(()) } else { Err(ErrorKind::NotADirectory) }
    }

    /// The folder that a path is in, and its name there.
    fn key(&self, path: &Path) -> Result<(Node, String)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let folder = self.find(path.parent().unwrap_or(Path::new("/")))?;
        self.check_folder(folder)?;
        Ok((folder, name.to_string_lossy().into_owned()))
    }

    fn rename_node(&mut self, key: (Node, String), node: Option<Node>) {
        let before = match node {
            Some(node) => self.names.insert(key.clone(), node),
            None => self.names.remove(&key),
        };
        if let Some(content) = before.and_then(|node| self.files.get(&node)) {
            // A file that has two names after a power cut is counted once.
            self.used = self.used.saturating_sub(content.bytes.len() as u64);
        }
        self.changes.push(Change { operation: self.operation, key, node, other_half: false });
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.find(path).is_ok()
    }

    pub(super) fn create_folder(&mut self, path: &Path) -> Result<bool> {
        let key = self.key(path)?;
        if let Some(node) = self.names.get(&key) {
            return if self.folders.contains(node) {
                Ok(false)
            } else {
                Err(ErrorKind::AlreadyExists)
            };
        }
        self.operation += 1;
        self.last += 1;
        self.folders.insert(self.last);
        self.rename_node(key, Some(self.last));
        Ok(true)
    }

    pub(super) fn create_file(&mut self, path: &Path) -> Result<Node> {
        let key = self.key(path)?;
        if self.names.contains_key(&key) {
            return Err(ErrorKind::AlreadyExists);
        }
        self.operation += 1;
        self.last += 1;
        self.files.insert(self.last, Content::default());
        self.rename_node(key, Some(self.last));
        Ok(self.last)
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<String>> {
        let folder = self.find(path)?;
        self.check_folder(folder)?;
        Ok(self.names_in(folder).collect())
    }

    fn names_in(&self, folder: Node) -> impl Iterator<Item = String> {
        let range = (folder, String::new())..(folder + 1, String::new());
        self.names.range(range).map(|((_, name), _)| name.clone())
    }

    pub(super) fn open(&self, path: &Path) -> Result<Node> {
        let node = self.find(path)?;
        if self.folders.contains(&node) { Err(ErrorKind::IsADirectory) } else { Ok(node) }
    }

    pub(super) fn content(&self, node: Node) -> Arc<Vec<u8>> {
        self.files.get(&node).map(|content| Arc::clone(&content.bytes)).unwrap_or_default()
    }

    pub(super) fn append(&mut self, node: Node, bytes: &[u8]) {
        if let Some(content) = self.files.get_mut(&node) {
            Arc::make_mut(&mut content.bytes).extend_from_slice(bytes);
            self.used += bytes.len() as u64;
        }
    }

    /// How many bytes all files have.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn sync_file(&mut self, node: Node) {
        if let Some(content) = self.files.get_mut(&node) {
            content.synced = content.bytes.len();
        }
    }

    /// A sync that fails: some pages are taken for written, and aren't. What is
    /// read from then on may be what is on the disk.
    pub(super) fn fail_sync(&mut self, node: Node, random: &mut Random) {
        let Some(content) = self.files.get_mut(&node) else { return };
        let length = content.bytes.len();
        let shown = random.one_in(2);
        for page in content.synced / PAGE..length.div_ceil(PAGE) {
            if random.one_in(4) {
                continue;
            }
            content.lost.insert(page);
            if shown {
                content.zero_page(page);
            }
        }
        content.synced = length;
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.key(from)?, self.key(to)?);
        let node = *self.names.get(&from).ok_or(ErrorKind::NotFound)?;
        if self.names.get(&to).is_some_and(|node| self.folders.contains(node)) {
            return Err(ErrorKind::IsADirectory);
        }
        if from != to {
            self.operation += 1;
            self.rename_node(to, Some(node));
            let length = self.content(node).len() as u64;
            self.used += length;
            self.rename_node(from, None);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<()> {
        let node = self.open(path)?;
        let key = self.key(path)?;
        debug_assert_eq!(self.names.get(&key), Some(&node));
        self.operation += 1;
        self.rename_node(key, None);
        Ok(())
    }

    /// Removes a folder that is empty.
    pub(super) fn remove_folder(&mut self, path: &Path) -> Result<()> {
        let folder = self.find(path)?;
        self.check_folder(folder)?;
        if self.names_in(folder).next().is_some() {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        let key = self.key(path)?;
        self.operation += 1;
        self.rename_node(key, None);
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> Result<()> {
        let folder = self.find(path)?;
        self.check_folder(folder)?;
        let changes = std::mem::take(&mut self.changes);
        let (done, left): (Vec<_>, _) =
            changes.into_iter().partition(|change| change.key.0 == folder);
        self.changes = left;
        for change in done {
            let operation = change.operation;
            self.settled = self.settled.max(operation);
            settle(&mut self.durable, change);
            let halves = self.changes.iter_mut().filter(|other| other.operation == operation);
            halves.for_each(|other| other.other_half = true);
        }
        Ok(())
    }

    /// All files by path, with their lengths.
    pub(super) fn tree(&self) -> BTreeMap<PathBuf, usize> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(ROOT, PathBuf::from("/"))];
        while let Some((folder, path)) = folders.pop() {
            let range = (folder, String::new())..(folder + 1, String::new());
            for ((_, name), node) in self.names.range(range) {
                match self.files.get(node) {
                    Some(content) => {
                        found.insert(path.join(name), content.bytes.len());
                    }
                    None => folders.push((*node, path.join(name))),
                }
            }
        }
        found
    }

    /// Loses some of what isn't durable; what is left, is.
    pub(super) fn cut_power(&mut self, random: &mut Random) {
        self.cut_names(random);
        let nodes = self.names.values().copied().collect::<BTreeSet<_>>();
        self.files.retain(|node, _| nodes.contains(node));
        self.folders.retain(|node| *node == ROOT || nodes.contains(node));
        // Mostly one kind of file system, now and then any mixture.
        let (same, tail) = (!random.one_in(3), Tail::random(random));
        self.used = 0;
        for content in self.files.values_mut() {
            let tail = if same { tail } else { Tail::random(random) };
            content.cut_power(tail, random);
            self.used += content.bytes.len() as u64;
        }
    }

    fn cut_names(&mut self, random: &mut Random) {
        let left = usize::try_from(self.operation - self.settled).unwrap_or(usize::MAX);
        let kept = match random.below(6) {
            0 => Names::None,
            1 => Names::All,
            2 => Names::Ordered(self.settled + random.below(left.saturating_add(1)) as u64),
            3 | 4 => Names::Operations,
            _ => Names::Halves,
        };
        let mut decided = (0, false);
        for change in std::mem::take(&mut self.changes) {
            let keep = match kept {
                Names::None => false,
                Names::All => true,
                Names::Ordered(last) => change.operation <= last,
                Names::Halves => random.one_in(2),
                Names::Operations if change.other_half => true,
                Names::Operations => {
                    if decided.0 != change.operation {
                        decided = (change.operation, random.one_in(2));
                    }
                    decided.1
                }
            };
            if keep {
                settle(&mut self.durable, change);
            }
        }
        // What is in a folder that isn't there is not there either.
        let mut reached = BTreeMap::new();
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            let range = (folder, String::new())..(folder + 1, String::new());
            for (key, node) in self.durable.range(range) {
                reached.insert(key.clone(), *node);
                if self.folders.contains(node) {
                    folders.push(*node);
                }
            }
        }
        self.durable.clone_from(&reached);
        self.names = reached;
        self.settled = self.operation;
    }
}

fn settle(durable: &mut BTreeMap<(Node, String), Node>, change: Change) {
    match change.node {
        Some(node) => durable.insert(change.key, node),
        None => durable.remove(&change.key),
    };
}

impl Tail {
    fn random(random: &mut Random) -> Self {
        match random.below(7) {
            0 | 1 => Self::Lost,
            2 => Self::Kept,
            3 => Self::TornAt(if random.one_in(2) { 1 } else { SECTOR }),
            4 => Self::Zeros,
            5 => Self::Blocks(SECTOR),
            _ => Self::Blocks(PAGE),
        }
    }
}

impl Content {
    fn zero_page(&mut self, page: usize) {
        let bytes = Arc::make_mut(&mut self.bytes);
        let end = bytes.len().min((page + 1) * PAGE);
        bytes[page * PAGE..end].fill(0);
    }

    fn cut_power(&mut self, tail: Tail, random: &mut Random) {
        let (start, end) = (self.synced, self.bytes.len());
        if start < end {
            let bytes = Arc::make_mut(&mut self.bytes);
            match tail {
                Tail::Lost => bytes.truncate(start),
                Tail::Kept => {}
                Tail::TornAt(unit) => {
                    bytes.truncate(start + random.below(end - start + 1) / unit * unit);
                }
                Tail::Zeros => bytes[start..].fill(0),
                Tail::Blocks(unit) => {
                    for block in start / unit..end.div_ceil(unit) {
                        if random.one_in(2) {
                            let from = start.max(block * unit);
                            bytes[from..end.min((block + 1) * unit)].fill(0);
                        }
                    }
                }
            }
        }
        for page in std::mem::take(&mut self.lost) {
            if page * PAGE < self.bytes.len() {
                self.zero_page(page);
            }
        }
        self.synced = self.bytes.len();
    }
}
