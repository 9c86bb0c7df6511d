//! A machine that is simulated: its file system in memory, its processes, and
//! what goes wrong with both, all from one seed.
//!
//! Each [`Process`] is an [`Fs`]. It can be killed before any of its changes,
//! frozen there, or be given errors; [`Sim::cut_power`] ends all and leaves what
//! was durable, and any part of what wasn't. Several processes can take
//! [turns](Sim::take_turns), one operation each, so that how they interleave
//! comes from the seed as well. For tests: a program that uses one thread to a
//! process does the same for the same seed.

mod medium;
mod random;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Error, Fs, Lock, ReadFile, Result, WriteFile};
use medium::{Medium, Node};
pub use random::Random;
use turns::Turns;

/// Where stores are to be: there is no such folder on a disk, so that catalogs,
/// which don't go through [`Fs`], are in memory.
pub const ROOT: &str = "/simulated/store";

/// Errors that a process is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// From which of its operations on, counted from 0; the first that this kind
    /// of error is for gets it.
    pub at: u64,
    /// Which error.
    pub error: Failure,
    /// Whether all later ones get it as well.
    pub forever: bool,
}

/// Errors by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// EIO, of any operation.
    Io,
    /// ENOSPC, of what takes space.
    NoSpace,
    /// EROFS, of what changes anything.
    ReadOnly,
    /// EACCES, of any operation.
    Access,
}

/// What becomes of a process at one of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Never,
    /// It is killed, and its locks are gone.
    Killed(u64),
    /// It doesn't go on until all others have ended, and perhaps not then.
    Frozen {
        after: u64,
        forever: bool,
    },
}

/// What an operation is, as far as errors are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Change,
    Growth,
}

#[derive(Debug)]
struct State {
    medium: Medium,
    random: Random,
    /// Who holds the lock on a file: a process, and the number of the lock.
    locks: BTreeMap<Node, (usize, u64)>,
    lock_number: u64,
    /// How many bytes fit.
    capacity: Option<u64>,
    /// Whether a sync is said to have worked, and does nothing.
    lies: bool,
    processes: Vec<Life>,
    turns: Turns,
}

/// What is known of a process.
#[derive(Debug)]
struct Life {
    stop: Stop,
    fault: Option<Fault>,
    operations: u64,
    changes: u64,
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// See the module. Clones are the same machine.
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

/// A process on a simulated machine. Clones are the same process.
#[derive(Debug, Clone)]
pub struct Process {
    shared: Arc<Shared>,
    number: usize,
}

impl Sim {
    /// A machine with an empty disk.
    pub fn new(seed: u64) -> Self {
        let mut medium = Medium::new();
        let above = Path::new(ROOT).parent().unwrap_or(Path::new("/"));
        // It is empty, so both work.
        medium.create_folder(above).ok();
        medium.sync_folder(Path::new("/")).ok();
        Self::with(medium, seed)
    }

    fn with(medium: Medium, seed: u64) -> Self {
        let state = State {
            medium,
            random: Random::new(seed),
            locks: BTreeMap::new(),
            lock_number: 0,
            capacity: None,
            lies: false,
            processes: Vec::new(),
            turns: Turns::default(),
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Another machine whose disk holds the same.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        Self::with(self.shared.lock().medium.clone(), seed)
    }

    /// Starts a process.
    pub fn process(&self) -> Process {
        let mut state = self.shared.lock();
        let number = state.processes.len();
        let (stop, fault) = (Stop::Never, None);
        state.processes.push(Life { stop, fault, operations: 0, changes: 0, ended: false });
        Process { shared: Arc::clone(&self.shared), number }
    }

    /// Ends all processes, and loses some of what isn't durable.
    pub fn cut_power(&self) {
        let state = &mut *self.shared.lock();
        for number in 0..state.processes.len() {
            state.end(number);
        }
        state.medium.cut_power(&mut state.random);
        self.shared.changed.notify_all();
    }

    /// Has files hold no more than so many bytes together.
    pub fn limit(&self, capacity: Option<u64>) {
        self.shared.lock().capacity = capacity;
    }

    /// From now on a sync does nothing, and says that it worked: for tests of tests.
    pub fn lie(&self) {
        self.shared.lock().lies = true;
    }

    /// How many bytes all files have together.
    pub fn used(&self) -> u64 {
        self.shared.lock().medium.used()
    }

    /// All files, with their lengths.
    pub fn files(&self) -> BTreeMap<PathBuf, usize> {
        self.shared.lock().medium.tree()
    }

    /// What a file holds, if it is there.
    pub fn content(&self, path: &Path) -> Option<Arc<Vec<u8>>> {
        let state = self.shared.lock();
        Some(state.medium.content(state.medium.open(path).ok()?))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn concerns(self, kind: Kind) -> bool {
        match self {
            Self::Io | Self::Access => true,
            Self::ReadOnly => kind != Kind::Read,
            Self::NoSpace => kind == Kind::Growth,
        }
    }

    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => 5,
            Self::NoSpace => 28,
            Self::ReadOnly => 30,
            Self::Access => 13,
        })
    }
}

