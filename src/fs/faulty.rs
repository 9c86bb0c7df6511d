//! [`Fs`] for tests: counts the operations that change something, and fails,
//! freezes or does something else at the n-th.
//!
//! It wraps the real file system. When it *fails*, that one operation returns
//! an error; when it *freezes*, that operation and all later ones do, as if the
//! process had been killed ([`Faulty::thaw`] is the next process on the same
//! machine). [`Faulty::lose_unsynced`] leaves what a power cut would at worst:
//! files that weren't synced are empty, and names whose folder wasn't synced are
//! gone. It notes what is synced and doesn't wait for the medium. It
//! deliberately doesn't reorder single writes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disk, Error, Fs, Lock, ReadFile, Result, WriteFile};

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// That operation fails; later ones work.
    Fail,
    /// That operation and all later ones fail.
    Freeze,
}

/// Something to do in the middle of an operation.
type Act = Box<dyn FnOnce() + Send>;

/// A file system that fails on purpose.
#[derive(Debug, Clone)]
pub struct Faulty {
    state: Arc<Mutex<State>>,
}

struct State {
    operations: u64,
    fault: Option<(u64, Fault)>,
    act: Option<(u64, Act)>,
    unsynced_files: BTreeSet<PathBuf>,
    unsynced_names: BTreeSet<PathBuf>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({} operations, {:?})", self.operations, self.fault)
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn WriteFile>,
    path: PathBuf,
    fs: Faulty,
}

impl Faulty {
    /// Never fails; counts.
    pub fn counting() -> Self {
        Self::new(None)
    }

    /// Fails or freezes at operation `at`, counted from 0.
    pub fn at(at: u64, fault: Fault) -> Self {
        Self::new(Some((at, fault)))
    }

    /// Does something before operation `at`, as another process might.
    pub fn acting(at: u64, act: impl FnOnce() + Send + 'static) -> Self {
        let faulty = Self::new(None);
        faulty.with(|state| state.act = Some((at, Box::new(act))));
        faulty
    }

    /// Works again, and still knows what isn't synced.
    pub fn thaw(&self) {
        self.with(|state| state.fault = None);
    }

    fn new(fault: Option<(u64, Fault)>) -> Self {
        let state = State {
            operations: 0,
            fault,
            act: None,
            unsynced_files: BTreeSet::new(),
            unsynced_names: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many changing operations were asked for.
    pub fn operations(&self) -> u64 {
        self.with(|state| state.operations)
    }

    /// Leaves on disk what a power cut may leave: only what was synced.
    pub fn lose_unsynced(&self) -> io::Result<()> {
        self.with(|state| {
            for path in &state.unsynced_files {
                if path.is_file() {
                    std::fs::OpenOptions::new().write(true).truncate(true).open_lossy(path)?;
                }
            }
            for path in &state.unsynced_names {
                if path.is_dir() {
                    Disk.remove_dir_all(path).map_err(|error| error.source)?;
                } else if path.exists() {
                    Disk.remove_file(path).map_err(|error| error.source)?;
                }
            }
            Ok(())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one operation, and fails if it is the one.
    fn step(&self, action: &'static str, path: &Path) -> Result<()> {
        let due = |state: &mut State| {
            let at = state.operations;
            state.act.take_if(|(number, _)| *number == at)
        };
        if let Some((_, act)) = self.with(due) {
            act();
        }
        self.with(|state| {
            let number = state.operations;
            state.operations += 1;
            let fails = match state.fault {
                Some((at, Fault::Fail)) => number == at,
                Some((at, Fault::Freeze)) => number >= at,
                None => false,
            };
            if fails {
                let message = format!("injected fault at operation {number}");
                return Err(Error::on(action, path)(io::Error::other(message)));
            }
            Ok(())
        })
    }
}

trait OpenLossy {
    fn open_lossy(&self, path: &Path) -> io::Result<()>;
}

impl OpenLossy for std::fs::OpenOptions {
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    fn open_lossy(&self, path: &Path) -> io::Result<()> {
        self.open(path).map(drop)
    }
}

impl Fs for Faulty {
    fn create_dir(&self, path: &Path) -> Result<bool> {
        self.step("create", path)?;
        let made = Disk.create_dir(path)?;
        if made {
            self.with(|state| state.unsynced_names.insert(path.to_owned()));
        }
        Ok(made)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        Disk.list(path)
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>> {
        Disk.open(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>> {
        self.step("create", path)?;
        let inner = Disk.create(path)?;
        self.with(|state| {
            state.unsynced_files.insert(path.to_owned());
            state.unsynced_names.insert(path.to_owned());
        });
        Ok(Box::new(FaultyFile { inner, path: path.to_owned(), fs: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step("rename to", to)?;
        Disk.rename(from, to)?;
        self.with(|state| {
            if state.unsynced_files.remove(from) {
                state.unsynced_files.insert(to.to_owned());
            }
            state.unsynced_names.remove(from);
            state.unsynced_names.insert(to.to_owned());
        });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step("sync", path)?;
        self.with(|state| state.unsynced_names.retain(|name| name.parent() != Some(path)));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.step("remove", path)?;
        Disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        self.step("remove", path)?;
        Disk.remove_dir_all(path)
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        Disk.try_lock(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        Disk.lock(path)
    }
}

impl WriteFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.fs.step("write", &self.path)?;
        self.inner.write_all(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.fs.step("sync", &self.path)?;
        self.fs.with(|state| state.unsynced_files.remove(&self.path));
        Ok(())
    }
}
