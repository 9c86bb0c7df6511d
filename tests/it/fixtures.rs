//! Archives that other tools wrote, and hand-made hostile ones, through the command.
//!
//! Assumes the folder of fixtures beside the repository and its table INDEX.md;
//! skipped, aloud, where it is absent. Each archive goes in as a file and through
//! standard input, with the same outcome. What is saved comes out bit for bit;
//! what is refused leaves the store as it was. Arbitrary archives are `roundtrip`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::Output;

use orlop::codec;
use orlop::image::sniff;

use crate::support::images::{Image, Layout, Place, archive, images};
use crate::support::shelf::{Shelf, Way, files};
use crate::support::{Scratch, fixtures, hello};

/// What is to become of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Saved,
    /// With this exit code, and this in the message.
    Refused(i32, &'static str),
}

use Outcome::{Refused, Saved};

const UNSUPPORTED: i32 = 14;

const SYNTHETIC: [(&str, Outcome); 31] = [
    ("bad-diffid.tar", Refused(1, "does not match its diff ID: expected sha256:")),
    ("bad-layer-count.tar", Refused(1, "its config lists 2 layers, `manifest.json` lists 1")),
    (
        "bomb-gzip-layer-64MiB.tar",
        Refused(UNSUPPORTED, "gzip layers is not supported yet: layer `z.tar.gz`"),
    ),
    ("concatenated-two-archives.tar", Saved),
    ("duplicate-manifest-last-wins.tar", Saved),
    ("evil-config-path.tar", Refused(1, "path `../../../etc/hostname` leaves the archive")),
    ("evil-device-member.tar", Saved),
    ("evil-dir-symlink-write-through.tar", Saved),
    (
        "evil-manifest-symlink.tar",
        Refused(1, "link `manifest.json` leaves the archive: its target is `"),
    ),
    ("evil-tag-syntax.tar", Refused(1, "`UPPER:bad tag` is not an image reference")),
    ("gnu-longname-layer.tar", Saved),
    ("hybrid-ok.tar", Saved),
    ("hybrid-thin-missing-base.tar", Refused(1, "layer `blobs/sha256/04771e24ac637")),
    ("manifest-trailing-garbage.tar", Saved),
    (
        "oci-digest-mismatch.tar",
        Refused(UNSUPPORTED, "OCI layout is not supported yet: found `oci-layout`"),
    ),
    (
        "oci-empty-index.tar",
        Refused(UNSUPPORTED, "OCI layout is not supported yet: found `oci-layout`"),
    ),
    (
        "oci-evil-digest-path.tar",
        Refused(UNSUPPORTED, "OCI layout is not supported yet: found `oci-layout`"),
    ),
    ("ok-baseline.tar", Saved),
    ("ok-gzip-two-members.tar.gz", Saved),
    ("ok-lowercase-keys.tar", Saved),
    ("ok-no-layers-null.tar", Saved),
    ("ok-zstd-skippable-first.tar.zst", Saved),
    ("pax-global-header.tar", Saved),
    ("pax-longname-layer.tar", Saved),
    ("same-path-two-diffids.tar", Refused(1, "is listed for two diff IDs: sha256:")),
    ("symlinked-layer-first.tar", Saved),
    ("thin-missing-base-layer.tar", Refused(1, "tar` is not in the archive")),
    ("thin-zero-length-base-layer.tar", Refused(1, "does not match its diff ID: expected sha256:")),
    ("trunc-mid-layer.tar", Refused(1, "is cut short: expected 10240 bytes, found 1064")),
    ("trunc-no-eof-blocks.tar", Saved),
    (
        "zstd-layer.tar",
        Refused(UNSUPPORTED, "docker archive with zstd layers is not supported yet: layer `"),
    ),
];

/// A row of the table of archives in INDEX.md.
struct Row {
    name: String,
    outcome: Outcome,
}

