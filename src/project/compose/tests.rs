//! Compose projects and the images that they use, the texts of errors, and files
//! that mean harm. Expectations of the first table are what `docker compose config
//! --images` 2.26.1 prints for the same files.

#![allow(clippy::disallowed_methods, reason = "tests write their projects themselves")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::project::{ComposeOptions, Found, ProjectError, compose, compose_files};

/// A project, what it is run with, and what comes of it.
struct Case {
    name: &'static str,
    /// Paths and contents; the first ones are the project's files.
    files: &'static [(&'static str, &'static str)],
    /// How many of them are named.
    named: usize,
    profiles: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    images: &'static [&'static str],
}

const PLAIN: Case =
    Case { name: "", files: &[], named: 1, profiles: &[], environment: &[], images: &[] };

/// As `docker compose` has it.
const CASES: [Case; 21] = [
    Case {
        name: "images and builds",
        files: &[(
            "compose.yaml",
            "name: shop\nservices:\n  web: {image: 'ex.com/web:1', build: .}\n  db: {image: \
             postgres}\n  job: {build: {context: job}}\n",
        )],
        images: &["ex.com/web:1", "postgres", "shop-job"],
        ..PLAIN
    },
    Case {
        name: "the folder's name is made to fit",
        files: &[("__My App.2/compose.yaml", "services: {web: {build: .}}\n")],
        images: &["myapp2-web"],
        ..PLAIN
    },
    Case {
        name: "a variable names the project",
        files: &[(
            "compose.yaml",
            "name: a\nservices:\n  web: {build: .}\n  x: {image: '$COMPOSE_PROJECT_NAME:1'}\n",
        )],
        environment: &[("COMPOSE_PROJECT_NAME", "b")],
        images: &["b-web", "b:1"],
        ..PLAIN
    },
    Case {
        name: "variables",
        files: &[
            (
                "compose.yaml",
                "services:\n  a: {image: 'a:${TAG}'}\n  b: {image: 'b:$TAG-x'}\n  c: {image: \
                 '${REG:-ex.com}/c:${NONE-1}'}\n  d: {image: 'd${EMPTY:+x}${TAG:+y}${EMPTY+z}'}\n  \
                 e: {image: '${NONE:-${ALSO:-e}}:${OUT?set it}'}\n",
            ),
            (".env", "TAG=\"2\"\nOUT=inner\nEMPTY=\n"),
        ],
        environment: &[("OUT", "outer")],
        images: &["a:2", "b:2-x", "ex.com/c:1", "dyz", "e:outer"],
        ..PLAIN
    },
    Case {
        name: "values of .env",
        files: &[
            (
                "compose.yaml",
                "services:\n  a: {image: 'x:$A'}\n  b: {image: 'x:$B'}\n  c: {image: 'x:$C'}\n  d: \
                 {image: 'x:$D'}\n  e: {image: 'x:$E'}\n",
            ),
            (
                ".env",
                "# comment\nexport A=1 # comment\nB='2#'\nB=\"2.$A\" # comment\nC: 3\nD=${A}.${B:-x}\n\
                 E='a'\n",
            ),
        ],
        images: &["x:1", "x:2.1", "x:3", "x:1.2.1", "x:a"],
        ..PLAIN
    },
    Case {
        name: "profiles off",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: a}\n  b: {image: b, profiles: [dev]}\n  c: {image: c, \
             profiles: [dev, test]}\n",
        )],
        images: &["a"],
        ..PLAIN
    },
    Case {
        name: "a profile on",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: a}\n  b: {image: b, profiles: [dev]}\n  c: {image: c, \
             profiles: [dev, test]}\n",
        )],
        profiles: &["test"],
        images: &["a", "c"],
        ..PLAIN
    },
    Case {
        name: "all profiles",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: a}\n  b: {image: b, profiles: [dev]}\n",
        )],
        profiles: &["*"],
        images: &["a", "b"],
        ..PLAIN
    },
    Case {
        name: "profiles of the environment",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: a}\n  b: {image: b, profiles: [dev]}\n",
        )],
        environment: &[("COMPOSE_PROFILES", "x,dev")],
        images: &["a", "b"],
        ..PLAIN
    },
    Case {
        name: "files over each other",
        files: &[
            (
                "compose.yaml",
                "services:\n  a: {image: 'a:1'}\n  b: {image: b}\n  c: {image: c, build: .}\n  d: \
                 {image: d, profiles: [x]}\n",
            ),
            (
                "more.yaml",
                "services:\n  a: {image: 'a:2'}\n  c: {image: !reset null}\n  d: {profiles: !reset \
                 []}\n  e: {image: e}\n",
            ),
        ],
        named: 2,
        environment: &[("COMPOSE_PROJECT_NAME", "p")],
        images: &["a:2", "b", "p-c", "d", "e"],
        ..PLAIN
    },
    Case {
        name: "a service taken away and one replaced",
        files: &[
            ("compose.yaml", "services:\n  a: {image: a}\n  b: {image: b, profiles: [x]}\n"),
            ("more.yaml", "services:\n  a: !reset null\n  b: !override {image: 'b:2'}\n"),
        ],
        named: 2,
        images: &["b:2"],
        ..PLAIN
    },
    Case {
        name: "documents of one file",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: 'a:1'}\n---\nservices:\n  a: {image: 'a:2'}\n  b: {image: b}\n",
        )],
        images: &["a:2", "b"],
        ..PLAIN
    },
    Case {
        name: "anchors and merge keys",
        files: &[(
            "compose.yaml",
            "x-base: &base {image: base, restart: always}\nx-tag: &tag {profiles: [off]}\nservices:\n  \
             a: {<<: *base}\n  b: {<<: [*base, *tag]}\n  c: {<<: *base, image: c}\n",
        )],
        images: &["base", "c"],
        ..PLAIN
    },
    Case {
        name: "extends",
        files: &[
            (
                "compose.yaml",
                "services:\n  a: {extends: {service: base, file: sub/base.yaml}}\n  b: {extends: a, \
                 image: 'b:1'}\n  c: {extends: {service: b}, build: .}\n  d: {extends: {file: \
                 sub/base.yaml, service: far}}\n",
            ),
            (
                "sub/base.yaml",
                "services:\n  base: {image: 'base:1', build: .}\n  far: {extends: {file: \
                 more/far.yaml, service: far}}\n",
            ),
            ("sub/more/far.yaml", "services: {far: {image: 'far:$X'}}\n"),
        ],
        environment: &[("X", "1")],
        images: &["base:1", "b:1", "far:1"],
        ..PLAIN
    },
    Case {
        name: "include",
        files: &[
            (
                "compose.yaml",
                "include:\n  - one/compose.yaml\n  - path: [two/compose.yaml, two/more.yaml]\n    \
                 env_file: [vars]\n    project_directory: one\nservices: {a: {image: 'a:$TAG'}}\n",
            ),
            (
                "one/compose.yaml",
                "include: [deep/compose.yaml]\nservices: {b: {image: 'b:$TAG'}}\n",
            ),
            ("one/deep/compose.yaml", "services: {c: {image: 'c:$TAG'}, cc: {image: 'c:$DEEP'}}\n"),
            ("one/deep/.env", "DEEP=deep\n"),
            ("one/.env", "TAG=one\n"),
            ("two/compose.yaml", "services: {d: {image: 'd:$TWO'}, e: {build: .}}\n"),
            ("two/more.yaml", "services: {d: {image: 'd:over-$TWO'}}\n"),
            ("vars", "TWO=two\n"),
            (".env", "COMPOSE_PROJECT_NAME=p\n"),
        ],
        images: &["c:one", "c:deep", "b:one", "d:over-two", "p-e", "a:"],
        ..PLAIN
    },
    Case {
        name: "an included file's services are laid over",
        files: &[
            ("compose.yaml", "include: [one/compose.yaml]\nservices: {a: {image: a}}\n"),
            ("more.yaml", "services: {b: {image: 'b:2'}}\n"),
            ("one/compose.yaml", "services: {b: {image: b}}\n"),
        ],
        named: 2,
        images: &["b:2", "a"],
        ..PLAIN
    },
    Case {
        name: "old names",
        files: &[("compose.yaml", "services: {web: {build: .}}\n")],
        environment: &[("COMPOSE_COMPATIBILITY", "true"), ("COMPOSE_PROJECT_NAME", "p")],
        images: &["p_web"],
        ..PLAIN
    },
    Case {
        name: "the later name",
        files: &[
            ("compose.yaml", "name: one\nservices: {web: {build: .}}\n"),
            ("more.yaml", "name: two-${X:-x}\n"),
        ],
        named: 2,
        images: &["two-x-web"],
        ..PLAIN
    },
    Case {
        name: "digests and ports",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: 'localhost:5000/a@sha256:0011223344556677889900112233445566778899001122334455667788990011'}\n  b: {image: \
             'localhost:5000/b:1@sha256:0011223344556677889900112233445566778899001122334455667788990011'}\n",
        )],
        images: &[
            "localhost:5000/a@sha256:0011223344556677889900112233445566778899001122334455667788990011",
            "localhost:5000/b:1@sha256:0011223344556677889900112233445566778899001122334455667788990011",
        ],
        ..PLAIN
    },
    Case {
        name: "extends and profiles",
        files: &[(
            "compose.yaml",
            "services:\n  a: {image: a, profiles: [x]}\n  b: {extends: a, image: b}\n  c: {image: c}\n",
        )],
        images: &["c"],
        ..PLAIN
    },
    Case {
        name: "build taken away",
        files: &[
            ("compose.yaml", "services: {a: {build: ., image: 'a:1'}, b: {build: {context: .}}}\n"),
            ("more.yaml", "services: {b: {build: !reset null, image: 'b:1'}}\n"),
        ],
        named: 2,
        images: &["a:1", "b:1"],
        ..PLAIN
    },
];

