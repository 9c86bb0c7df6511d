//! `orlop reindex`

use crate::cli::exit::Exit;
use crate::cli::output::Printed;
use crate::cli::{Global, surroundings};

/// Build the catalog again from packs and records
///
/// The catalog holds nothing of its own, and is rebuilt by itself when it is
/// missing, damaged or another store's. This does it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(global: &Global, _args: &Args) -> Printed {
    let mut store = surroundings::open(global, false)?;
    store.reindex()?;
    surroundings::report_notices(global, &mut store);
    Ok(Exit::Done)
}
