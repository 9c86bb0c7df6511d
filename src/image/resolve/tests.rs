//! Archives that other tools wrote, hand-made ones and hostile ones, against a
//! table of what each gives; hand-made layouts for what no fixture has; and
//! arbitrary documents.
//!
//! The fixtures are in a folder beside the repository, skipped where it is
//! absent.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::image::compression::{Compression, sniff};
use crate::image::contents::{FoundConfig, FoundManifest, ManifestKind};
use crate::image::manifest::Descriptor;
use crate::image::members::{MemberKind, Members};
use crate::image::small_bodies::SmallBodies;
use crate::image::source::Seekable;
use crate::image::{Reference, make_manifest_of, media_type};

/// Members, and the body of each.
struct Input {
    members: Vec<Member>,
    bodies: Vec<Vec<u8>>,
}

impl Input {
    fn of_tar(tar: &[u8]) -> Result<Self, Error> {
        let mut reader = Members::new(Seekable::new(io::Cursor::new(tar)).unwrap());
        let (mut members, mut bodies) = (Vec::new(), Vec::new());
        while let Some(member) = reader.next_member()? {
            bodies.push(reader.read_body(u64::MAX)?);
            members.push(member);
        }
        Ok(Self { members, bodies })
    }

    fn of_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let member = |(index, (path, body)): (usize, (&String, &Vec<u8>))| Member {
            index,
            path: path.clone(),
            kind: MemberKind::Regular,
            size: body.len() as u64,
            offset: 0,
        };
        let members = files.iter().enumerate().map(member).collect();
        Self { members, bodies: files.values().cloned().collect() }
    }

    /// Fetches what is wanted and no more; what a stream keeps must do as well.
    fn resolve(&self) -> Result<Contents, Error> {
        let mut fetched: HashMap<usize, &[u8]> = HashMap::new();
        let result = loop {
            match wanted(&self.members, &|index| fetched.get(&index).copied()) {
                Err(error) => break Err(error),
                Ok(wanted) if wanted.is_empty() => {
                    break resolve(&self.members, &|index| fetched.get(&index).copied());
                }
                Ok(wanted) => {
                    for index in wanted {
                        let earlier = fetched.insert(index, &self.bodies[index]);
                        assert_eq!(earlier, None, "asked twice for {index}");
                    }
                }
            }
        };
        let mut kept = SmallBodies::new();
        for (member, body) in self.members.iter().zip(&self.bodies) {
            if kept.wants(member, &body[..body.len().min(512)]) {
                kept.keep(member, body.clone());
            }
        }
        let streamed = resolve(&self.members, &|index| kept.get(index));
        match (&result, streamed) {
            (Ok(result), streamed) => assert_eq!(*result, streamed.unwrap()),
            (Err(error), streamed) => {
                assert_eq!(message(error), message(&streamed.unwrap_err()));
            }
        }
        result
    }

    fn plain(&self, member: usize) -> Vec<u8> {
        let bytes = &self.bodies[member];
        let mut plain = Vec::new();
        match sniff(bytes) {
            Some(Compression::Gzip) => {
                drop(flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain));
            }
            Some(Compression::Zstd) => {
                drop(zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut plain));
            }
            _ => plain.clone_from(bytes),
        }
        plain
    }
}

/// The error's text with its causes.
fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What the table says of a fixture.
fn summary(input: &Input) -> String {
    let contents = match input.resolve() {
        Ok(contents) => contents,
        Err(error) => return format!("  error: {}\n", message(&error)),
    };
    let mut text = format!("  {}\n", contents.dialect);
    for warning in &contents.warnings {
        writeln!(text, "  warning: {warning}").unwrap();
    }
    for root in &contents.roots {
        let names: Vec<String> = root.references.iter().map(Reference::familiar).collect();
        let digest = root.descriptor.as_ref().map(|d| format!("{} ", d.digest.short()));
        let names = if names.is_empty() { "unnamed".to_owned() } else { names.join(" ") };
        write!(text, "  root {}{names}", digest.unwrap_or_default()).unwrap();
        for (count, what) in [
            (root.indexes.len(), "indexes"),
            (root.not_shipped.len(), "not shipped"),
            (root.referrers.len(), "referrers"),
            (root.ancestors.len(), "ancestors"),
        ] {
            if count > 0 {
                write!(text, ", {count} {what}").unwrap();
            }
        }
        text.push('\n');
        for manifest in &root.manifests {
            text += &line(input, manifest);
        }
        for manifest in &root.referrers {
            text += &line(input, manifest).replacen("  ", "  refers: ", 1);
        }
    }
    text
}

/// A line for a manifest: its config, platform and layers.
fn line(input: &Input, manifest: &FoundManifest) -> String {
    let config = match &manifest.config {
        FoundConfig::Given { document, .. } => document.digest.short(),
        FoundConfig::Blob(_) => "elsewhere".to_owned(),
        FoundConfig::V1(jsons) => {
            let layers = manifest.layers.iter().map(|layer| layer.member.unwrap());
            let diff_ids: Vec<Digest> =
                layers.map(|layer| Digest::of(&input.plain(layer))).collect();
            Digest::of(&make_v1_config(jsons, &diff_ids).unwrap()).short()
        }
    };
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        layers.push(match (layer.member, layer.diff_id) {
            (None, _) if layer.foreign => "foreign",
            (None, _) if layer.inline_body().is_some() => "inline",
            (None, _) => "absent",
            (Some(_), None) => "blob",
            (Some(at), Some(diff_id)) => {
                let plain = input.plain(at);
                let given = layer.descriptor.as_ref().map(|descriptor| descriptor.digest);
                if diff_id != Digest::of(&plain) {
                    "WRONG"
                } else if given.is_some_and(|given| given != Digest::of(&input.bodies[at])) {
                    "DAMAGED"
                } else {
                    "ok"
                }
            }
        });
    }
    let platform = &manifest.platform;
    let variant = platform.variant.as_ref().map(|variant| format!("/{variant}"));
    format!(
        "    {:?} {config} {}/{}{} [{}]\n",
        manifest.kind,
        platform.os,
        platform.architecture,
        variant.unwrap_or_default(),
        layers.join(" "),
    )
}

