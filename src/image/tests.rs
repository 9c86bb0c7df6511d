//! The whole way from the bytes of an archive to its images: against archives
//! that other tools wrote (a folder beside the repository, skipped where it is
//! absent), against hand-made edge cases, and against arbitrary bytes.

use std::collections::HashMap;
use std::env;
use std::io::{self, Read};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

/// What a caller would know of an archive.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) archive: Archive,
    pub(super) members: Vec<Member>,
}

/// Reads a plain tar as a file that can be sought in: headers first, then the
/// wanted bodies, then every layer, whose digest must be its diff ID.
pub(super) fn load(tar: &[u8]) -> Result<Loaded, Error> {
    let mut reader = Members::new(Seekable::new(io::Cursor::new(tar)).unwrap());
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        members.push(member);
    }
    let body = |index: usize| {
        let member: &Member = &members[index];
        let start = usize::try_from(member.offset).unwrap();
        &tar[start..][..usize::try_from(member.size).unwrap()]
    };
    let mut bodies: HashMap<usize, &[u8]> = HashMap::new();
    loop {
        let wanted = wanted(&members, &|index| bodies.get(&index).copied())?;
        if wanted.is_empty() {
            break;
        }
        for index in wanted {
            assert!(bodies.insert(index, body(index)).is_none(), "asked twice for {index}");
        }
    }
    let archive = resolve(&members, &|index| bodies.get(&index).copied())?;
    for layer in archive.images.iter().flat_map(|image| &image.layers) {
        let (member, bytes) = (&members[layer.member], body(layer.member));
        check_plain_layer(member, &bytes[..bytes.len().min(512)])?;
        let (expected, found) = (layer.diff_id, Digest::of(bytes));
        if expected != found {
            return Err(Error::DigestMismatch { what: member.path.clone(), expected, found });
        }
    }
    let streamed = load_stream(tar);
    assert_eq!(streamed.unwrap(), archive, "a stream gives the same");
    Ok(Loaded { archive, members })
}