fn rows(folder: &Path) -> Vec<Row> {
    let index = std::fs::read_to_string(folder.join("INDEX.md")).unwrap();
    let section = index.split("\n## ").find(|part| part.starts_with("1. ")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [kind, whole, layers, notes] = [5, 6, 9, 11].map(|cell| cells[cell]);
        let name = cells[1].trim_matches('`').to_owned();
        let outcome = if whole == "xz" {
            Refused(UNSUPPORTED, "xz input is not supported yet")
        } else if kind.starts_with("OCI layout") {
            Refused(UNSUPPORTED, "OCI layout is not supported yet: found `oci-layout`")
        } else if kind.contains("legacy v1") {
            Refused(
                UNSUPPORTED,
                "docker archive of Docker before 1.10 is not supported yet: found `repositories`",
            )
        } else if kind.starts_with("imgpkg") {
            Refused(UNSUPPORTED, "imgpkg archive is not supported yet: found `manifest.json`")
        } else if notes.contains("is null") {
            Refused(1, "`manifest.json` lists no images")
        } else if name.ends_with("test_bundle.tar") {
            // Docker and Podman refuse a reference without a tag as well.
            Refused(1, "`test_image_2` is not an image reference: it has no tag")
        } else if layers.contains("gzip") {
            Refused(UNSUPPORTED, "docker archive with gzip layers is not supported yet: layer `")
        } else {
            Saved
        };
        Row { name, outcome }
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

/// Runs `save`, with the archive as a file or as standard input.
fn save(scratch: &Scratch, path: &Path, as_file: bool) -> Output {
    let mut command = scratch.command();
    command.args(["save", "-i"]);
    if as_file {
        command.arg(path);
    } else {
        command.arg("-").stdin(File::open(path).unwrap());
    }
    command.output().unwrap()
}

/// The bytes of a file, decompressed as far as they can be, and whether that was
/// to the end.
fn plain(path: &Path) -> (Vec<u8>, bool) {
    let bytes = std::fs::read(path).unwrap();
    let mut plain = Vec::new();
    let Some(compression) = sniff(&bytes) else { return (bytes, true) };
    let mut reader = codec::expand(compression, bytes.as_slice()).unwrap();
    let whole = reader.read_to_end(&mut plain).is_ok();
    (plain, whole)
}

/// Saves an archive both ways and checks that its images come out.
fn check_saved(path: &Path) {
    let (plain, whole) = plain(path);
    assert!(whole, "{}", path.display());
    let given = images(plain.as_slice());
    let mut exports = Vec::new();
    for as_file in [true, false] {
        let scratch = Scratch::new();
        let output = save(&scratch, path, as_file);
        assert!(output.status.success(), "{}: {output:?}", path.display());
        let ids = given.keys().map(|id| format!("sha256:{id}"));
        let export = scratch.run(["export".to_owned()].into_iter().chain(ids));
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let found = images(export.stdout.as_slice());
        assert_eq!(found.len(), given.len(), "{}", path.display());
        for (id, image) in &given {
            assert_eq!(found[id].layers, image.layers, "{}", path.display());
            let manifests = &found[id].manifests;
            assert!(image.manifests.is_subset(manifests) && manifests.len() == 1, "{id}");
        }
        exports.push(export.stdout);
    }
    assert!(exports[0] == exports[1], "{}: file and stream differ", path.display());
}

/// Hands in an archive both ways; it must be refused with little said, and the
/// store be left as it was.
fn check_refused(scratch: &Scratch, path: &Path, code: i32, text: &str) {
    let before = files(&scratch.store());
    for as_file in [true, false] {
        let output = save(scratch, path, as_file);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{}: {told}", path.display());
        assert!(told.contains(text), "{}: {told}", path.display());
        let name = if as_file { path.to_str().unwrap() } else { "-" };
        assert!(told.starts_with(&format!("error: cannot save `{name}`\n")), "{told}");
        assert!(told.len() < 1000 && told.lines().count() <= 4, "{told}");
        assert!(output.stdout.is_empty());
        assert_eq!(files(&scratch.store()), before, "{}", path.display());
    }
}

/// A store with something in it.
fn used_store() -> Scratch {
    let scratch = Scratch::new();
    scratch.ok([&"save", &"-i", &hello(1).to_str().unwrap()]);
    scratch
}

#[test]
fn archives_of_other_tools() {
    let Some(folder) = fixtures() else { return };
    let store = used_store();
    let (mut saved, mut refused) = (0, 0);
    for row in rows(&folder) {
        let path = folder.join(&row.name);
        if !path.exists() {
            println!("skipped: {} is absent", row.name);
            continue;
        }
        match row.outcome {
            Saved => {
                check_saved(&path);
                saved += 1;
            }
            Refused(code, text) => {
                check_refused(&store, &path, code, text);
                refused += 1;
            }
        }
    }
    println!("{saved} archives came back, {refused} were refused");
    assert!(saved > 20 && refused > 10, "{saved} {refused}");
}

#[test]
fn hand_made_edge_cases() {
    let Some(folder) = fixtures() else { return };
    let store = used_store();
    let names = std::fs::read_dir(folder.join("synthetic")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let table = BTreeMap::from(SYNTHETIC);
    for name in names {
        let path = folder.join("synthetic").join(&name);
        match table.get(name.as_str()) {
            Some(Saved) => check_saved(&path),
            Some(&Refused(code, text)) => check_refused(&store, &path, code, text),
            None => panic!("nothing is said of {name}"),
        }
    }
}

#[test]
fn an_empty_member_stands_for_a_layer_that_is_there() {
    let Some(folder) = fixtures() else { return };
    let synthetic = folder.join("synthetic");
    for as_file in [true, false] {
        let scratch = Scratch::new();
        scratch.ok([&"save", &"-i", &synthetic.join("ok-baseline.tar").to_str().unwrap()]);
        let output = save(&scratch, &synthetic.join("thin-zero-length-base-layer.tar"), as_file);
        assert!(output.status.success(), "as a file {as_file}: {output:?}");
    }
}

/// All odd tar streams, by name.
fn odd_layers(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for owner in std::fs::read_dir(folder).unwrap() {
        let layers = owner.unwrap().path().join("layers");
        let Ok(entries) = std::fs::read_dir(&layers) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            // Some are broken on purpose.
            let (bytes, _) = plain(&path);
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn odd_tars_as_layers() {
    let Some(folder) = fixtures() else { return };
    let layers = odd_layers(&folder);
    assert!(layers.len() > 50, "{}", layers.len());
    let (compressed, odd): (Vec<_>, Vec<_>) =
        layers.into_iter().partition(|(_, bytes)| sniff(bytes).is_some());
    println!("{} odd layers, and {} that are compressed twice", odd.len(), compressed.len());
    let all: Vec<Image> = odd
        .chunks(16)
        .zip(1..)
        .map(|(some, number)| Image {
            names: vec![format!("docker.io/library/odd:{number}")],
            layers: some.iter().map(|(_, bytes)| bytes.clone()).collect(),
            comment: number.to_string(),
        })
        .collect();
    let archive = archive(&all, Layout::Legacy, Place::Last);
    let queries: Vec<String> = all.iter().flat_map(|image| image.names.clone()).collect();
    let mut exports = Vec::new();
    for way in [Way::File, Way::Stream] {
        let mut shelf = Shelf::new();
        shelf.save(&archive, way).unwrap();
        let export = shelf.export(&queries);
        let found = images(Cursor::new(&export));
        for image in &all {
            assert_eq!(found[&image.id()].layers, image.found(Layout::Legacy).layers);
        }
        exports.push(export);
    }
    assert!(exports[0] == exports[1], "file and stream differ");
    for (path, bytes) in compressed {
        let image = Image { names: Vec::new(), layers: vec![bytes], comment: String::new() };
        let archive = self::archive(&[image], Layout::Legacy, Place::Last);
        let error = Shelf::new().save(&archive, Way::File).unwrap_err().to_string();
        assert!(error.contains("layers is not supported yet"), "{}: {error}", path.display());
    }
}

#[test]
fn an_archive_cut_anywhere_is_whole_or_refused() {
    let bytes = std::fs::read(hello(2)).unwrap();
    let whole = images(bytes.as_slice());
    let (mut saved, mut refused) = (0, 0);
    for at in (0..bytes.len()).step_by(1531) {
        for way in [Way::File, Way::Stream, Way::Gzip] {
            let mut shelf = Shelf::new();
            let before = shelf.files();
            match shelf.save(&bytes[..at], way) {
                // Cut after all that matters, between members: as good as whole.
                Ok(outcome) => {
                    let id = outcome.images[0].image_id.hex();
                    let found = images(shelf.export(&[format!("sha256:{id}")]).as_slice());
                    assert_eq!(found[&id].layers, whole[&id].layers);
                    saved += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.len() < 300, "{text}");
                    assert_eq!(shelf.files(), before, "{at} {way:?}: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 20 * saved, "{refused} refused, {saved} saved");
}