/// Writes files into a folder.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn run(folder: &Path, case: &Case) -> Result<Found, ProjectError> {
    let pairs = case.environment.iter();
    let options = ComposeOptions {
        environment: pairs.map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        profiles: case.profiles.iter().map(|&profile| profile.to_owned()).collect(),
        ..ComposeOptions::default()
    };
    let named: Vec<PathBuf> =
        case.files.iter().take(case.named).map(|(path, _)| folder.join(path)).collect();
    compose(&named, &options, &mut std::io::empty())
}

#[test]
fn projects_use_what_compose_says() {
    for case in &CASES {
        let folder = TempDir::new().unwrap();
        write(folder.path(), case.files);
        let found = run(folder.path(), case)
            .map(|found| found.images.into_iter().map(|used| used.image).collect::<Vec<_>>());
        if case.images.contains(&"a:") {
            let message = found.unwrap_err().to_string();
            assert!(message.contains("`a:` is not an image reference"), "{message}");
            continue;
        }
        match found {
            Ok(found) => assert_eq!(found, case.images, "{}", case.name),
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
}

/// What a project of these files gives; the first one is named.
fn project(files: &[(&str, &str)]) -> (TempDir, Result<Found, ProjectError>) {
    let folder = TempDir::new().unwrap();
    write(folder.path(), files);
    let first = folder.path().join(files[0].0);
    let options =
        ComposeOptions { project_name: Some("p".to_owned()), ..ComposeOptions::default() };
    let found = compose(&[first], &options, &mut std::io::empty());
    (folder, found)
}

#[test]
fn errors_name_file_line_and_service() {
    for (text, problem) in [
        ("services:\n  a: {image: [}\n", "compose.yaml, line 2"),
        ("services:\n  a: {image: a}\n  a: {image: b}\n", "compose.yaml, line 3: "),
        ("- a\n", "compose.yaml, line 1: the file: it is no mapping"),
        ("services: [a]\n", "line 1: `services`: it is no mapping"),
        ("services:\n  a: b\n", "line 2: service `a`: it is no mapping"),
        ("services:\n  a: {image: 12}\n", "line 2: service `a`, `image`: it is not a text"),
        ("services:\n  a: {command: x}\n", "service `a`: it has neither `image` nor `build`"),
        ("services:\n  a: {image: ''}\n", "service `a`: it has neither `image` nor `build`"),
        ("services:\n  a:\n    image: A:b\n", "line 3: service `a`: `A:b` is not an image ref"),
        ("services:\n  a: {image: 'a@sha256:1'}\n", "service `a`: `a@sha256:1` is not an image"),
        ("services:\n  a: {image: 'a:${'}\n", "service `a`: a `$` in `a:${` begins no variable"),
        (
            "services:\n  a:\n    image: a:${TAG:?say which}\n",
            "line 3: service `a`: variable `TAG` has to be set: say which",
        ),
        ("services:\n  a: {extends: b}\n", "service `a`: it extends `b`, which is not in "),
        (
            "services:\n  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n",
            "goes round in a circle: `a` in ",
        ),
        ("include: [compose.yaml]\n", "`include`: goes round in a circle: "),
        ("include: [none.yaml]\n", "none.yaml"),
        ("include: [{path: []}]\n", "`include`: it names no file"),
        ("include: [a.yaml]\nservices: {a: {image: b}}\n", "line 2: service `a`: "),
        ("name: No\nservices: {a: {image: b}}\n", "`No` cannot be the name of a project"),
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &[("compose.yaml", text), ("a.yaml", "services: {a: {image: a}}\n")]);
        let file = folder.path().join("compose.yaml");
        let options = ComposeOptions::default();
        let error = compose(&[file], &options, &mut std::io::empty()).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}\n{error}");
        assert!(!error.contains('\n'), "{text}\n{error}");
    }
}