/// Reads a plain tar as a stream: small bodies are kept, all else passes.
fn load_stream(tar: &[u8]) -> Result<Archive, Error> {
    let mut reader = Members::new(Stream::new(tar));
    let (mut members, mut kept) = (Vec::new(), SmallBodies::new());
    while let Some(member) = reader.next_member()? {
        let mut body = Vec::new();
        reader.body().take(512).read_to_end(&mut body).unwrap();
        if kept.wants(&member, &body) {
            reader.body().read_to_end(&mut body).unwrap();
            kept.keep(&member, body);
        }
        members.push(member);
    }
    assert_eq!(wanted(&members, &|index| kept.get(index))?, [0; 0]);
    resolve(&members, &|index| kept.get(index))
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

/// The bytes of a fixture, decompressed; `None` if it is absent or in a format
/// that no dependency of ours reads.
#[expect(clippy::disallowed_methods, reason = "tests read their fixtures themselves")]
fn read_fixture(name: &str) -> Option<Vec<u8>> {
    let Ok(bytes) = std::fs::read(fixtures()?.join(name)) else {
        println!("skipped: {name} is absent");
        return None;
    };
    let mut plain = Vec::new();
    match sniff(&bytes) {
        None => return Some(bytes),
        Some(Compression::Gzip) => {
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        }
        Some(Compression::Zstd) => {
            zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut plain).unwrap();
        }
        Some(other) => {
            println!("skipped: {name} is {other}");
            return None;
        }
    }
    Some(plain)
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

/// A row of the table of archives in INDEX.md.
struct Row {
    name: String,
    kind: String,
    images: usize,
    layers: usize,
    layer_compression: String,
    notes: String,
}

fn rows() -> Vec<Row> {
    let Some(folder) = fixtures() else {
        return Vec::new();
    };
    let mut file = String::new();
    #[expect(clippy::disallowed_methods, reason = "tests read their fixtures themselves")]
    std::fs::File::open(folder.join("INDEX.md")).unwrap().read_to_string(&mut file).unwrap();
    let section = file.split("\n## ").find(|part| part.starts_with("1. ")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Row {
            name: cells[1].trim_matches('`').to_owned(),
            kind: cells[5].to_owned(),
            images: cells[7].parse().unwrap(),
            layers: cells[8].split('/').next_back().unwrap().parse().unwrap(),
            layer_compression: cells[9].to_owned(),
            notes: cells[11].to_owned(),
        }
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn archives_of_other_tools() {
    let (mut accepted, mut refused) = (0, 0);
    for row in rows() {
        let Some(tar) = read_fixture(&row.name) else {
            continue;
        };
        let result = load(&tar);
        let expected_error = if row.kind.starts_with("OCI layout") {
            Some("OCI layout is not supported yet")
        } else if row.kind.contains("legacy v1") {
            Some("docker archive of Docker before 1.10 is not supported yet: found `repositories`")
        } else if row.kind.starts_with("imgpkg") {
            Some("imgpkg archive is not supported yet")
        } else if row.notes.contains("is null") {
            Some("`manifest.json` lists no images")
        } else if row.name.ends_with("test_bundle.tar") {
            // Docker and Podman refuse a reference without a tag as well.
            Some("`test_image_2` is not an image reference: it has no tag")
        } else if row.layer_compression.contains("gzip") {
            Some("docker archive with gzip layers is not supported yet: layer `")
        } else {
            None
        };
        match (expected_error, result) {
            (Some(expected), Err(error)) => {
                assert!(message(&error).contains(expected), "{}: {error}", row.name);
                refused += 1;
            }
            (None, Ok(Loaded { archive, .. })) => {
                let layers: usize = archive.images.iter().map(|image| image.layers.len()).sum();
                assert_eq!(
                    (archive.images.len(), layers),
                    (row.images, row.layers),
                    "{}",
                    row.name
                );
                let named = row.notes.contains("config digest != name");
                let warned = |w: &Warning| matches!(w, Warning::ConfigName { .. });
                assert_eq!(archive.warnings.iter().any(warned), named, "{}", row.name);
                let untagged = archive.images.iter().all(|image| image.references.is_empty());
                assert_eq!(untagged, row.notes.contains("untagged"), "{}", row.name);
                if row.kind.contains("hybrid") {
                    assert_eq!(archive.dialect, Dialect::DockerHybrid, "{}", row.name);
                } else if row.kind.starts_with("docker-save 1.10") {
                    assert_eq!(archive.dialect, Dialect::DockerLegacy, "{}", row.name);
                }
                accepted += 1;
            }
            (expected, result) => panic!("{}: {result:?}, expected {expected:?}", row.name),
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted == 0 || accepted > 25);
}

/// The images of an archive, written anew.
fn emit(loaded: &Loaded, tar: &[u8]) -> Vec<u8> {
    let body = |member: &Member| {
        let start = usize::try_from(member.offset).unwrap();
        &tar[start..][..usize::try_from(member.size).unwrap()]
    };
    let mut bodies = HashMap::new();
    let mut images = Vec::new();
    for image in &loaded.archive.images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let member = &loaded.members[layer.member];
            bodies.insert(layer.diff_id, body(member));
            layers.push((layer.diff_id, member.size));
        }
        let made = make_manifest(image.config_digest, image.config.len() as u64, &layers);
        let (names, config) = (image.references.clone(), image.config.clone());
        let manifest = image.manifest.clone().unwrap_or(made);
        images.push(EmitImage::plain(names, config, manifest, layers));
    }
    let plan = EmitPlan::new(Format::Docker, images).unwrap();
    let mut sink = TarSink::new(Vec::new());
    plan.write(&mut sink, |digest, layer| {
        layer.write_all(bodies[digest]).map_err(|source| Error::Write { source })
    })
    .unwrap();
    let out = sink.into_inner();
    assert_eq!(out.len() as u64, plan.size());
    out
}

#[test]
fn archives_of_other_tools_are_written_anew() {
    let mut count = 0;
    for row in rows() {
        let Some(tar) = read_fixture(&row.name) else {
            continue;
        };
        let Ok(loaded) = load(&tar) else { continue };
        let out = emit(&loaded, &tar);
        let again = load(&out).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(emit(&again, &out), out, "{}", row.name);
        assert_eq!(again.archive.images.len(), loaded.archive.images.len());
        for image in &loaded.archive.images {
            let same = |other: &&ArchiveImage| other.config == image.config;
            let other = again.archive.images.iter().find(same).unwrap();
            let sorted: std::collections::BTreeSet<_> = image.references.iter().collect();
            assert!(other.references.iter().eq(sorted), "{}", row.name);
            assert_eq!(other.parsed.diff_ids(), image.parsed.diff_ids());
            assert!(image.manifest.is_none() || image.manifest == other.manifest);
        }
        count += 1;
    }
    println!("{count} written anew");
}

#[test]
fn our_manifest_is_the_one_that_docker_makes() {
    let folder = "zarf-dev+zarf/src__pkg__packager__testdata__find-images__";
    let syft = "anchore+syft/syft__format__internal__testutil__testdata__snapshot__";
    for name in [
        format!("{folder}image-archives__scratch.tar"),
        format!("{folder}multiple-image-archives__scratch-other.tar"),
        format!("{syft}stereoscope-fixture-image-simple.golden"),
    ] {
        let Some(tar) = read_fixture(&name) else {
            continue;
        };
        let Loaded { archive, members } = load(&tar).unwrap();
        let image = &archive.images[0];
        let layers: Vec<_> =
            image.layers.iter().map(|layer| (layer.diff_id, members[layer.member].size)).collect();
        let made = make_manifest(image.config_digest, image.config.len() as u64, &layers);
        let given = image.manifest.clone().unwrap();
        assert_eq!(String::from_utf8(made).unwrap(), String::from_utf8(given).unwrap(), "{name}");
    }
}

#[test]
fn links_lead_to_the_layer_of_another_image() {
    let name = "google+go-containerregistry/pkg__v1__tarball__testdata__test_link.tar";
    let Some(tar) = read_fixture(name) else {
        return;
    };
    let Loaded { archive, members } = load(&tar).unwrap();
    let places: Vec<Vec<usize>> = archive
        .images
        .iter()
        .map(|image| image.layers.iter().map(|layer| layer.member).collect())
        .collect();
    assert_eq!(places.len(), 2);
    assert!(places.iter().flatten().all(|&at| members[at].kind == MemberKind::Regular));
    assert!(places[0].iter().any(|place| places[1].contains(place)), "{places:?}");
}

/// File names, and a part of the error that is due, if one is.
const EDGE_CASES: [(&str, Option<&str>); 31] = [
    ("bad-diffid.tar", Some("8480a4c18b75")),
    ("bad-layer-count.tar", Some("its config lists 2 layers, `manifest.json` lists 1")),
    ("bomb-gzip-layer-64MiB.tar", Some("gzip layers is not supported yet: layer `z.tar.gz`")),
    ("concatenated-two-archives.tar", None),
    ("duplicate-manifest-last-wins.tar", None),
    ("evil-config-path.tar", Some("path `../../../etc/hostname` leaves the archive")),
    ("evil-device-member.tar", None),
    ("evil-dir-symlink-write-through.tar", None),
    ("evil-manifest-symlink.tar", Some("link `manifest.json` leaves the archive")),
    ("evil-tag-syntax.tar", Some("`UPPER:bad tag` is not an image reference")),
    ("gnu-longname-layer.tar", None),
    ("hybrid-ok.tar", None),
    ("hybrid-thin-missing-base.tar", Some("layer `blobs/sha256/04771e24ac637")),
    ("manifest-trailing-garbage.tar", None),
    ("oci-digest-mismatch.tar", Some("OCI layout is not supported")),
    ("oci-empty-index.tar", Some("OCI layout is not supported")),
    ("oci-evil-digest-path.tar", Some("OCI layout is not supported")),
    ("ok-baseline.tar", None),
    ("ok-gzip-two-members.tar.gz", None),
    ("ok-lowercase-keys.tar", None),
    ("ok-no-layers-null.tar", None),
    ("ok-zstd-skippable-first.tar.zst", None),
    ("pax-global-header.tar", None),
    ("pax-longname-layer.tar", None),
    ("same-path-two-diffids.tar", Some("is listed for two diff IDs: sha256:")),
    ("symlinked-layer-first.tar", None),
    ("thin-missing-base-layer.tar", Some("tar` is not in the archive")),
    ("thin-zero-length-base-layer.tar", Some("found sha256:e3b0c44298fc1c14")),
    ("trunc-mid-layer.tar", Some("is cut short: expected 10240 bytes, found 1064")),
    ("trunc-no-eof-blocks.tar", None),
    ("zstd-layer.tar", Some("docker archive with zstd layers is not supported yet")),
];

#[test]
fn hand_made_edge_cases() {
    for (name, expected) in EDGE_CASES {
        let Some(tar) = read_fixture(&format!("synthetic/{name}")) else {
            continue;
        };
        match (load(&tar), expected) {
            (Ok(loaded), None) => assert_eq!(loaded.archive.images.len(), 1, "{name}"),
            (Err(error), Some(text)) => {
                assert!(message(&error).contains(text), "{name}: {}", message(&error));
            }
            (result, expected) => panic!("{name}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn duplicates_are_reported() {
    let Some(tar) = read_fixture("synthetic/duplicate-manifest-last-wins.tar") else {
        return;
    };
    let warnings = load(&tar).unwrap().archive.warnings;
    assert_eq!(warnings, [Warning::DuplicateMember { path: "manifest.json".into() }]);
}

/// A tar of files with these names and bodies.
pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, body) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *body).unwrap();
    }
    builder.into_inner().unwrap()
}

fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    serde_json::to_vec(&serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}))
        .unwrap()
}

