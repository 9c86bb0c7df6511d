//! The README and tests/cmd, executed as transcripts.
//!
//! A block of ```` ```console ```` holds commands after `$ ` (and `> ` where one goes on), each
//! followed by all that it prints and by `? CODE` where it fails. Each document has a home of its
//! own, with the sample archives in it, and its commands run in it one after the other. Sizes and
//! ages are not compared, `[..]` stands for any text in a line and a line `...` for any lines; to
//! take over what is printed now, run with `SNAPSHOTS=overwrite`. A block that begins with ```` ```console TOOL ````
//! is left out, aloud, where that tool is not there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use snapbox::{Assert, Data};

use super::engines::with_docker;
use super::support::{Scratch, hello, repository};

/// A folder that a person could sit in, and the tools there.
struct Desk {
    home: Scratch,
    docker: bool,
    /// Where Docker is, for `orlop`.
    host: String,
}

impl Desk {
    /// A desk with `orlop`, and with `docker` where words that call it are given.
    fn new(docker: Option<&str>) -> Self {
        let home = Scratch::new();
        std::fs::create_dir_all(home.path("tests/data/hello")).unwrap();
        std::fs::create_dir_all(home.path("bin")).unwrap();
        for version in [1, 2] {
            let name = format!("hello-{version}.tar");
            std::fs::copy(hello(version), home.path(Path::new("tests/data/hello").join(&name)))
                .unwrap();
            std::fs::copy(hello(version), home.path(&name)).unwrap();
        }
        let plain = std::fs::read(hello(2)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        std::fs::write(home.path("hello-2.tar.gz"), gzip.finish().unwrap()).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        std::fs::write(home.path("hello-2.tar.zst"), zstd).unwrap();
        if let Some(words) = docker {
            std::fs::write(home.path("bin/docker"), format!("exec {words} \"$@\"\n")).unwrap();
        }
        let host = docker.and_then(|words| words.split_once(" --host ")).map(|(_, host)| host);
        let host = host.unwrap_or("unix:///nonexistent/docker.sock").to_owned();
        Self { home, docker: docker.is_some(), host }
    }

    fn bash(&self, script: &str) -> Command {
        let orlop = Path::new(env!("CARGO_BIN_EXE_orlop")).parent().unwrap().display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.env_clear()
            .env("HOME", self.home.path(""))
            .env("PATH", format!("{orlop}:{path}"))
            .env("DOCKER_HOST", &self.host)
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .current_dir(self.home.path(""))
            .stdin(Stdio::null())
            .arg("-c")
            .arg(format!("exec 2>&1; docker() {{ bash bin/docker \"$@\"; }}\n{script}"));
        bash
    }

    fn has(&self, tool: &str) -> bool {
        let there = match tool {
            "" => return true,
            "docker" => self.docker,
            tool => self.bash(&format!("command -v {tool}")).output().unwrap().status.success(),
        };
        if !there {
            // Not `eprintln!`, which is kept back when nothing fails.
            drop(writeln!(std::io::stderr(), "skipped: a transcript that needs {tool}"));
        }
        there
    }

    /// What a command prints, and its exit code.
    fn run(&self, command: &str) -> String {
        let output = self.bash(command).output().unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let home = self.home.path("");
        let text = text.replace(home.to_str().unwrap().trim_end_matches('/'), "HOME");
        match output.status.code() {
            Some(0) => text,
            code => format!("{text}? {}\n", code.unwrap_or(-1)),
        }
    }

    /// The document, with what its commands print now where that is not what it says.
    fn replay(&self, document: &str) -> String {
        let mut result = String::new();
        let mut lines = document.lines();
        while let Some(line) = lines.next() {
            writeln!(result, "{line}").unwrap();
            let Some(tool) = line.strip_prefix("```console") else { continue };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let there = self.has(tool.trim());
            let mut typed = block.into_iter().peekable();
            while let Some(line) = typed.next() {
                writeln!(result, "{line}").unwrap();
                let Some(command) = line.strip_prefix("$ ").filter(|_| there) else { continue };
                let mut command = command.to_owned();
                while let Some(more) = typed.next_if(|line| line.starts_with("> ")) {
                    writeln!(result, "{more}").unwrap();
                    command = format!("{command}\n{}", &more[2..]);
                }
                let mut expected = String::new();
                while let Some(line) = typed.next_if(|line| !line.starts_with("$ ")) {
                    writeln!(expected, "{line}").unwrap();
                }
                let printed = self.run(&command);
                result.push_str(if same(&expected, &printed) { &expected } else { &printed });
            }
            result.push_str("```\n");
        }
        result
    }
}

/// Whether that was printed, but for sizes, ages and what wildcards stand for.
fn same(expected: &str, printed: &str) -> bool {
    let assert = Assert::new().normalize_paths(false);
    assert.try_eq(None, loose(printed).into(), loose(expected).into()).is_ok()
}

/// Sizes and ages as placeholders, in lines that have any one space between words: what a
/// transcript shows was true once, but need not be so to the byte.
fn loose(text: &str) -> String {
    let mut result = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut shown = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let number = words[at].parse::<f64>().is_ok();
            let next = *words.get(at + 1).unwrap_or(&"");
            let (word, count) = if number && words.get(at + 2) == Some(&"ago") {
                ("AGO", 3)
            } else if number && ["B", "kB", "MB", "GB"].contains(&next.trim_end_matches(',')) {
                ("SIZE", 2)
            } else if words[at] == "just" && next == "now" {
                ("AGO", 2)
            } else {
                (words[at], 1)
            };
            shown.push(word);
            at += count;
        }
        let figures = shown.len() < words.len() || line.starts_with("REPOSITORY");
        result.push_str(if figures { shown.join(" ") } else { line.to_owned() }.as_str());
        result.push('\n');
    }
    result
}

/// Replays a document of the repository.
fn check(path: &Path, docker: Option<&str>) {
    let document = std::fs::read_to_string(path).unwrap();
    let replayed = Desk::new(docker).replay(&document);
    let assert = Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    assert.normalize_paths(false).eq(replayed, Data::read_from(path, None).raw());
}

#[test]
fn readme() {
    check(&repository("README.md"), None);
}

#[test]
fn readme_with_docker() {
    with_docker(|words| check(&repository("README.md"), Some(words)));
}

#[test]
fn transcripts() {
    for entry in std::fs::read_dir(repository("tests/cmd")).unwrap() {
        check(&entry.unwrap().path(), None);
    }
}
