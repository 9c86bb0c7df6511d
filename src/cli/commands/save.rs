//! `orlop save`

mod engine;

use std::path::{Path, PathBuf};

use orlop::image::Reference;
use orlop::ops::save::{Original, SaveError, SaveOptions, SaveOutcome, SavedImage, save};
use orlop::size::ByteCount;
use orlop::store::Store;
use orlop::time::Time;
use serde::Serialize;

use super::chosen::{EngineChoice, Projects};
use super::open_archive;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

/// Keep images in the store, from a running engine or from archives
///
/// From an engine, an image that is the newest already is not transferred. As an
/// archive, takes what `docker save`, `podman save`, `skopeo`, `ctr`, BuildKit, kaniko,
/// crane, jib, Bazel and Nix write, and image layouts in folders; as they are, or as
/// gzip, zstd, bzip2 or xz. Each archive is one commit, and so is all that comes from
/// an engine at once: the images are all saved, or none. The store is made if it isn't
/// there.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// Images of the engine, by name or ID
    #[arg(value_name = "IMAGE", conflicts_with = "input",
        required_unless_present_any = ["input", "all", "filter", "compose", "kubernetes"])]
    names: Vec<String>,
    /// Archives or folders instead; `-` is standard input
    #[arg(short, long, num_args = 1.., value_name = "FILE",
        conflicts_with_all = ["all", "filter", "compose", "kubernetes", "engine", "with_history"])]
    input: Vec<PathBuf>,
    /// All images of the engine that have a tag
    #[arg(long)]
    all: bool,
    /// All images that the engine lists with this filter, such as `reference=app:*`,
    /// `label=KEY=VALUE` or `since=IMAGE`; can be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    #[command(flatten)]
    projects: Projects,
    #[command(flatten)]
    engine: EngineChoice,
    /// Keep the images of the build history as well, which the classic builder leaves
    /// in the engine: so its cache works again wherever the image is loaded
    #[arg(long)]
    with_history: bool,
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

fn filter(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let parts = parts.ok_or_else(|| "expected `KEY=VALUE`".to_owned())?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    if args.input.is_empty() {
        return engine::run(global, args);
    }
    let usage = |text: String| Failure::new(text, Exit::Usage);
    let tag = args.tag.as_deref().map(Reference::parse).transpose();
    let tag = tag.map_err(|error| usage(error.to_string()))?;
    if tag.is_some() && args.input.len() > 1 {
        return Err(usage("`--tag` takes one archive at a time".to_owned()));
    }
    let saved_at = saved_at(args)?;
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

fn saved_at(args: &Args) -> Result<Option<Time>, Failure> {
    let time = args.saved_at.as_deref().map(|text| {
        surroundings::parse_time(text)
            .ok_or_else(|| Failure::new(format!("`{text}` is not a date or time"), Exit::Usage))
    });
    time.transpose()
}

fn options(args: &Args, tag: Option<Reference>, saved_at: Option<Time>) -> SaveOptions<'static> {
    SaveOptions {
        tag,
        level: args.level,
        now: saved_at.unwrap_or_else(surroundings::now),
        now_as_given: saved_at.is_some(),
        program: surroundings::PROGRAM,
        original: match (args.original, args.no_original) {
            (true, _) => Original::Prove,
            (_, true) => Original::Forget,
            _ => Original::Keep,
        },
    }
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
    let options = options(args, tag.cloned(), saved_at);
    let bar = Bar::new("saving", global.quiet);
    let input = open_archive(path).map_err(SaveError::Read);
    let result = input.and_then(|input| save(store, input, &options, &bar));
    surroundings::report_notices(global, store);
    let outcome = result.map_err(|error| (shown.clone(), Failure::of_save(&shown, &error)))?;
    report(global, args, &shown, &outcome).map_err(|failure| (shown.clone(), failure))?;
    Ok(row(shown, &outcome))
}

/// Tells people what a save did.
fn report(
    global: &Global,
    args: &Args,
    source: &str,
    outcome: &SaveOutcome,
) -> Result<(), Failure> {
    for warning in &outcome.warnings {
        let word = if warning.is_harmless() { "note" } else { "warning" };
        output::note(&format!("{word}: {source}: {warning}"));
    }
    if !args.json && !global.quiet {
        let lines: Vec<String> = outcome.images.iter().map(line).collect();
        output::lines(&lines)?;
    }
    Ok(())
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