fn refusal(files: &[(&str, &[u8])]) -> String {
    message(&load(&tar_of(files)).unwrap_err())
}

#[test]
fn podman_archives_are_known_by_their_links() {
    let config = config_of(&[b"l"]);
    let layer = format!("{}.tar", Digest::of(b"l").hex());
    let list = format!(r#"[{{"Config":"c","RepoTags":[],"Layers":["{layer}"]}}]"#);
    let dialect = |with_link: bool| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |kind, name: &str, body: &[u8], target: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(body.len() as u64);
            header.set_path(name).unwrap();
            if !target.is_empty() {
                header.set_link_name(target).unwrap();
            }
            header.set_cksum();
            builder.append(&header, body).unwrap();
        };
        add(tar::EntryType::Regular, &layer, b"l", "");
        add(tar::EntryType::Regular, "c", &config, "");
        if with_link {
            let name = format!("{}/layer.tar", Digest::of(b"v1").hex());
            add(tar::EntryType::Symlink, &name, b"", &format!("../{layer}"));
        }
        add(tar::EntryType::Regular, "manifest.json", list.as_bytes(), "");
        load(&builder.into_inner().unwrap()).unwrap().archive.dialect
    };
    assert_eq!(dialect(true), Dialect::Podman);
    assert_eq!(dialect(false), Dialect::DockerArchive);
}