impl State {
    /// Ends a process: its locks are gone.
    fn end(&mut self, number: usize) {
        self.processes[number].ended = true;
        self.locks.retain(|_, (owner, _)| *owner != number);
        self.turns.leave(number, &mut self.random);
        self.thaw();
    }

    /// Counts an operation of a process; the error that it is given, if any.
    fn count(&mut self, number: usize, kind: Kind) -> io::Result<()> {
        let life = &mut self.processes[number];
        if life.ended {
            return Err(io::Error::other("the process has ended"));
        }
        let at = life.operations;
        life.operations += 1;
        if kind != Kind::Read {
            if life.stop == Stop::Killed(life.changes) {
                self.end(number);
                return Err(io::Error::other("the process was killed"));
            }
            life.changes += 1;
        }
        if let Some(fault) = life.fault.filter(|it| at >= it.at && it.error.concerns(kind)) {
            if !fault.forever {
                life.fault = None;
            }
            return Err(fault.error.error());
        }
        Ok(())
    }
}

impl Process {
    /// Kills it before its change of this number, counted from 0.
    pub fn kill_at(&self, change: u64) {
        self.shared.lock().processes[self.number].stop = Stop::Killed(change);
    }

    /// Freezes it after so many changes, until all others that take turns have
    /// ended; if for ever, it is killed then.
    pub fn freeze_after(&self, after: u64, forever: bool) {
        self.shared.lock().processes[self.number].stop = Stop::Frozen { after, forever };
    }

    /// Gives it errors.
    pub fn fail(&self, fault: Fault) {
        self.shared.lock().processes[self.number].fault = Some(fault);
    }

    /// Gives it no more errors.
    pub fn recover(&self) {
        self.shared.lock().processes[self.number].fault = None;
    }

    /// How many operations were asked for.
    pub fn operations(&self) -> u64 {
        self.shared.lock().processes[self.number].operations
    }

    /// How many of these change anything.
    pub fn changes(&self) -> u64 {
        self.shared.lock().processes[self.number].changes
    }

    /// Whether it has ended: killed, by a power cut, or by itself.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().processes[self.number].ended
    }

    /// Ends it: what is asked for in its name fails from here on.
    pub fn end(&self) {
        self.turn(|state| state.end(self.number));
    }

    /// Does something in its turn, and passes the turn on.
    fn turn<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.wait_for_turn();
        let result = act(&mut state);
        state.pass_turn(self.number);
        self.shared.changed.notify_all();
        result
    }

    /// One operation on a path.
    fn on<T>(
        &self,
        (action, kind, path): (&'static str, Kind, &Path),
        act: impl FnOnce(&mut State) -> medium::Result<T>,
    ) -> Result<T> {
        let result = self.turn(|state| {
            state.count(self.number, kind)?;
            act(state).map_err(io::Error::from)
        });
        result.map_err(Error::on(action, path))
    }
}

/// An open file of a process.
#[derive(Debug)]
struct SimFile {
    process: Process,
    node: Node,
    path: PathBuf,
}

#[derive(Debug)]
struct SimLock {
    shared: Arc<Shared>,
    node: Node,
    number: u64,
}

