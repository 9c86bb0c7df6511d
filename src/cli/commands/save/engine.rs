//! `orlop save IMAGE...`: from a running engine.

use orlop::catalog::RevisionRow;
use orlop::engine::Engine;
use orlop::image::Reference;
use orlop::ops::from_engine::{FromEngineError, Plan, Wanted, plan, transfer};
use orlop::ops::save::Original;
use orlop::size::ByteCount;
use orlop::store::Store;

use super::{Args, Document, FailureRow, ImageRow, report, row};
use crate::cli::commands::chosen::Used;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

pub(super) fn run(global: &Global, args: &Args) -> Printed {
    let used = args.projects.images()?;
    let engine = args.engine.connect()?;
    let mut names = args.names.clone();
    names.extend(used.iter().map(|image| image.name.clone()));
    if args.all || !args.filter.is_empty() {
        let listed = engine.images(&args.filter)?;
        names.extend(listed.into_iter().flat_map(|image| image.names));
    }
    let mut store = surroundings::open(global, !args.no_create)?;
    let plan = plan(&store, &engine, &names, args.with_history)?;
    if !global.quiet && !args.json {
        announce(&engine.about().to_string(), &plan, &used);
    }
    let mut document = Document { schema: 1, saves: Vec::new(), failures: Vec::new() };
    for name in &plan.missing {
        let failure = missing(name, &used, &engine.about().to_string());
        document.failures.push(FailureRow { source: name.clone(), error: failure.line() });
        failure.report();
    }
    take(global, args, &mut store, &engine, &plan, &mut document)?;
    let found = !plan.take.is_empty() || !plan.unchanged.is_empty();
    if args.json {
        output::json(&document)?;
    }
    Ok(match (plan.missing.is_empty(), found) {
        (true, _) => Exit::Done,
        (false, true) => Exit::SomeFailed,
        (false, false) => Exit::NotFound,
    })
}

fn take(
    global: &Global,
    args: &Args,
    store: &mut Store,
    engine: &Engine,
    plan: &Plan,
    document: &mut Document,
) -> Result<(), Failure> {
    let mut options = super::options(args, None, super::saved_at(args)?);
    if options.original == Original::Keep {
        // The stream is no archive that anybody has.
        options.original = Original::Forget;
    }
    let source = engine.about().to_string();
    let bar = Bar::new("saving", global.quiet);
    let result = transfer(store, engine, plan, &options, &bar);
    surroundings::report_notices(global, store);
    let outcome = result.map_err(|error| match error {
        FromEngineError::Engine(error) => error.into(),
        FromEngineError::Store(error) => error.into(),
        FromEngineError::Save(error) => Failure::of_stream(&source, &error),
        error => Failure::of("cannot save", &error, Exit::Failed),
    })?;
    let unchanged = plan.unchanged.iter().map(|(image, revision)| unchanged_row(image, revision));
    let unchanged: Vec<ImageRow> = unchanged.collect();
    if !args.json && !global.quiet {
        let lines: Vec<String> = plan.unchanged.iter().map(|(it, _)| unchanged_line(it)).collect();
        output::lines(&lines)?;
    }
    if let Some(outcome) = &outcome {
        report(global, args, &source, outcome)?;
        document.saves.push(row(source.clone(), outcome));
    }
    if !unchanged.is_empty() {
        match document.saves.last_mut() {
            Some(row) => row.images.extend(unchanged),
            None => document.saves.push(super::SaveRow {
                source,
                save: None,
                dialect: "",
                images: unchanged,
                warnings: Vec::new(),
            }),
        }
    }
    Ok(())
}

/// What will be taken.
fn announce(engine: &str, plan: &Plan, used: &[Used]) {
    let size: u64 = plan.take.iter().map(|image| image.size).sum();
    let (count, s) = (plan.take.len(), if plan.take.len() == 1 { "" } else { "s" });
    if count > 0 {
        output::note(&format!("taking {count} image{s} from {engine}, {}", ByteCount(size)));
    }
    for image in plan.take.iter().filter(|_| !used.is_empty()) {
        let by = used.iter().find(|used| is(used, image)).map(|used| used.by.as_str());
        let by = by.map_or_else(String::new, |by| format!("  ({by})"));
        output::note(&format!("  {}{by}", image.name));
    }
    if plan.parents > 0 {
        let s = if plan.parents == 1 { "" } else { "s" };
        output::note(&format!("with {} image{s} of the build history", plan.parents));
    }
    for name in &plan.without_parents {
        output::note(&format!(
            "note: {name}: the engine has no images of its build history, as ever with BuildKit"
        ));
    }
}

fn is(used: &Used, image: &Wanted) -> bool {
    Reference::parse(&used.name).ok() == image.reference && image.reference.is_some()
}

fn missing(name: &str, used: &[Used], engine: &str) -> Failure {
    let failure = Failure::new(format!("no image `{name}` in {engine}"), Exit::NotFound);
    if used.iter().any(|used| used.built && used.name == name) {
        return failure.hint("build it: docker compose build");
    }
    if std::path::Path::new(name).is_file() {
        let input = crate::cli::failure::quoted(std::path::Path::new(name));
        return failure.hint(format!("save an archive: orlop save -i {input}"));
    }
    failure.hint(format!("get it: docker pull {name}"))
}

fn unchanged_line(image: &Wanted) -> String {
    let (name, id) = (&image.name, image.id.short());
    format!("unchanged {name}  sha256:{id}  is the newest already, nothing transferred")
}

fn unchanged_row(image: &Wanted, revision: &RevisionRow) -> ImageRow {
    ImageRow {
        references: image.reference.iter().map(ToString::to_string).collect(),
        image_id: revision.image_id.to_string(),
        root: revision.root.to_string(),
        platforms: revision.platform.clone(),
        layers: revision.layers,
        layers_known: revision.layers,
        size: revision.size,
        added: 0,
        unchanged: true,
    }
}
