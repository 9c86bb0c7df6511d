//! `orlop undo`

use orlop::ops::undo::{Undone, undo};
use orlop::time::Time;
use serde::Serialize;

use super::author;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Take back the last `rm`, `forget` or `tag`
///
/// As long as no `gc` came after it. What was undone isn't undone again: the next
/// `undo` takes back the one before.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    record: String,
    undone: String,
    what: String,
    saved_at: Time,
    names: Vec<String>,
    revisions: usize,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let mut store = surroundings::open(global, false)?;
    let Undone { record, undone, what, saved_at, names, revisions } = undo(&mut store, author())?;
    surroundings::report_notices(global, &mut store);
    if args.json {
        let (record, undone) = (record.to_string(), undone.to_string());
        let schema = 1;
        return output::json(&Document {
            schema,
            record,
            undone,
            what,
            saved_at,
            names,
            revisions,
        });
    }
    if global.quiet {
        return Ok(Exit::Done);
    }
    let plural = if revisions == 1 { "" } else { "s" };
    let back = match what.as_str() {
        "tag" => String::new(),
        _ if revisions == 0 => String::new(),
        _ => format!(", {revisions} revision{plural} back"),
    };
    let shown = names.iter().map(|name| match orlop::image::Reference::parse_tagged(name) {
        Ok(name) => name.familiar(),
        Err(_) => name.clone(),
    });
    let shown: Vec<String> = shown.collect();
    let shown = if shown.is_empty() { String::new() } else { format!(" of {}", shown.join(", ")) };
    let at = surroundings::local(saved_at);
    output::lines(&[format!("undid the {what}{shown} at {at}{back}")])
}
