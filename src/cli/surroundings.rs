//! What the command finds around it: environment, clock, time zone, signals; and
//! the store that they lead to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::engine::Surroundings;
use orlop::fs::{self, Disk};
use orlop::store::{Notice, OpenOptions, Store, StoreError};
use orlop::time::{Time, Zone};

use super::exit::Exit;
use super::failure::Failure;
use super::{Global, output};

/// Who writes records, for people.
pub(crate) const PROGRAM: &str = concat!("orlop ", env!("CARGO_PKG_VERSION"));

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the command line owns the clock")]
pub(crate) fn now() -> Time {
    Time::from_system(std::time::SystemTime::now()).unwrap_or(Time::from_nanos(0))
}

/// Reads a date or time that a user typed, in local time unless it says
/// otherwise.
pub(crate) fn parse_time(text: &str) -> Option<Time> {
    Time::parse_local(text, false)
}

/// The same, for "as of": a date takes in all of its day.
pub(crate) fn parse_as_of(text: &str) -> Option<Time> {
    Time::parse_local(text, true)
}

/// The time zone of the user.
pub(crate) fn zone() -> Zone {
    Zone::system()
}

/// A time as the user's calendar and clock show it.
pub(crate) fn local(time: Time) -> String {
    zone().shown(time)
}

/// The folder of the store that the arguments mean.
pub(crate) fn root(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(store) = global.store.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        return Ok(store.clone());
    }
    user_folder("XDG_DATA_HOME", ".local/share").map(|data| data.join("orlop")).ok_or_else(|| {
        Failure::new(
            "cannot tell where the store is: neither HOME nor XDG_DATA_HOME is set",
            Exit::Usage,
        )
        .hint("name it: orlop --store PATH")
    })
}

/// An absolute folder from a variable of the XDG base directories, or below HOME.
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    path(variable).or_else(|| path("HOME").map(|home| home.join(below_home)))
}

/// What leads to an engine, as Docker's client reads it.
pub(crate) fn of_engines() -> Surroundings {
    let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let path = |name| text(name).map(PathBuf::from);
    let home = path("HOME");
    let config = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    Surroundings {
        docker_host: text("DOCKER_HOST"),
        docker_context: text("DOCKER_CONTEXT"),
        docker_config: config.unwrap_or_default(),
        cert_path: path("DOCKER_CERT_PATH"),
        tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
        runtime_dir: path("XDG_RUNTIME_DIR"),
        home,
        uid: None,
    }
}

/// The folder that the command runs in.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    std::env::current_dir()
        .map_err(|error| Failure::of("cannot tell the current folder", &error, Exit::Failed))
}

/// All variables that are text.
pub(crate) fn variables() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Opens the store that the arguments mean; with `create`, makes it if need be.
pub(crate) fn open(global: &Global, create: bool) -> Result<Store, Failure> {
    open_with(global, create, false)
}

/// Opens the store that the arguments mean, and keeps what is there while it is open.
pub(crate) fn open_to_read(global: &Global) -> Result<Store, Failure> {
    open_with(global, false, true)
}

fn open_with(global: &Global, create: bool, hold: bool) -> Result<Store, Failure> {
    let root = root(global)?;
    if create && !Store::exists(&Disk, &root) {
        match Store::create(&Disk, &root, PROGRAM) {
            Ok(_) => report(global, Notice::Created(root.clone())),
            // Another process was faster.
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let cache = user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("orlop"));
    let mut store =
        Store::open(Arc::new(Disk), &root, &OpenOptions { cache, hold, ..OpenOptions::default() })?;
    report_notices(global, &mut store);
    Ok(store)
}

/// Builds the catalog again, whose file is damaged.
pub(crate) fn rebuild_catalog(global: &Global) -> Result<(), Failure> {
    let mut store = open(global, false)?;
    store.reindex()?;
    store.take_notices();
    output::note("rebuilt the catalog: it was damaged");
    Ok(())
}

/// Prints what the store wants its user to know.
pub(crate) fn report_notices(global: &Global, store: &mut Store) {
    for notice in store.take_notices() {
        report(global, notice);
    }
}

fn report(global: &Global, notice: Notice) {
    let (line, warns) = match notice {
        Notice::Created(root) => (format!("created a store at {}", shown(&root)), false),
        Notice::CatalogRebuilt { reason, records } => {
            let plural = if records == 1 { "" } else { "s" };
            (format!("rebuilt the catalog from {records} record{plural}: {reason}"), false)
        }
        Notice::PackUnreadable { pack, reason } => {
            (format!("warning: pack `{}` can't be used: {reason}", pack.short()), true)
        }
        Notice::RecordUnreadable { reason } => {
            (format!("warning: what this record says is missing here: {reason}"), true)
        }
        Notice::ClockBehind => {
            let line = "warning: the clock is behind the newest record; saved just after that one";
            (line.to_owned(), true)
        }
        Notice::CatalogBehind => {
            let line =
                "warning: the catalog could not be written; it is brought up to date next time";
            (line.to_owned(), true)
        }
        notice => (format!("warning: {notice:?}"), true),
    };
    if warns || !global.quiet {
        output::note(&line);
    }
}

/// A path with the home folder as `~`.
pub(crate) fn shown(path: &Path) -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// Takes away unfinished outputs when the process is interrupted or terminated,
/// and ends it with 128 and the signal's number.
pub(crate) fn clean_up_on_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            fs::output::remove_unfinished();
            #[expect(
                clippy::exit,
                clippy::disallowed_methods,
                reason = "the process was told to end"
            )]
            std::process::exit(128 + signal);
        }
    });
}