#[test]
fn several_items_with_one_config_are_one_image() {
    let config = config_of(&[b"l"]);
    let list = br#"[{"Config":"c","RepoTags":["a:1","a:1"],"Layers":["l"]},
        {"Config":"./copy","RepoTags":["b:1","a:1"],"Layers":["/l"]}]"#;
    let files: [(&str, &[u8]); 4] =
        [("c", &config), ("copy", &config), ("l", b"l"), ("manifest.json", list)];
    let archive = load(&tar_of(&files)).unwrap().archive;
    assert_eq!(archive.images.len(), 1);
    let names: Vec<_> = archive.images[0].references.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["a:1", "b:1"]);
    assert_eq!(archive.images[0].config_digest, Digest::of(&config));
    assert_eq!((archive.dialect, archive.warnings.len()), (Dialect::DockerArchive, 0));
}

#[test]
fn a_reference_of_two_images_goes_to_the_last() {
    let (one, two) = (config_of(&[b"1"]), config_of(&[b"2"]));
    let list = br#"[{"Config":"1.c","RepoTags":["a:1"],"Layers":["1"]},
        {"Config":"2.c","RepoTags":["a:1"],"Layers":["2"]},
        {"Config":"1.c","RepoTags":["a:1","b:1"],"Layers":["1"]},
        {"Config":"2.c","RepoTags":["a:1"],"Layers":["2"]}]"#;
    let files: [(&str, &[u8]); 5] =
        [("1.c", &one), ("2.c", &two), ("1", b"1"), ("2", b"2"), ("manifest.json", list)];
    let archive = load(&tar_of(&files)).unwrap().archive;
    assert_eq!(archive.images[0].references, [Reference::parse("b:1").unwrap()]);
    let reference = Reference::parse("a:1").unwrap();
    assert_eq!(archive.images[1].references, std::slice::from_ref(&reference));
    assert_eq!(archive.warnings, vec![Warning::ReferenceTwice { reference }; 3]);
}

