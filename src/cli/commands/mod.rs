//! One file for each verb: its arguments and one call.

mod chosen;
pub(super) mod doctor;
pub(super) mod elsewhere;
pub(super) mod export;
pub(super) mod forget;
pub(super) mod gc;
pub(super) mod images;
pub(super) mod init;
pub(super) mod inspect;
pub(super) mod load;
pub(super) mod optimize;
pub(super) mod pin;
pub(super) mod reindex;
pub(super) mod rm;
pub(super) mod save;
pub(super) mod stats;
pub(super) mod tag;
pub(super) mod undo;

use std::io;
use std::path::Path;

use orlop::fs;
use orlop::image::{MOST_MEMBERS, Query};
use orlop::ops::action::Author;
use orlop::ops::input::Input;
use orlop::ops::resolve::{Resolved, resolve};
use orlop::store::Store;

use super::exit::Exit;
use super::failure::Failure;
use super::surroundings;

/// Who writes records, and when: now.
fn author() -> Author<'static> {
    Author { program: surroundings::PROGRAM, now: surroundings::now() }
}

/// Finds the image that a user named.
fn find(store: &Store, name: &str) -> Result<Resolved, Failure> {
    let query = Query::parse(name).map_err(|error| Failure::new(error.to_string(), Exit::Usage))?;
    resolve(store, &query, &surroundings::parse_as_of).map_err(|error| {
        let failure = Failure::from(error);
        // It may be what an unreadable record says.
        if store.records_unreadable() > 0 { failure.in_damaged_store() } else { failure }
    })
}

/// Opens an archive that a user named: a file, a folder, or `-` for standard input.
fn open_archive(path: &Path) -> io::Result<Input> {
    let name = path.file_name().map_or("-".into(), |name| name.to_string_lossy().into_owned());
    if path.as_os_str() == "-" {
        return Input::from_stream(name, io::stdin());
    }
    if path.is_dir() {
        let folder = fs::open_input_folder(path, MOST_MEMBERS).map_err(|error| error.source)?;
        return Ok(Input::from_folder(name, folder));
    }
    Input::from_file(name, fs::open_input(path).map_err(|error| error.source)?)
}
