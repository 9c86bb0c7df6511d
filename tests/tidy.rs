//! The house rules as tests: layers, owners of outside packages, forms of files.
//!
//! Reads the sources as text, so it finds what a person would find and no more:
//! macros that build paths would escape it. `docs/ARCHITECTURE.md` shows the same
//! table of layers. Uses the standard library alone.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]
#![allow(clippy::disallowed_methods, reason = "it reads the repository")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Top-level modules and their level. A module may use those of lower levels.
const LEVELS: [(&str, u8); 19] = [
    ("digest", 0),
    ("size", 0),
    ("varint", 0),
    ("fs", 1),
    ("progress", 1),
    ("codec", 1),
    ("time", 1),
    ("gzip", 2),
    ("layer", 2),
    ("chunk", 2),
    ("pack", 3),
    ("catalog", 3),
    ("image", 3),
    ("engine", 4),
    ("project", 4),
    ("store", 4),
    ("ops", 5),
    // The binary. It uses the library by its outside name, `orlop`.
    ("cli", 6),
    ("main", 7),
];

/// Uses within one level: user, used. None so far.
const SAME_LEVEL: [(&str, &str); 0] = [];

/// Outside packages, as Rust spells them, and the one module that uses each.
const OWNERS: [(&str, &str); 20] = [
    ("blake3", "digest"),
    ("sha2", "digest"),
    ("zstd", "codec"),
    ("flate2", "codec"),
    ("bzip2", "codec"),
    ("lzma_rust2", "codec"),
    ("rusqlite", "catalog"),
    ("clap", "cli"),
    ("indicatif", "cli"),
    ("signal_hook", "cli"),
    ("jiff", "time"),
    ("getrandom", "fs"),
    ("walkdir", "fs"),
    ("crossbeam_channel", "pack"),
    ("tar", "image"),
    ("serde_saphyr", "project"),
    ("hyper", "engine"),
    ("hyper_util", "engine"),
    ("tokio", "engine"),
    ("tokio_rustls", "engine"),
];

/// Outside packages that any module may use.
const ANYWHERE: [&str; 3] = ["serde", "serde_json", "thiserror"];

/// Texts and the only files (or folders) that may hold them.
const ONLY_IN: [(&str, &str); 7] = [
    ("std::fs", "src/fs/"),
    ("std::env", "src/cli/surroundings.rs"),
    ("SystemTime::now", "src/cli/surroundings.rs"),
    ("println!", "src/cli/output.rs"),
    ("print!", "src/cli/output.rs"),
    ("io::stdout", "src/cli/"),
    ("io::stderr", "src/cli/"),
];

/// Breaches that stand for a reason: file, what it holds, the reason. One that
/// is not needed any more fails the test.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("src/main.rs", "std::env", "the binary's arguments enter here")];

/// Files that break a rule still, and which: take them off once they keep it.
const NOT_YET: [(&str, &str); 0] = [];

/// The most lines of a file before its tests.
const LINES_MAX: usize = 500;

/// One source file.
struct Source {
    /// From the root of the repository, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
    }

    /// Whether it need not keep a rule yet.
    fn excused(&self, rule: &str) -> bool {
        NOT_YET.contains(&(self.path.as_str(), rule))
    }

    /// Numbered lines that are neither comments nor tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let lines = self.text.lines().take_while(|line| *line != "#[cfg(test)]");
        let lines = lines.take(if tests { 0 } else { usize::MAX }).zip(1..);
        lines
            .map(|(line, number)| (number, line))
            .filter(|(_, line)| !line.trim().starts_with("//"))
    }
}

/// What is wrong, to be shown together.
#[derive(Default)]
struct Breaches {
    found: Vec<String>,
    excepted: BTreeSet<(String, String)>,
}

impl Breaches {
    fn add(&mut self, path: &str, line: usize, what: &str, why: &str) {
        if EXCEPTIONS.iter().any(|(file, text, _)| *file == path && *text == what) {
            self.excepted.insert((path.to_owned(), what.to_owned()));
        } else {
            self.found.push(format!("{path}:{line}: `{what}`: {why}"));
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.found.is_empty(), "\n{}\n", self.found.join("\n"));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust sources below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if Path::new(&path).extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.push(Source { path, text });
            }
        }
    }
    found
}

/// The words that follow `before` in a line, where a word of its own begins.
fn after<'a>(line: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(before).filter_map(move |(at, _)| {
        let whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
        let rest = &line[at + before.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        // `{` and `*` stand for themselves.
        whole.then(|| if end == 0 { &rest[..rest.len().min(1)] } else { &rest[..end] })
    })
}

fn level(module: &str) -> Option<u8> {
    LEVELS.iter().find(|(name, _)| *name == module).map(|(_, level)| *level)
}