#[test]
fn what_is_elsewhere_is_named_and_the_rest_is_found() {
    let (_folder, found) = project(&[(
        "compose.yaml",
        "include: ['oci://ex.com/project:1']\nservices:\n  a: {image: 'a:$NONE'}\n  b: {extends: \
         {file: 'https://ex.com/x.git', service: b}}\n  c: {provider: {type: cloud}}\n  d:\n    \
         image: 'd${NONE}'\n    volumes: [x:/y, {type: image, source: m, target: /m}]\n  e: \
         {build: {context: ., tags: ['e:1']}}\n  f: {image: d}\n",
    )]);
    let error = found.unwrap_err().to_string();
    assert!(error.contains("`a:` is not an image reference"), "{error}");

    let (folder, found) = project(&[(
        "compose.yaml",
        "include: ['oci://ex.com/project:1']\nservices:\n  b: {extends: {file: \
         'https://ex.com/x.git', service: b}}\n  c: {provider: {type: cloud}}\n  d:\n    image: \
         'd${NONE}'\n    volumes: [x:/y, {type: image, source: m, target: /m}]\n  e: {build: \
         {context: ., tags: ['e:1']}}\n  f: {image: d}\n",
    )]);
    let found = found.unwrap();
    let images: Vec<_> = found
        .images
        .iter()
        .map(|used| (used.image.as_str(), used.by.join(" and "), used.place.line, used.built))
        .collect();
    assert_eq!(
        images,
        [
            ("d", "service `d` and service `f`".to_owned(), 6, false),
            ("m", "service `d`, volume".to_owned(), 7, false),
            ("p-e", "service `e`".to_owned(), 8, true),
            ("e:1", "service `e`".to_owned(), 8, true),
        ]
    );
    let named: Vec<_> = found.not_followed.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(
        named,
        ["`include` of oci://ex.com/project:1", "`extends` of service `b`: https://ex.com/x.git"]
    );
    let file = folder.path().join("compose.yaml");
    let warnings: Vec<_> = found.warnings.iter().map(ToString::to_string).collect();
    let warning = format!("{}, line 6: variable `NONE` is not set, so it is empty", file.display());
    assert_eq!(warnings, [warning]);
}