#[test]
fn broken_archives_are_refused_by_name() {
    let list = br#"[{"Config":"c","RepoTags":[],"Layers":["l"]}]"#.as_slice();
    let files = |config: &'static [u8]| refusal(&[("manifest.json", list), ("c", config)]);
    assert_eq!(files(b"{}"), "config `c` has no rootfs");
    assert!(files(b"no").starts_with("config `c` is not valid: expected"));
    assert_eq!(refusal(&[("manifest.json", list)]), "config `c` is not in the archive");
    assert_eq!(refusal(&[("manifest.json", b"[]")]), "`manifest.json` lists no images");
    assert!(refusal(&[("manifest.json", b"{}")]).contains("a list of images"));
    let nothing = "not an image archive: found no `manifest.json`, `index.json`, `oci-layout` or \
                   `repositories` among 1 members";
    assert_eq!(refusal(&[("x", b"")]), nothing);
    let large = vec![b' '; (4 << 20) + 1];
    let text = "config `c` is too large: expected at most 4194304, found 4194305";
    assert_eq!(refusal(&[("manifest.json", list), ("c", &large)]), text);
    let named = format!("blobs/sha256/{}", Digest::of(b"other").hex());
    let list = format!(r#"[{{"Config":"{named}"}}]"#);
    let text = refusal(&[("manifest.json", list.as_bytes()), (&named, b"{\"rootfs\":{}}")]);
    assert!(text.starts_with(&format!("`{named}` does not match its digest")), "{text}");
    let error = resolve(&[], &|_| None).unwrap_err();
    assert!(matches!(error, Error::NotAnArchive { members: 0 }));
}

#[test]
fn what_was_not_kept_is_an_error() {
    let tar = tar_of(&[("manifest.json", b"[{\"Config\":\"c\"}]"), ("c", b"{\"rootfs\":{}}")]);
    let members = load(&tar).unwrap().members;
    let list: &[u8] = b"[{\"Config\":\"c\"}]";
    let only_list = |index| (index == 0).then_some(list);
    assert_eq!(wanted(&members, &only_list).unwrap(), [1]);
    let error = resolve(&members, &only_list).unwrap_err().to_string();
    assert!(error.starts_with("config `c` was not kept"), "{error}");
}

/// A hybrid with one image of the plain layer `l`, whose OCI manifest is
/// `manifest`.
fn hybrid(config: &[u8], manifest: &[u8]) -> Result<Archive, Error> {
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let list = format!(r#"[{{"Config":"{}","Layers":["{}"]}}]"#, blob(config), blob(b"l"));
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{}","size":1}}]}}"#,
        media_type::OCI_MANIFEST,
        Digest::of(manifest)
    );
    load(&tar_of(&[
        (&blob(config), config),
        (&blob(manifest), manifest),
        (&blob(b"l"), b"l"),
        ("index.json", index.as_bytes()),
        ("manifest.json", list.as_bytes()),
        ("oci-layout", b"{}"),
    ]))
    .map(|loaded| loaded.archive)
}

#[test]
fn manifests_of_hybrids_count_if_they_describe_the_image() {
    let config = config_of(&[b"l"]);
    let made = |layers: &[(Digest, u64)]| make_manifest(Digest::of(&config), 1, layers);
    let good = made(&[(Digest::of(b"l"), 1)]);
    let archive = hybrid(&config, &good).unwrap();
    assert_eq!(archive.images[0].manifest.as_deref(), Some(good.as_slice()));
    let other = made(&[(Digest::of(b"k"), 1)]);
    let archive = hybrid(&config, &other).unwrap();
    assert_eq!(archive.images[0].manifest, None);
    assert_eq!(archive.warnings, [Warning::ManifestIgnored { digest: Digest::of(&other) }]);
    let foreign = make_manifest(Digest::of(b"x"), 1, &[]);
    let archive = hybrid(&config, &foreign).unwrap();
    assert_eq!(archive.warnings, [Warning::NotListed { digest: Digest::of(&foreign) }]);
    let gzip = String::from_utf8(other).unwrap().replace("v1.tar\"", "v1.tar+gzip\"");
    let error = message(&hybrid(&config, gzip.as_bytes()).unwrap_err());
    assert!(error.starts_with("docker archive with gzip layers is not supported yet"), "{error}");
}

proptest! {
    #[test]
    fn any_documents_are_resolved_or_refused(
        list in "\\PC{0,60}|\\[\\{\"Config\":\"[a-c./]{0,4}\",\"Layers\":(null|\\[(\"[a-c]\")?\\])\\}\\]",
        index in "\\PC{0,60}|\\{\"schemaVersion\":2,\"manifests\":(null|\\[\\])\\}",
        config in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let tar = tar_of(&[
            ("a", &config),
            ("b", b"{\"rootfs\":{}}"),
            ("index.json", index.as_bytes()),
            ("manifest.json", list.as_bytes()),
            ("oci-layout", b"{}"),
        ]);
        if let Ok(loaded) = load(&tar) {
            prop_assert!(!loaded.archive.images.is_empty());
        }
    }
}