#[test]
fn modules_use_lower_ones_only() {
    let mut breaches = Breaches::default();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources("src") {
        let user = source.module();
        let Some(own) = level(user).or((user == "lib").then_some(u8::MAX)) else {
            breaches.add(&source.path, 1, user, "this module stands in no table of tests/tidy.rs");
            continue;
        };
        for (number, line) in source.code() {
            for used in after(line, "crate::").filter(|used| *used != user) {
                uses.entry(user.to_owned()).or_default().insert(used.to_owned());
                let allowed = level(used).is_some_and(|level| level < own)
                    || SAME_LEVEL.contains(&(user, used));
                if !allowed {
                    breaches.add(&source.path, number, used, "not of a lower level");
                }
            }
            if after(line, "orlop::").next().is_some() && user != "cli" {
                breaches.add(&source.path, number, "orlop::", "the library names itself `crate`");
            }
            for text in ["crate::*", "crate::{", "super::super"] {
                if line.contains(text) {
                    breaches.add(&source.path, number, text, "hides who uses whom");
                }
            }
        }
    }
    // The table forbids cycles as long as `SAME_LEVEL` has none.
    for module in uses.keys() {
        if reaches(&uses, module, module, &mut BTreeSet::new()) {
            breaches.add("src", 0, module, "this module uses itself through others");
        }
    }
    breaches.none();
}

fn reaches(
    uses: &BTreeMap<String, BTreeSet<String>>,
    from: &str,
    to: &str,
    seen: &mut BTreeSet<String>,
) -> bool {
    uses.get(from)
        .into_iter()
        .flatten()
        .any(|next| next == to || (seen.insert(next.clone()) && reaches(uses, next, to, seen)))
}

#[test]
fn the_command_uses_the_facade() {
    let facade = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let open: Vec<&str> = facade
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut breaches = Breaches::default();
    for source in sources("src").iter().filter(|source| source.module() == "cli") {
        for (number, line) in source.code() {
            for used in after(line, "orlop::").filter(|used| !open.contains(used)) {
                breaches.add(&source.path, number, used, "not in the facade");
            }
        }
    }
    breaches.none();
}

#[test]
fn outside_packages_have_one_owner() {
    let mut breaches = Breaches::default();
    let sources = sources("src");
    let modules: BTreeSet<&str> = sources.iter().map(Source::module).collect();
    for source in &sources {
        for (number, line) in source.code() {
            for (package, owner) in OWNERS {
                // A module of the same name below our own is not the package.
                let used = after(line, package).any(|rest| rest == ":" || rest == ";");
                if used && source.module() != owner && !source.excused(package) {
                    let why = format!("belongs to `{owner}` alone");
                    breaches.add(&source.path, number, package, &why);
                }
            }
        }
    }
    for (package, _) in dependencies("[dependencies]") {
        let package = package.replace('-', "_");
        let known = OWNERS.iter().any(|(name, owner)| *name == package && modules.contains(owner))
            || ANYWHERE.contains(&package.as_str());
        if !known {
            breaches.add("Cargo.toml", 0, &package, "has no owner in tests/tidy.rs");
        }
    }
    breaches.none();
}

#[test]
fn the_world_outside_has_one_owner() {
    let mut breaches = Breaches::default();
    for source in sources("src") {
        for (number, line) in source.code() {
            for (text, place) in ONLY_IN {
                if after(line, text).next().is_some() && !source.path.starts_with(place) {
                    breaches.add(&source.path, number, text, &format!("only in {place}"));
                }
            }
        }
    }
    for (file, text, _) in EXCEPTIONS {
        if !breaches.excepted.contains(&(file.to_owned(), text.to_owned())) {
            breaches.found.push(format!("{file}: the exception for `{text}` is not needed"));
        }
    }
    breaches.none();
}

#[test]
fn files_are_short_plain_and_say_what_they_are() {
    let mut breaches = Breaches::default();
    let all = sources("src").into_iter().chain(sources("tests")).chain(sources("benches"));
    for source in all {
        if !source.text.starts_with("//! ") {
            breaches.add(&source.path, 1, "//!", "a file begins by saying what it is");
        }
        let lines = source.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        // Golden vectors are long, and tests are no part of a module's length.
        let tests = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
        if lines > LINES_MAX && !tests && !source.excused("lines") {
            breaches.add(&source.path, lines, "lines", &format!("more than {LINES_MAX}"));
        }
        if source.excused("ascii") {
            continue;
        }
        for (line, number) in source.text.lines().zip(1..) {
            if let Some(odd) = line.chars().find(|c| !c.is_ascii() || c.is_control()) {
                let odd = odd.escape_unicode().to_string();
                breaches.add(&source.path, number, &odd, "sources are printable ASCII");
            }
        }
    }
    breaches.none();
}

#[test]
fn no_test_file_is_left_out() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "main") {
            assert!(main.contains(&format!("mod {name};")), "tests/it/main.rs leaves out {name}");
        }
    }
}

/// Lines of a table of Cargo.toml: the package and the rest.
fn dependencies(table: &str) -> Vec<(String, String)> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != table).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(package, rest)| (package.to_owned(), rest.to_owned())).collect()
}

#[test]
fn dependencies_say_what_for() {
    for table in ["[dependencies]", "[dev-dependencies]"] {
        let found = dependencies(table);
        assert!(!found.is_empty(), "{table}");
        for (package, rest) in found {
            let comment = rest.split_once(" # ").map_or("", |(_, comment)| comment);
            assert!(comment.len() > 3, "Cargo.toml: `{package}` has no comment saying what for");
        }
    }
}