#[test]
fn usual_files_are_found_here_or_above() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, &[("docker-compose.yml", ""), ("compose.override.yaml", ""), ("a/b/x", "")]);
    let options = ComposeOptions::default();
    let expected = vec![root.join("docker-compose.yml"), root.join("compose.override.yaml")];
    assert_eq!(compose_files(root, &options).unwrap(), expected);
    assert_eq!(compose_files(&root.join("a/b"), &options).unwrap(), expected);
    write(root, &[("a/compose.yml", ""), (".env", "COMPOSE_FILE=x.yaml:y/z.yaml\n")]);
    assert_eq!(compose_files(&root.join("a/b"), &options).unwrap(), [root.join("a/compose.yml")]);
    let expected = vec![root.join("x.yaml"), root.join("y/z.yaml")];
    assert_eq!(compose_files(root, &options).unwrap(), expected);
}

#[test]
fn standard_input_is_a_file() {
    let mut input = "services: {a: {image: a}}".as_bytes();
    let found = compose(&[PathBuf::from("-")], &ComposeOptions::default(), &mut input).unwrap();
    assert_eq!(found.images[0].image, "a");
    let mut input = "services: {a: {image: [a]}}".as_bytes();
    let error = compose(&[PathBuf::from("-")], &ComposeOptions::default(), &mut input);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("standard input, line 1: service `a`"), "{error}");
}

