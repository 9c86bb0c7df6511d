//! `orlop save`

use std::path::{Path, PathBuf};

use orlop::image::Reference;
use orlop::ops::save::{Original, SaveError, SaveOptions, SaveOutcome, SavedImage, save};
use orlop::size::ByteCount;
use orlop::store::Store;
use orlop::time::Time;
use serde::Serialize;

use super::open_archive;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

/// Keep images from archives in the store
///
/// Takes what `docker save`, `podman save`, `skopeo`, `ctr`, BuildKit, kaniko, crane,
/// jib, Bazel and Nix write, and image layouts in folders; as they are, or as
/// gzip, zstd, bzip2 or xz. Each archive is one commit: its images are all saved,
/// or none. The store is made if it isn't there.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// The archives or folders; `-` is standard input
    #[arg(short, long, required = true, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Name the image in the archive that has no name
    #[arg(short, long, value_name = "REF")]
    tag: Option<String>,
    /// Fail with exit code 10 if the store isn't there
    #[arg(long)]
    no_create: bool,
    /// Read all of each archive, and prove that it can be given back as a whole
    #[arg(long, conflicts_with = "no_original")]
    original: bool,
    /// Keep the images alone, nothing of how their archive was put together
    #[arg(long)]
    no_original: bool,
    /// Compress new content at this zstd level
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Take this as the time of saving
    #[arg(long, value_name = "TIME")]
    saved_at: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    saves: Vec<SaveRow>,
    failures: Vec<FailureRow>,
}

#[derive(Serialize)]
struct SaveRow {
    source: String,
    save: Option<String>,
    dialect: &'static str,
    images: Vec<ImageRow>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ImageRow {
    references: Vec<String>,
    image_id: String,
    root: String,
    platforms: String,
    layers: u64,
    layers_known: u64,
    size: u64,
    added: u64,
    unchanged: bool,
}

#[derive(Serialize)]
struct FailureRow {
    source: String,
    error: String,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let usage = |text: String| Failure::new(text, Exit::Usage);
    let tag = args.tag.as_deref().map(Reference::parse).transpose();
    let tag = tag.map_err(|error| usage(error.to_string()))?;
    if tag.is_some() && args.input.len() > 1 {
        return Err(usage("`--tag` takes one archive at a time".to_owned()));
    }
    let saved_at = args.saved_at.as_deref().map(|text| {
        surroundings::parse_time(text)
            .ok_or_else(|| usage(format!("`{text}` is not a date or time")))
    });
    let saved_at = saved_at.transpose()?;
    let mut store = surroundings::open(global, !args.no_create)?;
    let mut document = Document { schema: 1, saves: Vec::new(), failures: Vec::new() };
    let mut last = None;
    for path in &args.input {
        let mut result = save_one(global, args, &mut store, path, tag.as_ref(), saved_at);
        if matches!(&result, Err((_, failure)) if failure.is_in_catalog()) {
            surroundings::rebuild_catalog(global)?;
            // Standard input can't be read again; the next save will do.
            if path.as_os_str() != "-" {
                result = save_one(global, args, &mut store, path, tag.as_ref(), saved_at);
            }
        }
        match result {
            Ok(row) => document.saves.push(row),
            Err((source, failure)) => {
                document.failures.push(FailureRow { source, error: failure.line() });
                last = Some(failure.report());
            }
        }
    }
    let exit = match last {
        None => Exit::Done,
        Some(exit) if args.input.len() == 1 => exit,
        Some(_) if document.saves.is_empty() => Exit::Failed,
        Some(_) => Exit::SomeFailed,
    };
    if args.json {
        output::json(&document)?;
    }
    Ok(exit)
}

fn save_one(
    global: &Global,
    args: &Args,
    store: &mut Store,
    path: &Path,
    tag: Option<&Reference>,
    saved_at: Option<Time>,
) -> Result<SaveRow, (String, Failure)> {
    let shown = path.display().to_string();
    let options = SaveOptions {
        tag: tag.cloned(),
        level: args.level,
        now: saved_at.unwrap_or_else(surroundings::now),
        now_as_given: saved_at.is_some(),
        program: surroundings::PROGRAM,
        original: match (args.original, args.no_original) {
            (true, _) => Original::Prove,
            (_, true) => Original::Forget,
            _ => Original::Keep,
        },
    };
    let bar = Bar::new("saving", global.quiet);
    let input = open_archive(path).map_err(SaveError::Read);
    let result = input.and_then(|input| save(store, input, &options, &bar));
    surroundings::report_notices(global, store);
    let outcome = result.map_err(|error| (shown.clone(), Failure::of_save(&shown, &error)))?;
    for warning in &outcome.warnings {
        let word = if warning.is_harmless() { "note" } else { "warning" };
        output::note(&format!("{word}: {shown}: {warning}"));
    }
    if !args.json && !global.quiet {
        let lines: Vec<String> = outcome.images.iter().map(line).collect();
        output::lines(&lines).map_err(|failure| (shown.clone(), failure))?;
    }
    Ok(row(shown, &outcome))
}

/// What a person reads of one image.
fn line(image: &SavedImage) -> String {
    let names: Vec<String> = image.references.iter().map(Reference::familiar).collect();
    let names = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
    let id = image.image_id.short();
    if image.unchanged {
        return format!("unchanged {names}  sha256:{id}  is the newest already, nothing written");
    }
    let plural = if image.layers == 1 { "" } else { "s" };
    let known = match image.layers_known {
        0 => String::new(),
        known => format!(" ({known} known)"),
    };
    format!(
        "saved {names}  sha256:{id}  {} layer{plural}{known}, {}  added {}",
        image.layers,
        ByteCount(image.size),
        ByteCount(image.added)
    )
}

fn row(source: String, outcome: &SaveOutcome) -> SaveRow {
    let images = outcome.images.iter().map(|image| ImageRow {
        references: image.references.iter().map(ToString::to_string).collect(),
        image_id: image.image_id.to_string(),
        root: image.root.to_string(),
        platforms: image.platforms.clone(),
        layers: image.layers,
        layers_known: image.layers_known,
        size: image.size,
        added: image.added,
        unchanged: image.unchanged,
    });
    SaveRow {
        source,
        save: outcome.save.map(|id| id.to_string()),
        dialect: outcome.dialect,
        images: images.collect(),
        warnings: outcome.warnings.iter().map(ToString::to_string).collect(),
    }
}
