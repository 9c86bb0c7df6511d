//! `orlop export --original`

use std::io::{self, BufWriter, Write};

use orlop::digest::Id;
use orlop::fs::output::Output;
use orlop::ops::original::{Original, OriginalOutcome};
use orlop::size::ByteCount;
use orlop::store::Store;
use serde::Serialize;

use super::{Args, BUFFER, Place, place};
use crate::cli::commands::find;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

#[derive(Serialize)]
struct Document {
    schema: u32,
    save: String,
    bytes: u64,
    digest: String,
    proven: bool,
}

/// Writes the archive that one save took in.
pub(super) fn run(global: &Global, args: &Args) -> Printed {
    let [name] = args.names.as_slice() else {
        return Err(Failure::new("`--original` writes one archive at a time", Exit::Usage));
    };
    let target = match place(args) {
        Place::Folder(_) => {
            return Err(Failure::new("an original is one file, not a folder", Exit::Usage));
        }
        Place::Stdout if output::stdout_is_terminal() => {
            return Err(Failure::new("cannot export to a terminal", Exit::Usage)
                .hint(format!("write a file: orlop export --original {name} -o FILE")));
        }
        Place::Stdout => None,
        Place::File(path) => Some(path),
    };
    let store = surroundings::open(global, false)?;
    let save = find_save(&store, name)?;
    let original = Original::of(&store, save)?;
    let bar = Bar::new("exporting", global.quiet);
    let outcome = if let Some(path) = target {
        let failed = |error: &dyn std::error::Error| {
            Failure::of(format!("cannot write `{}`", path.display()), error, Exit::Failed)
        };
        let file = Output::create(path).map_err(|error| failed(&error))?;
        let mut file = BufWriter::with_capacity(BUFFER, file);
        let outcome = original.write(&mut file, &bar)?;
        let file = file.into_inner().map_err(|error| failed(error.error()))?;
        file.finish().map_err(|error| failed(&error))?;
        outcome
    } else {
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        let written = original.write(&mut out, &bar).map_err(Failure::from);
        let outcome = written.map_err(Failure::with_output)?;
        out.flush().map_err(|error| Failure::of("cannot export", &error, Exit::Failed))?;
        outcome
    };
    let OriginalOutcome { bytes, digest, proven } = outcome;
    if !global.quiet {
        if !original.is_whole_file() {
            let compression = original.archive.compression.as_deref().unwrap_or_default();
            output::note(&format!(
                "note: the file was compressed with {compression}; this is the tar inside"
            ));
        }
        if !proven {
            let hint = "its parts are as they were saved, but it was never hashed as a whole";
            output::note(&format!("note: not proven: {hint} (see `save --original`)"));
        }
    }
    let Some(path) = target else { return Ok(Exit::Done) };
    if args.json {
        let (save, digest) = (save.to_string(), digest.to_string());
        return output::json(&Document { schema: 1, save, bytes, digest, proven });
    }
    if !global.quiet {
        let bytes = ByteCount(bytes);
        output::note(&format!("exported the original archive, {bytes}, to {}", path.display()));
    }
    Ok(Exit::Done)
}

/// A save by its ID, or that of an image.
fn find_save(store: &Store, name: &str) -> Result<Id, Failure> {
    if let Ok(id) = name.parse::<Id>()
        && store.catalog().records().map_err(orlop::store::StoreError::from)?.contains(&id)
    {
        return Ok(id);
    }
    Ok(find(store, name)?.revision.record)
}
