//! `orlop export`

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use orlop::fs::output::Output;
use orlop::ops::export::{Export, ExportOutcome};
use orlop::size::ByteCount;
use serde::Serialize;

use super::find;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

const BUFFER: usize = 1 << 20;

/// Write images as one archive that `docker load` accepts
///
/// The archive is complete by itself: an OCI layout and a Docker archive in one
/// tar, with layers as they were saved. The same images always give the same
/// bytes. A file appears whole or not at all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which images: `app:1.4`, `app:1.4~1` (the one before),
    /// `app:1.4@{2026-05-01}` (as of then), `app@sha256:...`, or 6 or more hex
    /// digits of an image ID
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    /// Where to write; `-` is standard output, as without
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON about what was written to a file
    #[arg(long, requires = "output")]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    images: usize,
    bytes: u64,
    decoded: u64,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let target = args.output.as_ref().filter(|path| path.as_os_str() != "-");
    if target.is_none() && output::stdout_is_terminal() {
        let names = args.names.join(" ");
        return Err(Failure::new("cannot export to a terminal", Exit::Usage)
            .hint(format!("write a file: orlop export {names} -o FILE"))
            .hint(format!("load it: orlop export {names} | docker load")));
    }
    let store = surroundings::open(global, false)?;
    let images = args.names.iter().map(|name| find(&store, name));
    let images: Vec<_> = images.collect::<Result<_, _>>()?;
    let export = Export::plan(&store, &images)?;
    let bar = Bar::new("exporting", global.quiet);
    let Some(target) = target else {
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        export.write(&mut out, &bar).map_err(|error| Failure::from(error).with_output())?;
        return Ok(Exit::Done);
    };
    let failed = |error: &dyn std::error::Error| {
        Failure::of(format!("cannot write `{}`", target.display()), error, Exit::Failed)
    };
    let mut file =
        BufWriter::with_capacity(BUFFER, Output::create(target).map_err(|error| failed(&error))?);
    let outcome = export.write(&mut file, &bar)?;
    file.flush().map_err(|error| failed(&error))?;
    let file = file.into_inner().map_err(|error| failed(error.error()))?;
    file.finish().map_err(|error| failed(&error))?;
    if args.json {
        let ExportOutcome { images, bytes, decoded } = outcome;
        return output::json(&Document { schema: 1, images, bytes, decoded });
    }
    if !global.quiet {
        let plural = if outcome.images == 1 { "" } else { "s" };
        let (images, bytes) = (outcome.images, ByteCount(outcome.bytes));
        output::note(&format!("exported {images} image{plural}, {bytes}, to {}", target.display()));
    }
    Ok(Exit::Done)
}