fn fixtures() -> Option<PathBuf> {
    let shared = env::var_os("ORLOP_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("fixtures");
    if folder.join("INDEX.md").exists() {
        return Some(folder);
    }
    println!("skipped: no fixtures in {}", folder.display());
    None
}

/// A fixture: a folder, or an archive; `None` if it is in a format that no
/// dependency of ours reads.
#[expect(clippy::disallowed_methods, reason = "tests read their fixtures themselves")]
fn read_fixture(path: &Path) -> Option<Result<Input, Error>> {
    if path.is_dir() {
        let mut files = BTreeMap::new();
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap().path();
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let name = entry.strip_prefix(path).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read(entry).unwrap());
                }
            }
        }
        return Some(Ok(Input::of_files(&files)));
    }
    let bytes = std::fs::read(path).unwrap();
    let mut plain = Vec::new();
    match sniff(&bytes) {
        None => plain = bytes,
        Some(Compression::Gzip) => {
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        }
        Some(Compression::Zstd) => {
            zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut plain).unwrap();
        }
        Some(_) => return None,
    }
    Some(Input::of_tar(&plain))
}

/// Archives and layouts of the folder of fixtures, by name.
#[expect(clippy::disallowed_methods, reason = "tests read their fixtures themselves")]
fn all_fixtures() -> BTreeMap<String, PathBuf> {
    let mut all = BTreeMap::new();
    let Some(shared) = fixtures() else { return all };
    let entries = |path: &Path| {
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path())
    };
    for source in entries(&shared).filter(|path| path.is_dir()) {
        let archives = entries(&source).filter(|path| path.is_file());
        for path in archives.chain(entries(&source.join("dirs"))) {
            let name = path.strip_prefix(&shared).unwrap().to_str().unwrap().to_owned();
            all.insert(name, path);
        }
    }
    all
}

#[test]
fn fixtures_give_what_the_table_says() {
    let all = all_fixtures();
    if all.is_empty() {
        return;
    }
    let mut table = String::new();
    for (name, path) in all {
        match read_fixture(&path) {
            None => {}
            Some(Ok(input)) => {
                let summary = summary(&input);
                write!(table, "{name}\n{summary}").unwrap();
            }
            Some(Err(error)) => {
                writeln!(table, "{name}\n  error: {}", message(&error)).unwrap();
            }
        }
    }
    let expected = include_str!("fixtures.txt");
    if table != expected {
        println!("{table}");
    }
    for (found, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(table.len(), expected.len());
}

/// A layout that is built blob by blob.
#[derive(Default)]
struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    listed: Vec<Value>,
}

