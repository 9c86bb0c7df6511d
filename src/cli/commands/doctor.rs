//! `orlop doctor`

use std::path::Path;

use orlop::fs::{Disk, Fs};
use orlop::image;
use orlop::ops::doctor::{
    DoctorError, Finding, Shape, Verdict, shape_of_export, shape_of_input, verdicts,
};
use orlop::ops::export::{Export, ExportOptions};
use serde::Serialize;

use super::{find, open_archive};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Say which programs will load an archive, and why others won't
///
/// Looks at documents and at the first bytes of layers, not at their content. Of a
/// stored image it judges what `orlop export` writes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An archive, an OCI layout as a folder, or an image in the store; `-` is
    /// standard input
    #[arg(value_name = "FILE|REF")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    name: String,
    dialect: &'static str,
    compression: Option<String>,
    layers: Vec<&'static str>,
    consumers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    consumer: &'static str,
    accepts: bool,
    reasons: Vec<String>,
    notes: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let shape = shape(global, &args.what)?;
    let verdicts = verdicts(&shape);
    if args.json {
        return output::json(&document(args.what.clone(), &shape, verdicts));
    }
    let rows: Vec<Vec<String>> = verdicts.iter().flat_map(rows).collect();
    output::lines(&output::table(&["PROGRAM", "LOADS", "WHY"], &rows))
}

/// What a program makes of it, one line for each finding.
fn rows(verdict: &Verdict) -> Vec<Vec<String>> {
    let loads = if verdict.accepts { "yes" } else { "no" };
    let mut rows = Vec::new();
    for finding in &verdict.findings {
        let (Finding::Refused(text) | Finding::Note(text)) = finding;
        let (name, loads) = if rows.is_empty() { (verdict.consumer, loads) } else { ("", "") };
        rows.push(vec![name.to_owned(), loads.to_owned(), text.clone()]);
    }
    if rows.is_empty() {
        rows.push(vec![verdict.consumer.to_owned(), loads.to_owned(), String::new()]);
    }
    rows
}

fn document(name: String, shape: &Shape, verdicts: Vec<Verdict>) -> Document {
    let consumers = verdicts.into_iter().map(|verdict| {
        let (mut reasons, mut notes) = (Vec::new(), Vec::new());
        for finding in verdict.findings {
            match finding {
                Finding::Refused(text) => reasons.push(text),
                Finding::Note(text) => notes.push(text),
            }
        }
        Row { consumer: verdict.consumer, accepts: verdict.accepts, reasons, notes }
    });
    Document {
        schema: 1,
        name,
        dialect: shape.dialect,
        compression: shape.outer.map(|compression| compression.to_string()),
        layers: shape.layers.iter().map(|form| form.unwrap_or("plain")).collect(),
        consumers: consumers.collect(),
    }
}

/// What lies there, or else what is stored under that name.
fn shape(global: &Global, what: &str) -> Result<Shape, Failure> {
    let path = Path::new(what);
    let failed = |error: DoctorError| of_doctor(what, &error);
    if what == "-" || Disk.exists(path) {
        let input = open_archive(path).map_err(DoctorError::Read).map_err(failed)?;
        return shape_of_input(input).map_err(failed);
    }
    let store = surroundings::open_to_read(global).map_err(|failure| {
        failure.hint(format!("if `{what}` is meant to be a file: it isn't there"))
    })?;
    let found = find(&store, what)?;
    let export = Export::plan(&store, &[found], &ExportOptions::default(), &())?;
    shape_of_export(&export).map_err(failed)
}

fn of_doctor(name: &str, error: &DoctorError) -> Failure {
    let exit = match error {
        DoctorError::Image(
            image::Error::NotAnArchive { .. }
            | image::Error::LooksLike { .. }
            | image::Error::BadHeader { .. }
            | image::Error::NoRoots { .. }
            | image::Error::NoImages,
        ) => Exit::Unsupported,
        DoctorError::Read(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            Exit::Unsupported
        }
        _ => Exit::Failed,
    };
    Failure::of(format!("cannot examine `{name}`"), error, exit)
}