impl Fs for Process {
    fn create_dir(&self, path: &Path) -> Result<bool> {
        self.on(("create", Kind::Growth, path), |state| state.medium.create_folder(path))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.on(("list", Kind::Read, path), |state| state.medium.list(path))
    }

    fn exists(&self, path: &Path) -> bool {
        let found = self.on(("read", Kind::Read, path), |state| Ok(state.medium.exists(path)));
        // As on a real disk, whose errors nobody sees here.
        found.unwrap_or(false)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>> {
        let node = self.on(("open", Kind::Read, path), |state| state.medium.open(path))?;
        Ok(Box::new(SimFile { process: self.clone(), node, path: path.to_owned() }))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>> {
        let node =
            self.on(("create", Kind::Growth, path), |state| state.medium.create_file(path))?;
        Ok(Box::new(SimFile { process: self.clone(), node, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.on(("rename to", Kind::Growth, to), |state| state.medium.rename(from, to))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.on(("sync", Kind::Change, path), |state| {
            if state.lies { Ok(()) } else { state.medium.sync_folder(path) }
        })
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.on(("remove", Kind::Change, path), |state| state.medium.remove_file(path))
    }

    /// One by one, as a real one does.
    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        for name in self.list(path)? {
            let path = path.join(name);
            if self.exists(&path.join(".")) {
                self.remove_dir_all(&path)?;
            } else {
                self.remove_file(&path)?;
            }
        }
        self.on(("remove", Kind::Change, path), |state| state.medium.remove_folder(path))
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        let lock = self.on(("lock", Kind::Read, path), |state| {
            let node = state.medium.open(path)?;
            if state.locks.contains_key(&node) {
                return Ok(None);
            }
            state.lock_number += 1;
            let number = state.lock_number;
            state.locks.insert(node, (self.number, number));
            Ok(Some(SimLock { shared: Arc::clone(&self.shared), node, number }))
        })?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        // Whoever has a turn may be who lets it go.
        for _ in 0..turns::MOST {
            if let Some(lock) = self.try_lock(path)? {
                return Ok(lock);
            }
        }
        Err(Error::on("lock", path)(io::ErrorKind::Deadlock.into()))
    }

    fn random_name(&self, bytes: usize) -> Result<String> {
        let state = &mut *self.shared.lock();
        let mut random = Vec::new();
        while random.len() < bytes {
            random.extend_from_slice(&state.random.number().to_le_bytes());
        }
        random.truncate(bytes);
        Ok(crate::digest::to_hex(&random))
    }
}

impl ReadFile for SimFile {
    fn len(&self) -> Result<u64> {
        let content = self
            .process
            .on(("read", Kind::Read, &self.path), |state| Ok(state.medium.content(self.node)))?;
        Ok(content.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.process.on(("read", Kind::Read, &self.path), |state| {
            let content = state.medium.content(self.node);
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(buffer.len());
            let bytes = content.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }
}

impl WriteFile for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.process.turn(|state| {
            let lived = !state.processes[self.process.number].ended;
            let given = state.count(self.process.number, Kind::Growth);
            // What fails may have been done in part.
            let room = state.capacity.map(|all| all.saturating_sub(state.medium.used()));
            let room = room.and_then(|room| usize::try_from(room).ok()).unwrap_or(usize::MAX);
            let most = match given {
                Ok(()) => bytes.len().min(room),
                Err(_) if lived => state.random.below(bytes.len() + 1).min(room),
                Err(_) => 0,
            };
            state.medium.append(self.node, &bytes[..most]);
            given?;
            if most < bytes.len() { Err(Failure::NoSpace.error()) } else { Ok(()) }
        });
        written.map_err(Error::on("write", &self.path))
    }

    fn sync(&mut self) -> Result<()> {
        let synced = self.process.turn(|state| {
            let given = state.count(self.process.number, Kind::Growth);
            if given.is_ok() && !state.lies {
                state.medium.sync_file(self.node);
            } else if given.is_err() && !state.processes[self.process.number].ended {
                state.medium.fail_sync(self.node, &mut state.random);
            }
            given
        });
        synced.map_err(Error::on("sync", &self.path))
    }
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.locks.get(&self.node).is_some_and(|(_, number)| *number == self.number) {
            state.locks.remove(&self.node);
        }
    }
}