/// The texts for so many numbers, one after the other.
fn all(count: usize, text: &dyn Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().concat()
}

#[test]
fn files_that_mean_harm_are_refused() {
    let bomb = |levels: usize| {
        let first = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
        let level =
            |n: usize| format!("x{n}: &x{n} [{}]\n", vec![format!("*x{}", n - 1); 10].join(", "));
        first + &(1..levels).map(level).collect::<String>() + "services: {a: {image: a}}\n"
    };
    let long = format!("x: &x {}\ny: [{}]\n", "z".repeat(1 << 20), "*x, ".repeat(60));
    let deep = "[".repeat(100_000);
    let blocks = all(200, &|n| format!("{}a:\n", " ".repeat(n)));
    let chain = all(100, &|n| format!("  s{n}: {{extends: s{}}}\n", n + 1));
    let chain = format!("services:\n{chain}  s100: {{image: a}}\n");
    let profiles = vec!["x"; 5000].join(", ");
    let heavy = all(100, &|n| format!("  s{n}: {{extends: base}}\n"));
    let heavy = format!("services:\n  base: {{image: a, profiles: [{profiles}]}}\n{heavy}");
    for text in [&bomb(12), &long, &deep, &blocks, &chain, &heavy, "a: \0", "a: *b", "\u{1}"] {
        let (_folder, found) = project(&[("compose.yaml", text)]);
        let error = found.unwrap_err().to_string();
        assert!(error.len() < 2000, "{error}");
        assert!(error.contains("compose.yaml"), "{error}");
    }
    // Every file includes the next one twice.
    let folder = TempDir::new().unwrap();
    for n in 0..30 {
        let text = format!("include: [f{0}.yaml, f{0}.yaml]\n", n + 1);
        write(folder.path(), &[(&format!("f{n}.yaml"), &text)]);
    }
    write(folder.path(), &[("f30.yaml", "services: {a: {image: a}}\n")]);
    let first = folder.path().join("f0.yaml");
    let error = compose(&[first], &ComposeOptions::default(), &mut std::io::empty());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("more than 1000 files"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "(services:|  [a-c]: |image|extends|include|[{}:,&*<!$\\[\\]\n -]|[a-c]){0,60}",
    ) {
        for mut input in [&bytes[..], text.as_bytes()] {
            let options = ComposeOptions::default();
            if let Err(error) = compose(&[PathBuf::from("-")], &options, &mut input) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