impl Layout {
    fn new() -> Self {
        let mut layout = Self::default();
        layout.file(LAYOUT, br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        self.files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Adds a blob; gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.file(&reader::blob_path(Digest::of(bytes)), bytes);
        descriptor(media_type, bytes)
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Value {
        let mut document = document.clone();
        if let Value::Object(map) = &mut document
            && ["config", "layers", "manifests"].iter().any(|key| map.contains_key(*key))
        {
            map.entry("schemaVersion").or_insert(2.into());
        }
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// The manifest of an image whose plain layers are these texts.
    fn image(&mut self, layers: &[&str]) -> Value {
        let diff_ids: Vec<Digest> =
            layers.iter().map(|layer| Digest::of(layer.as_bytes())).collect();
        let config = json!({"os": "linux", "architecture": "arm", "variant": "v7",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.document(media_type::OCI_CONFIG, &config);
        let layer = |layer: &&str| self.blob(media_type::OCI_LAYER, layer.as_bytes());
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        self.document(media_type::OCI_MANIFEST, &json!({"config": config, "layers": layers}))
    }

    fn index(&mut self, listed: &[&Value]) -> Value {
        self.document(media_type::OCI_INDEX, &json!({"manifests": listed}))
    }

    /// An artifact about something.
    fn about(&mut self, subject: &Value, text: &str) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob("text/plain", text.as_bytes());
        let manifest = json!({"config": config, "layers": [layer], "subject": subject});
        self.document(media_type::OCI_MANIFEST, &manifest)
    }

    fn list(&mut self, descriptor: &Value) {
        self.listed.push(descriptor.clone());
    }

    fn list_as(&mut self, descriptor: &Value, key: &str, name: &str) {
        self.list(&with(descriptor, json!({"annotations": {key: name}})));
    }

    fn input(&self) -> Input {
        let mut files = self.files.clone();
        let index = json!({"schemaVersion": 2, "manifests": self.listed}).to_string();
        files.entry(INDEX.to_owned()).or_insert(index.into_bytes());
        Input::of_files(&files)
    }

    fn resolve(&self) -> Contents {
        self.input().resolve().unwrap()
    }

    fn error(&self) -> String {
        message(&self.input().resolve().unwrap_err())
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// An object with further members.
fn with(object: &Value, more: Value) -> Value {
    let mut object = object.clone();
    let Value::Object(more) = more else { panic!("no object") };
    object.as_object_mut().unwrap().extend(more);
    object
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn path(descriptor: &Value) -> String {
    reader::blob_path(digest(descriptor))
}

fn names(root: &Root) -> Vec<String> {
    root.references.iter().map(Reference::familiar).collect()
}

fn kinds(manifests: &[FoundManifest]) -> Vec<ManifestKind> {
    manifests.iter().map(|manifest| manifest.kind).collect()
}

#[test]
fn names_of_one_digest_are_merged_and_bare_tags_are_none() {
    let mut layout = Layout::new();
    let (one, two) = (layout.image(&["1"]), layout.image(&["2"]));
    layout.list_as(&one, oci_full_name(), "docker.io/library/app:1");
    layout.list_as(&two, "org.opencontainers.image.ref.name", "1.2");
    layout.list_as(&one, "org.opencontainers.image.ref.name", "ex.com/app:2");
    layout.list_as(&one, "org.opencontainers.image.ref.name", "latest");
    let both = json!({oci_full_name(): "bad@name", "org.opencontainers.image.ref.name": "x:1"});
    layout.list(&with(&one, json!({"annotations": both})));
    let contents = layout.resolve();
    assert_eq!(names(&contents.roots[0]), ["app:1", "ex.com/app:2", "x:1"]);
    assert_eq!(names(&contents.roots[1]), [""; 0]);
    assert_eq!(contents.warnings, [Warning::NoRepository { name: "1.2".into() }]);
    assert_eq!(contents.dialect, Dialect::OciLayout);
    let platform = &contents.roots[0].manifests[0].platform;
    assert_eq!((platform.architecture.as_str(), platform.variant.as_deref()), ("arm", Some("v7")));
}

fn oci_full_name() -> &'static str {
    "io.containerd.image.name"
}

#[test]
fn indexes_nest_to_a_depth() {
    let mut layout = Layout::new();
    let mut listed = layout.image(&["l"]);
    for _ in 0..8 {
        listed = layout.index(&[&listed]);
    }
    layout.list(&listed);
    let contents = layout.resolve();
    assert_eq!((contents.roots[0].indexes.len(), contents.roots[0].manifests.len()), (8, 1));
    let deeper = layout.index(&[&listed]);
    layout.list(&deeper);
    let text = layout.error();
    assert!(text.starts_with("the depth of index `blobs/sha256/"), "{text}");
    assert!(text.ends_with("expected at most 8, found 9"), "{text}");
}

#[test]
fn what_is_listed_and_absent_is_noted() {
    let mut layout = Layout::new();
    let (here, gone) = (layout.image(&["1"]), layout.image(&["2"]));
    let index = layout.index(&[&gone, &here, &gone]);
    layout.files.remove(&path(&gone));
    layout.files.remove(&reader::blob_path(Digest::of(b"1")));
    layout.list(&index);
    layout.list(&gone);
    let contents = layout.resolve();
    let [root] = contents.roots.as_slice() else { panic!("{contents:?}") };
    assert_eq!(root.not_shipped.len(), 1);
    assert_eq!(root.not_shipped[0].digest, digest(&gone));
    assert_eq!(root.manifests[0].layers[0].member, None);
    assert_eq!(root.manifests[0].layers[0].diff_id, Some(Digest::of(b"1")));
    assert_eq!(contents.warnings, [Warning::RootAbsent { digest: digest(&gone) }]);
    layout.listed = vec![gone];
    let text = "`index.json` lists 1 images, and none of them is in the archive";
    assert_eq!(layout.error(), text);
}

#[test]
fn a_config_may_be_elsewhere() {
    let mut layout = Layout::new();
    let image = layout.image(&["1"]);
    let manifest: Value = serde_json::from_slice(&layout.files[&path(&image)]).unwrap();
    layout.files.remove(&path(&manifest["config"]));
    layout.list(&image);
    let contents = layout.resolve();
    let found = &contents.roots[0].manifests[0];
    assert!(matches!(&found.config, FoundConfig::Blob(blob) if blob.member.is_none()));
    assert_eq!((found.kind, found.layers[0].diff_id), (ManifestKind::Image, None));
    assert_eq!(contents.warnings, []);
}

#[test]
fn referrers_go_to_their_subject() {
    let mut layout = Layout::new();
    let image = layout.image(&["1"]);
    let index = layout.index(&[&image]);
    let signature = layout.about(&image, "signature");
    let of_index = layout.about(&index, "statement");
    let chained = layout.about(&signature, "about the signature");
    let named = layout.about(&image, "named");
    let stray = layout.about(&descriptor(media_type::OCI_MANIFEST, b"gone"), "stray");
    layout.list(&chained);
    layout.list(&signature);
    layout.list_as(&index, oci_full_name(), "ex.com/app:1");
    layout.list(&of_index);
    layout.list_as(&named, oci_full_name(), "ex.com/sig:1");
    layout.list(&stray);
    let contents = layout.resolve();
    let [app, sig, other] = contents.roots.as_slice() else { panic!("{contents:?}") };
    let found: Vec<Digest> =
        app.referrers.iter().map(|m| m.document.as_ref().unwrap().digest).collect();
    assert_eq!(found, [&of_index, &signature, &named, &chained].map(digest));
    assert_eq!(names(sig), ["ex.com/sig:1"]);
    assert_eq!(other.descriptor.as_ref().unwrap().digest, digest(&stray));
    assert_eq!((sig.referrers.len(), other.referrers.len()), (0, 0));
}

#[test]
fn kinds_are_told_apart() {
    use ManifestKind::{Artifact, Attestation, Image};

    let mut layout = Layout::new();
    let image = layout.image(&["1"]);
    let unknown = json!({"platform": {"os": "unknown", "architecture": "unknown"}});
    let says = json!({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}});
    let one = with(&layout.image(&["a"]), unknown);
    let two = with(&layout.image(&["b"]), says);
    let config = layout.document(media_type::OCI_CONFIG, &json!({"rootfs": {}}));
    let typed = json!({"artifactType": "x/y", "config": config, "layers": []});
    let typed = layout.document(media_type::OCI_MANIFEST, &typed);
    let odd = layout.blob("application/vnd.dev.cosign.simplesigning.v1+json", b"{}");
    let signature = json!({"config": config, "layers": [odd]});
    let signature = layout.document(media_type::OCI_MANIFEST, &signature);
    let index = layout.index(&[&image, &one, &two, &typed, &signature]);
    layout.list(&index);
    let contents = layout.resolve();
    let found = &contents.roots[0].manifests;
    assert_eq!(kinds(found), [Image, Attestation, Attestation, Artifact, Artifact]);
    assert_eq!(found[1].layers[0].diff_id, None);
    assert_eq!(contents.warnings, []);
}

#[test]
fn media_types_may_be_missing_but_not_contradict() {
    let mut layout = Layout::new();
    let image = with(&layout.image(&["1"]), json!({"mediaType": ""}));
    let index = with(&layout.index(&[&image]), json!({"mediaType": ""}));
    layout.list(&index);
    let root = &layout.resolve().roots[0];
    assert_eq!(root.indexes[0].media_type, media_type::OCI_INDEX);
    let manifest = root.manifests[0].document.as_ref().unwrap();
    assert_eq!(manifest.media_type, media_type::OCI_MANIFEST);
    let docker = json!({"mediaType": media_type::DOCKER_LIST, "manifests": []});
    let docker = layout.document("", &docker);
    layout.listed = vec![docker];
    assert_eq!(layout.resolve().roots[0].indexes[0].media_type, media_type::DOCKER_LIST);
    let both = json!({"manifests": [], "layers": []});
    let lies = json!({"mediaType": media_type::OCI_INDEX, "config": {}, "layers": []});
    for (media_type, document) in [
        ("", &both),
        (media_type::OCI_INDEX, &both),
        (media_type::OCI_MANIFEST, &both),
        (media_type::OCI_MANIFEST, &lies),
    ] {
        let ambiguous = layout.document(media_type, document);
        layout.listed = vec![ambiguous.clone()];
        let text = format!(
            "manifest `{}` is ambiguous: it is an image index and an image manifest",
            path(&ambiguous)
        );
        assert_eq!(layout.error(), text);
    }
}

#[test]
fn inline_data_stands_in_for_a_blob() {
    let mut layout = Layout::new();
    let inline =
        |bytes: &[u8], data: &str| with(&descriptor("text/plain", bytes), json!({"data": data}));
    let manifest = |config: Value, layer: Value| json!({"config": config, "layers": [layer]});
    let good = manifest(inline(b"{}", "e30="), inline(b"fo", "Zm8="));
    let good = layout.document(media_type::OCI_MANIFEST, &good);
    layout.list(&good);
    let contents = layout.resolve();
    let found = &contents.roots[0].manifests[0];
    let FoundConfig::Given { document, .. } = &found.config else { panic!("{found:?}") };
    assert_eq!(document.bytes, b"{}");
    assert_eq!(found.layers[0].inline_body().as_deref(), Some(&b"fo"[..]));
    for (layer, text) in [
        (inline(b"fo", "Zm9="), "the data that a descriptor brings for sha256:"),
        (inline(b"fo", "Zm9v"), "has the wrong length: expected 2 bytes, found 3"),
        (inline(b"no", "Zm8="), "does not match its digest"),
    ] {
        let bad =
            layout.document(media_type::OCI_MANIFEST, &manifest(inline(b"{}", "e30="), layer));
        layout.listed = vec![bad];
        assert!(layout.error().contains(text), "{}", layout.error());
    }
}

#[test]
fn broken_layouts_are_refused_by_name() {
    let mut layout = Layout::new();
    let image = layout.image(&["1"]);
    layout.list(&image);
    layout.file(LAYOUT, br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert_eq!(layout.error(), "`oci-layout` has the version `2.0.0`: expected 1.0");
    layout.file(LAYOUT, b"{}");
    assert!(layout.error().starts_with("layout mark `oci-layout` is not valid: missing field"));
    layout.files.remove(LAYOUT);
    assert_eq!(layout.resolve().roots.len(), 1);
    let only =
        BTreeMap::from([(LAYOUT.to_owned(), b"{\"imageLayoutVersion\":\"1.0.3\"}".to_vec())]);
    let error = Input::of_files(&only).resolve().unwrap_err();
    assert_eq!(error.to_string(), "index `index.json` is not in the archive");
    let sha512 =
        json!({"mediaType": "", "digest": format!("sha512:{}", "0".repeat(128)), "size": 1});
    layout.listed = vec![sha512];
    let text = layout.error();
    assert!(text.starts_with("index `index.json` is not valid: `sha512:0000"), "{text}");
    assert!(text.contains("is not a sha256 digest"), "{text}");
    layout.listed = vec![image.clone()];
    layout.file(&path(&image), b"{\"x\":1}");
    let text = format!("`{}` has the wrong length: expected ", path(&image));
    assert!(layout.error().starts_with(&text), "{}", layout.error());
    let size = image["size"].as_u64().unwrap();
    layout.file(&path(&image), &vec![b' '; usize::try_from(size).unwrap()]);
    let text = format!("`{}` does not match its digest: expected ", path(&image));
    assert!(layout.error().starts_with(&text), "{}", layout.error());
}

#[test]
fn counts_that_disagree_leave_layers_without_diff_ids() {
    let mut layout = Layout::new();
    let config = json!({"rootfs": {"diff_ids": [Digest::of(b"1"), Digest::of(b"2")]}});
    let config = layout.document(media_type::OCI_CONFIG, &config);
    let layer = layout.blob(media_type::OCI_LAYER, b"1");
    let manifest = json!({"config": config, "layers": [layer]});
    let manifest = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.list(&manifest);
    let contents = layout.resolve();
    assert_eq!(contents.roots[0].manifests[0].layers[0].diff_id, None);
    let expected = Warning::DiffIdCount { digest: digest(&manifest), diff_ids: 2, layers: 1 };
    assert_eq!(contents.warnings, [expected]);
}

#[test]
fn one_document_below_many_roots_has_a_weight() {
    let mut layout = Layout::new();
    let gone: Vec<Value> =
        (0..1000_u32).map(|at| descriptor(media_type::OCI_MANIFEST, &at.to_le_bytes())).collect();
    let shared = layout.index(&gone.iter().collect::<Vec<_>>());
    for at in 0..1000 {
        let root = json!({"manifests": [shared], "x": at});
        let root = layout.document(media_type::OCI_INDEX, &root);
        layout.list(&root);
    }
    let text = layout.error();
    assert!(text.starts_with("the weight of all that is below the images is too large"), "{text}");
}

/// A hybrid of the images with these layers; the list gives them `tags`.
fn hybrid(layout: &mut Layout, items: &[(&Value, &[&str], &[&str])]) {
    let mut list = Vec::new();
    for (image, layers, tags) in items {
        let manifest: Value = serde_json::from_slice(&layout.files[&path(image)]).unwrap();
        let layers: Vec<String> =
            layers.iter().map(|layer| reader::blob_path(Digest::of(layer.as_bytes()))).collect();
        let config = path(&manifest["config"]);
        list.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
    layout.file(LIST, Value::from(list).to_string().as_bytes());
}

#[test]
fn hybrids_have_the_names_of_both() {
    let mut layout = Layout::new();
    let (one, two, three) = (layout.image(&["1"]), layout.image(&["2"]), layout.image(&["3", "4"]));
    let index = layout.index(&[&two]);
    layout.list_as(&one, oci_full_name(), "docker.io/library/a:1");
    layout.list(&index);
    layout.file(LAYOUT, br#"{"imageLayoutVersion": "1.0.0"}"#);
    hybrid(
        &mut layout,
        &[(&one, &["1"], &["a:1", "a:2"]), (&two, &["2"], &["b:1"]), (&three, &["3", "4"], &[])],
    );
    let contents = layout.resolve();
    let [a, b, c] = contents.roots.as_slice() else { panic!("{contents:?}") };
    assert_eq!(
        (names(a), names(b), names(c)),
        (vec!["a:1".to_owned(), "a:2".to_owned()], vec!["b:1".to_owned()], vec![])
    );
    assert_eq!(b.descriptor.as_ref().unwrap().digest, digest(&index));
    assert_eq!((&c.descriptor, &c.manifests[0].document), (&None, &None));
    let manifest: Value = serde_json::from_slice(&layout.files[&path(&one)]).unwrap();
    assert_eq!(contents.warnings, [Warning::NamesDiffer { config: digest(&manifest["config"]) }]);
    assert_eq!(contents.dialect, Dialect::DockerHybrid);
    // A name that the two give to different images.
    hybrid(&mut layout, &[(&three, &["3", "4"], &["a:1"])]);
    let contents = layout.resolve();
    assert_eq!(contents.roots.len(), 3);
    assert_eq!((names(&contents.roots[0]).len(), names(&contents.roots[2]).len()), (0, 1));
    let reference = Reference::parse("a:1").unwrap();
    assert_eq!(contents.warnings, [Warning::ReferenceTwice { reference }]);
}

#[test]
fn hybrids_of_an_image_with_two_manifests_keep_each_name_where_it_is() {
    let mut layout = Layout::new();
    let one = layout.image(&["1"]);
    let manifest: Value = serde_json::from_slice(&layout.files[&path(&one)]).unwrap();
    let again = layout.document(media_type::OCI_MANIFEST, &with(&manifest, json!({"again": 1})));
    layout.list_as(&one, oci_full_name(), "ex.com/a:1");
    layout.list_as(&again, oci_full_name(), "ex.com/a:2");
    hybrid(&mut layout, &[(&one, &["1"], &["ex.com/a:1", "ex.com/a:2"])]);
    let contents = layout.resolve();
    assert_eq!(names(&contents.roots[0]), ["ex.com/a:1"]);
    assert_eq!(names(&contents.roots[1]), ["ex.com/a:2"]);
    assert_eq!(contents.warnings, []);
}

#[test]
fn manifests_with_layers_out_of_order_are_left_aside() {
    // Docker 25.0.0 wrote them so.
    let mut layout = Layout::new();
    let image = layout.image(&["1", "2"]);
    let manifest: Value = serde_json::from_slice(&layout.files[&path(&image)]).unwrap();
    let layers = [&manifest["layers"][1], &manifest["layers"][0]];
    let wrong = with(&manifest, json!({"layers": layers}));
    let wrong = layout.document(media_type::OCI_MANIFEST, &wrong);
    layout.list_as(&wrong, oci_full_name(), "docker.io/library/a:1");
    hybrid(&mut layout, &[(&image, &["1", "2"], &["a:1"])]);
    let contents = layout.resolve();
    let [root] = contents.roots.as_slice() else { panic!("{contents:?}") };
    assert_eq!(contents.warnings, [Warning::ManifestIgnored { digest: digest(&wrong) }]);
    assert_eq!((names(root).len(), &root.descriptor), (1, &None));
    let found = &root.manifests[0];
    assert_eq!(found.document, None);
    let layers: Vec<_> = found.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(layers, [b"1", b"2"].map(|layer| Some(Digest::of(layer))));
    let input = layout.input();
    for layer in &found.layers {
        assert_eq!(Some(Digest::of(&input.plain(layer.member.unwrap()))), layer.diff_id);
    }
    // Below an index it can't be left aside, so both are there.
    let index = layout.index(&[&wrong]);
    layout.listed = vec![index];
    let contents = layout.resolve();
    assert_eq!(contents.roots.len(), 2);
    assert!(matches!(contents.warnings.as_slice(), [Warning::LayersDiffer { .. }]));
    assert_eq!(names(&contents.roots[1]), ["a:1"]);
}

/// The files of a docker archive with one image of one layer.
fn docker(config_path: &str, layer_path: &str, more: Value) -> BTreeMap<String, Vec<u8>> {
    let config = json!({"rootfs": {"diff_ids": [Digest::of(b"l")]}}).to_string();
    let item = json!({"Config": config_path, "Layers": [layer_path]});
    let list = Value::from(vec![with(&item, more)]).to_string();
    let files = [(config_path, config.as_bytes()), (layer_path, b"l"), (LIST, list.as_bytes())];
    files.into_iter().map(|(path, body)| (path.to_owned(), body.to_vec())).collect()
}

/// An image: layers, how many steps, tags, and which one it says that it was built on.
type BuiltImage<'a> = (&'a [&'a str], usize, &'a [&'a str], Option<usize>);

/// A docker archive of images, resolved, and their IDs.
fn built(images: &[BuiltImage<'_>]) -> (Vec<Digest>, Contents) {
    let mut files = BTreeMap::new();
    let mut ids = Vec::new();
    for (layers, steps, _, _) in images {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer.as_bytes())).collect();
        let history: Vec<_> =
            (0..*steps).map(|step| json!({"created_by": step.to_string()})).collect();
        let config = json!({"number": ids.len(), "rootfs": {"diff_ids": diff_ids},
            "history": history});
        let config = config.to_string().into_bytes();
        ids.push(Digest::of(&config));
        files.insert(format!("{}.json", Digest::of(&config).hex()), config);
        files.extend(layers.iter().map(|layer| ((*layer).to_owned(), layer.as_bytes().to_vec())));
    }
    let item = |((layers, _, tags, parent), id): (&(&[&str], usize, &[&str], _), &Digest)| {
        let item = json!({"Config": format!("{}.json", id.hex()), "Layers": layers,
            "RepoTags": tags});
        let parent: &Option<usize> = parent;
        parent.map_or(item.clone(), |at| with(&item, json!({"Parent": ids[at]})))
    };
    let list: Vec<Value> = images.iter().zip(&ids).map(item).collect();
    files.insert(LIST.to_owned(), Value::from(list).to_string().into_bytes());
    (ids, Input::of_files(&files).resolve().unwrap())
}

/// Image IDs of a root and what it was built on.
fn line_of(root: &Root) -> Vec<Digest> {
    let all = root.manifests.iter().chain(&root.ancestors);
    let id = |manifest: &FoundManifest| match &manifest.config {
        FoundConfig::Given { document, .. } => document.digest,
        _ => panic!("{manifest:?}"),
    };
    all.map(id).collect()
}

#[test]
fn what_images_were_built_on_goes_with_them() {
    let (ids, contents) = built(&[
        (&["a"], 2, &[], Some(1)),
        (&["a"], 1, &[], None),
        (&["a", "b"], 3, &["app:1"], Some(0)),
        (&["a", "c"], 3, &[], Some(0)),
        (&["a", "b"], 4, &["app:2"], Some(2)),
    ]);
    let lines: Vec<_> = contents.roots.iter().map(line_of).collect();
    let expected = [vec![2, 0, 1], vec![3, 0, 1], vec![4, 2, 0, 1]];
    let expected = expected.map(|line| line.into_iter().map(|at| ids[at]).collect::<Vec<_>>());
    assert_eq!(lines, expected);
    assert_eq!(
        contents.roots.iter().map(names).collect::<Vec<_>>(),
        [vec!["app:1".to_owned()], vec![], vec!["app:2".to_owned()]]
    );
    assert_eq!(contents.warnings, []);
    // Without any steps, layers show it.
    let (ids, contents) = built(&[(&["a"], 0, &[], None), (&["a", "b"], 0, &["b:1"], Some(0))]);
    assert_eq!(contents.roots.iter().map(line_of).collect::<Vec<_>>(), [[ids[1], ids[0]]]);
}

#[test]
fn images_that_do_not_follow_stand_alone() {
    let alone = |images: &[BuiltImage<'_>]| {
        let (ids, contents) = built(images);
        let lines: Vec<_> = contents.roots.iter().flat_map(line_of).collect();
        assert_eq!(lines, ids);
        assert!(contents.roots.iter().all(|root| root.ancestors.is_empty()));
    };
    // Other layers, two steps more, and as many.
    alone(&[(&["a"], 1, &[], None), (&["b"], 2, &[], Some(0))]);
    alone(&[(&["a"], 1, &[], None), (&["a"], 3, &["a:1"], Some(0))]);
    alone(&[(&["a"], 1, &[], None), (&["a", "b"], 1, &["a:1"], Some(0))]);
    // Rings, and one with itself.
    alone(&[(&["a"], 1, &[], Some(1)), (&["a"], 1, &[], Some(0))]);
    alone(&[(&["a"], 0, &[], Some(1)), (&["a"], 0, &[], Some(0))]);
    alone(&[(&["a"], 1, &["a:1"], Some(0))]);
    // One way of a ring may be right.
    let (ids, contents) = built(&[(&["a"], 1, &[], Some(1)), (&["a"], 2, &[], Some(0))]);
    assert_eq!(contents.roots.iter().map(line_of).collect::<Vec<_>>(), [[ids[1], ids[0]]]);
}

#[test]
fn foreign_layers_may_be_absent() {
    let layer = Digest::of(b"compressed");
    let source = json!({"mediaType": media_type::DOCKER_FOREIGN_GZIP, "digest": layer, "size": 9,
        "urls": ["https://ex.com/layer"]});
    let sources = |source: &Value| json!({"LayerSources": {Digest::of(b"l").to_string(): source}});
    let mut files = docker("c", "l.tar", sources(&source));
    files.remove("l.tar");
    let contents = Input::of_files(&files).resolve().unwrap();
    let found = &contents.roots[0].manifests[0].layers[0];
    assert!(found.foreign);
    let descriptor: Descriptor = serde_json::from_value(source).unwrap();
    assert_eq!(found.descriptor.as_ref(), Some(&descriptor));
    let made = make_manifest_of(Digest::of(b"c"), 1, &[descriptor]);
    assert!(String::from_utf8(made).unwrap().contains("\"urls\":[\"https://ex.com/layer\"]"));
    for other in [
        json!({"mediaType": media_type::OCI_LAYER, "digest": layer, "size": 9, "urls": ["u"]}),
        json!({"mediaType": media_type::DOCKER_FOREIGN_GZIP, "digest": layer, "size": 9}),
        json!([1]),
    ] {
        let contents = Input::of_files(&docker("c", "l.tar", sources(&other))).resolve().unwrap();
        let found = &contents.roots[0].manifests[0].layers[0];
        assert_eq!((found.foreign, &found.descriptor), (false, &None));
    }
}

#[test]
fn dialects_are_guessed_by_names() {
    let hex = |text: &str| Digest::of(text.as_bytes()).hex();
    let (gzip, folder) = (format!("{}.tar.gz", hex("g")), format!("{}/layer.tar", hex("l")));
    let crane = format!("sha256:{}", hex("c"));
    let config = json!({"rootfs": {"diff_ids": [Digest::of(b"l")]}}).to_string();
    let blob = format!("blobs/sha256/{}", hex(&config));
    for (config, layer, dialect) in [
        (crane.as_str(), gzip.as_str(), Dialect::Crane),
        ("config.json", &gzip, Dialect::Jib),
        (&blob, &format!("blobs/sha256/{gzip}"), Dialect::Bazel),
        ("c.json", &folder, Dialect::Nix),
        ("c.json", "l.tar", Dialect::DockerArchive),
        ("c.json", &gzip, Dialect::DockerArchive),
    ] {
        let found = Input::of_files(&docker(config, layer, json!({}))).resolve().unwrap();
        assert_eq!(found.dialect, dialect, "{config} {layer}");
    }
    let mut files = docker("c.json", &folder, json!({}));
    files.insert(folder.replace("layer.tar", "json"), b"{}".to_vec());
    assert_eq!(Input::of_files(&files).resolve().unwrap().dialect, Dialect::DockerLegacy);
}

/// The files of an archive of Docker before 1.10: ids and their parents.
fn v1(chain: &[(&str, &str)], repositories: Option<Value>) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (id, parent) in chain {
        let json = json!({"id": id, "parent": parent, "os": "linux"}).to_string();
        files.insert(format!("{id}/json"), json.into_bytes());
        files.insert(format!("{id}/VERSION"), b"1.0".to_vec());
        files.insert(format!("{id}/layer.tar"), id.as_bytes().to_vec());
    }
    let repositories = repositories.map(|names| names.to_string().into_bytes());
    files.extend(repositories.map(|names| (REPOSITORIES.to_owned(), names)));
    files
}

#[test]
fn chains_of_parents_become_images() {
    let chain = [("a", ""), ("b", "a"), ("c", "b"), ("d", "a")];
    let names_of = |contents: &Contents| contents.roots.iter().map(names).collect::<Vec<_>>();
    let repositories = json!({"ex/app": {"1": "c", "2": "b", "3": "c"}, "none": null});
    let contents = Input::of_files(&v1(&chain, Some(repositories))).resolve().unwrap();
    assert_eq!(names_of(&contents), [vec!["ex/app:1", "ex/app:3"], vec!["ex/app:2"], vec![]]);
    let found = &contents.roots[0].manifests[0];
    let layers: Vec<&str> = found.layers.iter().map(|layer| layer.path.as_str()).collect();
    assert_eq!(layers, ["a/layer.tar", "b/layer.tar", "c/layer.tar"]);
    assert!(matches!(&found.config, FoundConfig::V1(jsons) if jsons.len() == 3));
    assert_eq!(found.platform.os, "linux");
    assert_eq!(contents.dialect, Dialect::DockerV1);
    let contents = Input::of_files(&v1(&chain, None)).resolve().unwrap();
    assert_eq!(names_of(&contents), [[""; 0]; 2]);
}

#[test]
fn broken_chains_are_refused_by_name() {
    let refused = |chain: &[(&str, &str)], repositories: Option<Value>| {
        Input::of_files(&v1(chain, repositories)).resolve().unwrap_err().to_string()
    };
    let cycle = [("a", "b"), ("b", "a")];
    assert_eq!(refused(&cycle, None), "image `a` is among its own parents");
    let named = Some(json!({"x": {"1": "b"}}));
    assert_eq!(refused(&cycle, named.clone()), "image `b` is among its own parents");
    assert_eq!(refused(&[("a", "")], named.clone()), "image `b/json` is not in the archive");
    let text = "parent image `gone/json` is not in the archive";
    assert_eq!(refused(&[("a", "gone")], None), text);
    let text = refused(&[("a", "../up")], None);
    assert_eq!(text, "parent image `../up/json` is not in the archive");
    assert_eq!(refused(&[], named), "image `b/json` is not in the archive");
    let text = refused(&[("a", "")], Some(json!({"UPPER": {"1": "a"}})));
    assert!(text.starts_with("`UPPER:1` is not an image reference"), "{text}");
    assert_eq!(refused(&[], Some(json!({}))), "`repositories` lists no images");
}

#[test]
fn lookalikes_are_refused_with_advice() {
    let refused = |paths: &[&str]| {
        let files = paths.iter().map(|path| ((*path).to_owned(), b"x".to_vec())).collect();
        Input::of_files(&files).resolve().unwrap_err().to_string()
    };
    for (paths, text) in [
        (
            &["zarf.yaml", "images/index.json"][..],
            "a package of Zarf instead of an image archive: `zarf.yaml`; unpack",
        ),
        (
            &[".dockerenv", "etc/x"],
            "the files of one container instead of an image archive: `.dockerenv`; save the",
        ),
        (
            &["bin/x", "etc/x", "usr/x"],
            "a file system instead of an image archive: `bin`; a file system alone",
        ),
        (
            &["c/Chart.yaml", "c/values.yaml"],
            "a Helm chart instead of an image archive: `c/Chart.yaml`; save the images",
        ),
        (
            &["i/oci-layout", "i/index.json"],
            "a folder around an image archive instead of an image archive: `i/oci-layout`",
        ),
        (
            &["i/manifest.json", "i/x.tar"],
            "a folder around an image archive instead of an image archive: `i/manifest",
        ),
    ] {
        let found = refused(paths);
        assert!(found.starts_with(&format!("found {text}")), "{found}");
    }
    for paths in [&["bin/x", "etc/x"][..], &["x"], &["a/oci-layout", "b"]] {
        assert!(refused(paths).starts_with("not an image archive: found no `manifest.json`"));
    }
}

#[test]
fn what_was_not_kept_is_an_error() {
    let mut layout = Layout::new();
    let image = layout.image(&["1"]);
    layout.list(&image);
    let input = layout.input();
    let is_at_hand = |index: usize| !input.members[index].path.starts_with("blobs/");
    let bodies = |index: usize| is_at_hand(index).then_some(input.bodies[index].as_slice());
    let error = resolve(&input.members, &bodies).unwrap_err().to_string();
    let text = format!("manifest `{}` was not kept", path(&image));
    assert!(error.starts_with(&text), "{error}");
    let wanted = wanted(&input.members, &bodies).unwrap();
    assert_eq!(wanted.len(), 1);
    assert_eq!(input.members[wanted[0]].path, path(&image));
}

/// Small documents in which the keys that matter are likely.
fn documents() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "mediaType",
        "manifests",
        "config",
        "layers",
        "digest",
        "size",
        "annotations",
        "platform",
        "os",
        "architecture",
        "subject",
        "data",
        "urls",
        "schemaVersion",
        "rootfs",
        "diff_ids",
        "history",
        "artifactType",
        "Config",
        "Layers",
        "RepoTags",
        "LayerSources",
        "parent",
        "id",
        "imageLayoutVersion",
        "container_config",
        "Cmd",
        "created",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_u64).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "a:1",
            "c",
            "../x",
            "2",
            "1.0.0",
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER,
            "e30=",
        ])
        .prop_map(Value::from),
        prop::sample::select(vec!["", "{}", "x"])
            .prop_map(|text| Value::from(Digest::of(text.as_bytes()).to_string())),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| {
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_documents_are_resolved_or_refused(
        blobs in prop::collection::vec(
            (documents(), prop::sample::select(vec![
                "", media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::OCI_CONFIG,
            ])),
            0..5,
        ),
        others in prop::collection::btree_map(
            prop::sample::select(vec![
                LIST, INDEX, LAYOUT, REPOSITORIES, "a/json", "a/layer.tar", "c/json", "c/layer.tar",
                "a", "c",
            ]),
            documents(),
            0..6,
        ),
        list_blobs in any::<bool>(),
    ) {
        let mut layout = Layout::default();
        let mut earlier: Vec<Value> = Vec::new();
        for (document, media_type) in blobs {
            // What came earlier can be below what comes later.
            let document = match document {
                Value::Object(mut map) => {
                    if map.contains_key("manifests") {
                        map.insert("manifests".into(), earlier.clone().into());
                    } else if let (true, Some(last)) = (map.contains_key("config"), earlier.last()) {
                        map.insert("config".into(), last.clone());
                        map.insert("layers".into(), earlier.clone().into());
                    }
                    Value::Object(map)
                }
                other => other,
            };
            earlier.push(layout.document(media_type, &document));
        }
        layout.listed = earlier;
        for (path, document) in others {
            layout.file(path, document.to_string().as_bytes());
        }
        let input = if list_blobs { layout.input() } else { Input::of_files(&layout.files) };
        if let Ok(contents) = input.resolve() {
            prop_assert!(!contents.roots.is_empty());
        }
    }

    #[test]
    fn any_json_makes_a_config_or_is_refused(json in documents(), other in documents()) {
        let jsons = [json, other].map(|json| json.to_string().into_bytes());
        let diff_ids = [Digest::of(b""); 2];
        if let Ok(config) = make_v1_config(&jsons, &diff_ids) {
            let config: Value = serde_json::from_slice(&config).unwrap();
            prop_assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        }
    }
}
