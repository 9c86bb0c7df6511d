//! `orlop tag`

use orlop::image::Reference;
use orlop::ops::tag::tag;
use orlop::time::Time;
use serde::Serialize;

use super::{author, find};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Give a stored image one more name
///
/// A name that there is already is moved: what it meant before is `NEW~1` then.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which image, as for `export`
    #[arg(value_name = "REF")]
    name: String,
    /// The name; without a tag it is `latest`
    #[arg(value_name = "NEW")]
    new: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    record: Option<String>,
    reference: String,
    image_id: String,
    root: String,
    saved_at: Time,
    before: Option<Before>,
}

#[derive(Serialize)]
struct Before {
    image_id: String,
    saved_at: Time,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let usage = |error: orlop::image::Error| Failure::new(error.to_string(), Exit::Usage);
    let new = Reference::parse(&args.new).map_err(usage)?;
    let mut store = surroundings::open(global, false)?;
    let found = find(&store, &args.name)?;
    let done = tag(&mut store, &found, &new, author())?;
    surroundings::report_notices(global, &mut store);
    let revision = found.revision;
    if args.json {
        let before = done.before.map(|before| Before {
            image_id: before.image_id.to_string(),
            saved_at: before.saved_at,
        });
        return output::json(&Document {
            schema: 1,
            record: done.record.map(|id| id.to_string()),
            reference: new.to_string(),
            image_id: revision.image_id.to_string(),
            root: revision.root.to_string(),
            saved_at: revision.saved_at,
            before,
        });
    }
    if global.quiet {
        return Ok(Exit::Done);
    }
    let (name, id) = (new.familiar(), revision.image_id.short());
    if done.record.is_none() {
        let line = format!("unchanged {name}  sha256:{id}  is that already, nothing written");
        return output::lines(&[line]);
    }
    if let Some(before) = done.before {
        let id = before.image_id.short();
        output::note(&format!("{name} was sha256:{id}, which is {name}~1 now"));
    }
    output::lines(&[format!("tagged {name}  sha256:{id}")])
}
