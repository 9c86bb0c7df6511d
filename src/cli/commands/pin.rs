//! `orlop pin` and `orlop unpin`

use orlop::ops::pin::pin;
use orlop::ops::resolve::Resolved;
use serde::Serialize;

use super::{author, find};
use crate::cli::exit::Exit;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Protect images from `rm` and `forget`
#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    images: Images,
}

/// Let images be removed again that were pinned
#[derive(Debug, clap::Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    images: Images,
}

#[derive(Debug, clap::Args)]
struct Images {
    /// Which images, as for `export`: a revision is pinned, not its name
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    record: Option<String>,
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    image_id: String,
    root: String,
    pinned: bool,
    changed: bool,
}

pub(crate) fn run_pin(global: &Global, args: &Pin) -> Printed {
    run(global, &args.images, true)
}

pub(crate) fn run_unpin(global: &Global, args: &Unpin) -> Printed {
    run(global, &args.images, false)
}

fn run(global: &Global, args: &Images, pinned: bool) -> Printed {
    let mut store = surroundings::open(global, false)?;
    let found = args.names.iter().map(|name| find(&store, name));
    let found: Vec<Resolved> = found.collect::<Result<_, _>>()?;
    let record = pin(&mut store, &found, pinned, author())?;
    surroundings::report_notices(global, &mut store);
    if args.json {
        let row = |image: &Resolved| Row {
            image_id: image.revision.image_id.to_string(),
            root: image.revision.root.to_string(),
            pinned,
            changed: image.revision.pinned != pinned,
        };
        let images = found.iter().map(row).collect();
        let record = record.map(|id| id.to_string());
        return output::json(&Document { schema: 1, record, images });
    }
    if global.quiet {
        return Ok(Exit::Done);
    }
    let word = if pinned { "pinned" } else { "unpinned" };
    let lines = args.names.iter().zip(&found).map(|(name, image)| {
        let id = image.revision.image_id.short();
        if image.revision.pinned == pinned {
            let state = if pinned { "pinned already" } else { "not pinned" };
            format!("unchanged {name}  sha256:{id}  is {state}")
        } else {
            format!("{word} {name}  sha256:{id}")
        }
    });
    output::lines(&lines.collect::<Vec<_>>())
}
