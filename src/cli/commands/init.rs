//! `orlop init`

use orlop::fs::Disk;
use orlop::store::Store;

use crate::cli::exit::Exit;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Make an empty store
///
/// Saving into a store that isn't there makes it as well, unless `--no-create`
/// is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &Global, _args: &Args) -> Printed {
    let root = surroundings::root(global)?;
    Store::create(&Disk, &root, surroundings::PROGRAM)?;
    if !global.quiet {
        output::note(&format!("created a store at {}", surroundings::shown(&root)));
    }
    Ok(Exit::Done)
}
