//! `orlop forget`

use std::error::Error as _;

use orlop::image::familiar_repository;
use orlop::ops::forget::policy::{Limit, Policy};
use orlop::ops::forget::{Entry, ForgetPlan, Group, plan};
use orlop::ops::gc;
use orlop::size::ByteCount;
use orlop::store::Store;
use orlop::store::gc::Collected;
use orlop::time::{Period, Time};
use serde::Serialize;

use super::author;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Let old revisions go by rules
///
/// What any rule keeps stays, of each repository and platform by itself; all else
/// goes, as with `rm`: nothing is deleted before `gc`, and until then `undo` takes it
/// back. Pinned revisions stay. Hours, days, weeks, months and years are those of
/// local time; of each that has a revision the newest is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only images whose name matches, as for `images`
    pattern: Option<String>,
    /// Keep the last N; here and below `unlimited` keeps all
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_last: Option<Limit>,
    /// Keep one for each of the last N hours that have one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_hourly: Option<Limit>,
    /// Keep one for each of the last N days that have one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_daily: Option<Limit>,
    /// Keep one for each of the last N weeks that have one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_weekly: Option<Limit>,
    /// Keep one for each of the last N months that have one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_monthly: Option<Limit>,
    /// Keep one for each of the last N years that have one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    keep_yearly: Option<Limit>,
    /// Keep all that are at most so much older than the newest, such as 1y5m7d2h
    #[arg(long, value_name = "PERIOD")]
    keep_within: Option<Period>,
    /// Keep all that have a tag like this, with `*` and `?`; can be given again
    #[arg(long, value_name = "PATTERN")]
    keep_tag: Vec<String>,
    /// Show what would go, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    record: Option<String>,
    groups: Vec<GroupRow>,
    unnamed: usize,
    gc: Option<GcRow>,
}

/// What collecting garbage would do then.
#[derive(Serialize)]
struct GcRow {
    before: u64,
    free: u64,
}

#[derive(Serialize)]
struct GroupRow {
    repository: String,
    platform: String,
    keep: Vec<Row>,
    forget: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    tags: Vec<String>,
    image_id: String,
    root: String,
    saved_at: Time,
    reasons: Vec<String>,
    removed: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let policy = policy(args);
    if policy.is_empty() {
        return Err(Failure::new("no rule says what to keep", Exit::Usage)
            .hint("keep a week of days: orlop forget --keep-daily 7 --dry-run"));
    }
    let mut store = surroundings::open(global, false)?;
    let mut plan = plan(&store, args.pattern.as_deref(), &policy, &surroundings::zone())?;
    if !args.json && !global.quiet {
        output::lines(&lines(&plan))?;
    }
    let shown = args.json || !global.quiet;
    let freed = if shown && !plan.is_empty() { freed(&mut store, &plan) } else { None };
    if let (Some(it), false) = (&freed, args.json) {
        let (free, all) = (ByteCount(it.free()), ByteCount(it.before));
        output::lines(&[format!("gc would then free {free} of {all}")])?;
    }
    let mut record = None;
    if !args.dry_run {
        let seen = !args.json && !global.quiet;
        if !plan.is_empty() && !args.yes && !asked(&plan, seen)? {
            output::note("nothing was changed");
            return Ok(Exit::Done);
        }
        record = plan.carry_out(&mut store, author())?;
        surroundings::report_notices(global, &mut store);
        if plan.pinned_since > 0 {
            let count = revisions(plan.pinned_since);
            output::note(&format!("pinned meanwhile, and left alone: {count}"));
        }
    }
    if args.json {
        return output::json(&document(plan, record.map(|id| id.to_string()), freed.as_ref()));
    }
    if record.is_some() && !global.quiet {
        output::note("`orlop gc` frees the space, and until then `orlop undo` takes this back");
    }
    Ok(Exit::Done)
}

fn policy(args: &Args) -> Policy {
    Policy {
        last: args.keep_last,
        hourly: args.keep_hourly,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
        within: args.keep_within,
        tags: args.keep_tag.clone(),
    }
}

/// What collecting garbage would free then. To forget goes on where that can't be
/// told.
fn freed(store: &mut Store, plan: &ForgetPlan) -> Option<Collected> {
    let planned = gc::plan(store, gc::WASTE, &plan.removed());
    if let Err(error) = &planned {
        let mut text = format!("warning: cannot tell what gc would free: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        output::note(&text);
    }
    planned.ok()
}

/// Whether the user says so, who must be at a terminal and have `seen` the plan.
fn asked(plan: &ForgetPlan, seen: bool) -> Result<bool, Failure> {
    let question = format!("forget {}?", revisions(plan.going()));
    seen.then(|| output::confirm(&question)).flatten().ok_or_else(|| {
        Failure::new("cannot ask without a terminal, and nothing was changed", Exit::Usage)
            .hint("say so beforehand: --yes")
            .hint("look first: --dry-run")
    })
}

fn revisions(count: usize) -> String {
    format!("{count} revision{}", if count == 1 { "" } else { "s" })
}

/// The plan as people read it.
fn lines(plan: &ForgetPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &plan.groups {
        let goes = group.entries.iter().filter(|entry| entry.reasons.is_empty()).count();
        let repository = familiar_repository(&group.repository);
        let stays = group.entries.len() - goes;
        lines.push(format!("{repository} {}: keep {stays}, forget {goes}", group.platform));
        let rows: Vec<Vec<String>> = group.entries.iter().map(cells).collect();
        let table = output::table(&["", "TAGS", "IMAGE ID", "SAVED", "WHY"], &rows);
        lines.extend(table.into_iter().map(|line| format!("  {line}")));
    }
    if plan.unnamed > 0 {
        lines.push(format!("{} without a name left alone", revisions(plan.unnamed)));
    }
    if plan.is_empty() {
        lines.push("nothing to forget".to_owned());
    }
    lines
}

fn cells(entry: &Entry) -> Vec<String> {
    let reasons: Vec<String> = entry.reasons.iter().map(ToString::to_string).collect();
    let (word, why) = match (reasons.is_empty(), entry.removed) {
        (false, _) => ("keep", reasons.join(", ")),
        (true, true) => ("forget", String::new()),
        (true, false) => ("forget", "has other names".to_owned()),
    };
    vec![
        word.to_owned(),
        entry.tags.join(", "),
        entry.revision.image_id.short(),
        surroundings::local(entry.revision.saved_at),
        why,
    ]
}

fn document(plan: ForgetPlan, record: Option<String>, freed: Option<&Collected>) -> Document {
    let row = |entry: Entry| Row {
        tags: entry.tags,
        image_id: entry.revision.image_id.to_string(),
        root: entry.revision.root.to_string(),
        saved_at: entry.revision.saved_at,
        reasons: entry.reasons.iter().map(ToString::to_string).collect(),
        removed: entry.removed,
    };
    let group = |group: Group| {
        let (keep, forget) =
            group.entries.into_iter().map(row).partition(|row: &Row| !row.reasons.is_empty());
        GroupRow { repository: group.repository, platform: group.platform, keep, forget }
    };
    let groups = plan.groups.into_iter().map(group).collect();
    let gc = freed.map(|it| GcRow { before: it.before, free: it.free() });
    Document { schema: 1, record, groups, unnamed: plan.unnamed, gc }
}
