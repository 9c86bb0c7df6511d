//! `orlop rm`

use orlop::ops::action::familiar;
use orlop::ops::resolve::Resolved;
use orlop::ops::rm::{Let, Removed, rm};
use orlop::time::Time;
use serde::Serialize;

use super::{author, find};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Remove names, and images that have none left
///
/// Takes the name from the revision that it means, so that it means again what it
/// meant before. A revision without a name is removed. By ID or digest, the
/// revision is removed with all its names. Nothing is deleted before `gc`, and
/// until then `undo` takes it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which images, as for `export`
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    /// Take the name from all revisions that have it
    #[arg(long)]
    all_revisions: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    record: String,
    revisions: Vec<Row>,
    now: Vec<Now>,
}

#[derive(Serialize)]
struct Row {
    image_id: String,
    root: String,
    saved_at: Time,
    untagged: Vec<String>,
    removed: bool,
}

/// What a name means that is there still.
#[derive(Serialize)]
struct Now {
    reference: String,
    image_id: String,
    saved_at: Time,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let mut store = surroundings::open(global, false)?;
    let found = args.names.iter().map(|name| Ok::<_, Failure>((name.clone(), find(&store, name)?)));
    let found: Vec<(String, Resolved)> = found.collect::<Result<_, _>>()?;
    let removed = rm(&mut store, &found, args.all_revisions, author())?;
    surroundings::report_notices(global, &mut store);
    if args.json {
        return output::json(&document(removed));
    }
    if global.quiet {
        return Ok(Exit::Done);
    }
    let lines: Vec<String> = removed.removal.revisions.iter().flat_map(lines).collect();
    let exit = output::lines(&lines)?;
    for (name, revision) in &removed.now {
        let saved_at = surroundings::local(revision.saved_at);
        output::note(&format!("{} is now the revision of {saved_at}", familiar(name)));
    }
    if !removed.now.is_empty() {
        let names: Vec<String> = removed.now.iter().map(|(name, _)| familiar(name)).collect();
        let names = names.join(" ");
        output::note(&format!("hint: to remove all: orlop rm --all-revisions {names}"));
    }
    if removed.removal.revisions.iter().any(|it| it.removed) {
        output::note("`orlop gc` frees the space, and until then `orlop undo` takes this back");
    }
    Ok(exit)
}

/// What a person reads of one revision.
pub(super) fn lines(it: &Let) -> Vec<String> {
    let id = it.revision.image_id.short();
    let untagged =
        it.untagged.iter().map(|name| format!("untagged {}  sha256:{id}", familiar(name)));
    let removed =
        || format!("removed sha256:{id}  saved {}", surroundings::local(it.revision.saved_at));
    untagged.chain(it.removed.then(removed)).collect()
}

fn document(removed: Removed) -> Document {
    let row = |it: Let| Row {
        image_id: it.revision.image_id.to_string(),
        root: it.revision.root.to_string(),
        saved_at: it.revision.saved_at,
        untagged: it.untagged.iter().map(|it| format!("{}:{}", it.repository, it.tag)).collect(),
        removed: it.removed,
    };
    let now = removed.now.into_iter().map(|(name, revision)| Now {
        reference: format!("{}:{}", name.repository, name.tag),
        image_id: revision.image_id.to_string(),
        saved_at: revision.saved_at,
    });
    Document {
        schema: 1,
        record: removed.record.to_string(),
        revisions: removed.removal.revisions.into_iter().map(row).collect(),
        now: now.collect(),
    }
}
