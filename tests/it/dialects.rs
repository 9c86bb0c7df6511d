//! Archives of every dialect through the whole program: what goes in comes out bit
//! for bit, each blob and the archive as a whole, and what is compressed is stored
//! by its content where that can be.

use std::collections::BTreeMap;

use orlop::fs::{open_input, open_input_folder};
use orlop::gzip::EncoderId;
use orlop::image::{Format, MOST_MEMBERS, Query};
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::input::Input;
use orlop::ops::original::Original as SavedOriginal;
use orlop::ops::resolve::resolve;
use orlop::ops::save::{Original, SaveError, SaveOutcome, SaveWarning};
use orlop::store::Store;
use serde_json::json;

use crate::support::docker::sha256;
use crate::support::held::Members;
use crate::support::layouts::{self, Layer, Layout, MANIFEST, digest_of};
use crate::support::shelf::{Shelf, Way, zstd};
use crate::support::stores::{layer, noise};

/// One gzip member as this encoder makes it.
pub(crate) fn gzip_by(encoder: &str, content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    if encoder.starts_with("pgzip") {
        stream[4..8].copy_from_slice(&[0x00, 0x09, 0x6e, 0x88]);
    }
    let mut encoder = EncoderId::named(encoder).unwrap().encoder();
    encoder.write(content, &mut stream);
    encoder.finish(&mut stream);
    let mut crc = flate2::Crc::new();
    crc.update(content);
    stream.extend(crc.sum().to_le_bytes());
    stream.extend(crc.amount().to_le_bytes());
    stream
}

/// A layer with text, which compresses, and noise, which doesn't.
fn big_layer(seed: u64) -> Vec<u8> {
    let text: Vec<u8> = (0..40_000_u64)
        .flat_map(|line| format!("line {} of {seed}\n", line * seed % 977).into_bytes())
        .collect();
    layer(&[
        ("usr/lib/text", &text),
        ("usr/lib/noise", &noise(seed, 300_000)),
        ("etc/hosts", b"127.0.0.1 localhost\n"),
    ])
}

fn read_all(store: &Store, layout: &Layout) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for hex in layout.blobs.keys() {
        let digest = format!("sha256:{hex}").parse().unwrap();
        found.insert(hex.clone(), store.read_blob(digest, 1 << 30).unwrap());
    }
    found
}

fn original(store: &Store, outcome: &SaveOutcome) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let original = SavedOriginal::of(store, outcome.save.unwrap()).unwrap();
    let outcome = original.write(&mut bytes, &()).unwrap();
    assert_eq!(outcome.bytes, bytes.len() as u64);
    (bytes, outcome.proven)
}

/// A layout with one image that has a layer of each kind.
fn every_compression() -> Layout {
    let tars: Vec<Vec<u8>> = (1..=6).map(big_layer).collect();
    let layers = [
        Layer::plain(&tars[0]),
        Layer::gzip(&tars[1], gzip_by("go-flate-6", &tars[1])),
        Layer::gzip(&tars[2], gzip_by("pgzip-b", &tars[2])),
        Layer::gzip(&tars[3], gzip_by("go-flate-1", &tars[3])),
        Layer::zstd(&tars[4], zstd(&tars[4])),
        // Nobody's encoder: two stored blocks.
        Layer::gzip(&tars[5], stored_gzip(&tars[5])),
    ];
    let mut layout = Layout::default();
    let image = layout.image("amd64", &layers);
    layout.list(&image, Some("docker.io/library/app:1"));
    layout
}

/// A gzip member of stored blocks of an odd length, which no program writes.
fn stored_gzip(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3];
    let mut blocks = content.chunks(33_333).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(content);
    stream.extend(crc.sum().to_le_bytes());
    stream.extend(crc.amount().to_le_bytes());
    stream
}

#[test]
fn every_blob_and_the_archive_come_back() {
    let layout = every_compression();
    let archive = layout.tar();
    for way in [Way::File, Way::Stream, Way::Gzip, Way::Zstd] {
        let mut shelf = Shelf::new();
        let outcome = shelf.save(&archive, way).unwrap();
        assert_eq!(outcome.images[0].references[0].to_string(), "docker.io/library/app:1");
        assert!(read_all(shelf.store(), &layout) == layout.blobs, "{way:?}");
        let (bytes, proven) = original(shelf.store(), &outcome);
        assert!(bytes == archive, "{way:?}");
        assert_eq!(proven, way != Way::File, "a file is not hashed as a whole");

        let again = shelf.save(&archive, way).unwrap();
        assert!(again.images[0].unchanged && again.save.is_none(), "{way:?}");
    }
}

#[test]
fn a_folder_is_an_archive_as_well() {
    let layout = every_compression();
    let folder = tempfile::tempdir().unwrap();
    layout.write(folder.path());
    let mut shelf = Shelf::new();
    let input = open_input_folder(folder.path(), MOST_MEMBERS).unwrap();
    let outcome = shelf.save_input(Input::from_folder("app".to_owned(), input)).unwrap();
    assert!(read_all(shelf.store(), &layout) == layout.blobs);
    assert!(
        SavedOriginal::of(shelf.store(), outcome.save.unwrap()).is_err(),
        "there is no archive"
    );
}

/// Compressed otherwise, the same content costs next to nothing.
#[test]
fn content_is_stored_once_however_it_is_compressed() {
    let tar = big_layer(7);
    let forms = [
        Layer::plain(&tar),
        Layer::gzip(&tar, gzip_by("go-flate-6", &tar)),
        Layer::gzip(&tar, gzip_by("pgzip-a", &tar)),
    ];
    let mut shelf = Shelf::new();
    let mut added = Vec::new();
    for form in forms {
        let mut layout = Layout::default();
        let image = layout.image("amd64", &[form]);
        layout.list(&image, Some("docker.io/library/app:1"));
        let outcome = shelf.save(&layout.tar(), Way::File).unwrap();
        assert!(!outcome.images[0].unchanged, "another manifest is another revision");
        added.push(outcome.images[0].added);
    }
    assert!(added[0] > 300_000, "{added:?}");
    assert!(added[1] < 8_000 && added[2] < 8_000, "{added:?}");
}

#[test]
fn a_proven_archive_is_hashed_and_a_compressed_one_comes_back() {
    let archive = every_compression().tar();
    let mut shelf = Shelf::new();
    shelf.save(&archive, Way::File).unwrap();
    for (name, bytes) in [
        ("plain", archive.clone()),
        ("go", gzip_by("go-flate-6", &archive)),
        ("stored", stored_gzip(&archive)),
        ("zstd", zstd(&archive)),
    ] {
        let path = shelf.root().with_file_name(name);
        std::fs::write(&path, &bytes).unwrap();
        let input = Input::from_file(name.to_owned(), open_input(&path).unwrap()).unwrap();
        let outcome = shelf.save_with(input, Original::Prove).unwrap();
        assert!(outcome.save.is_some(), "{name}: not proven before");
        let (found, proven) = original(shelf.store(), &outcome);
        assert!(found == bytes && proven, "{name}");
    }
    let input = open_input(&shelf.root().with_file_name("plain")).unwrap();
    let input = Input::from_file("plain".to_owned(), input).unwrap();
    shelf.save_with(input, Original::Prove).unwrap();
    let input = open_input(&shelf.root().with_file_name("plain")).unwrap();
    let input = Input::from_file("plain".to_owned(), input).unwrap();
    assert!(shelf.save_with(input, Original::Prove).unwrap().save.is_none(), "proven already");
}

#[test]
fn nothing_is_kept_of_an_archive_if_so_asked() {
    let archive = every_compression().tar();
    let mut shelf = Shelf::new();
    let input = Input::from_stream("-".to_owned(), std::io::Cursor::new(archive)).unwrap();
    let outcome = shelf.save_with(input, Original::Forget).unwrap();
    assert!(SavedOriginal::of(shelf.store(), outcome.save.unwrap()).is_err());
}

/// Bug: it was dropped in silence.
#[test]
fn a_stream_with_too_much_behind_it_is_saved_and_said_not_to_be_kept() {
    let mut archive = every_compression().tar();
    archive.resize(archive.len() + (33 << 20), 7);
    let mut shelf = Shelf::new();
    let outcome = shelf.save(&archive, Way::Stream).unwrap();
    assert_eq!(outcome.warnings, [SaveWarning::NotKept]);
    assert!(SavedOriginal::of(shelf.store(), outcome.save.unwrap()).is_err());
}

#[test]
fn an_index_is_one_revision_of_several_images() {
    let (one, two) = (big_layer(1), big_layer(2));
    let mut layout = Layout::default();
    let amd = layout.image("amd64", &[Layer::plain(&one)]);
    let arm = layout.image("arm64", &[Layer::gzip(&two, gzip_by("go-flate-6", &two))]);
    let absent = layout.image("riscv64", &[Layer::plain(&layer(&[("x", b"x")]))]);
    let mut statement = layout.document(MANIFEST, &json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": layouts::CONFIG, "digest": digest_of(&amd), "size": amd["size"]},
        "layers": [],
    }));
    statement["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    statement["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let index = layout.index(&[amd.clone(), arm.clone(), absent.clone(), statement]);
    layout.list(&index, Some("docker.io/library/app:1"));
    layout.leave_out(&absent);
    let mut shelf = Shelf::new();
    let outcome = shelf.save(&layout.tar(), Way::File).unwrap();
    assert_eq!(outcome.images.len(), 1);
    assert_eq!(outcome.images[0].platforms, "linux/amd64,linux/arm64");
    assert_eq!(outcome.images[0].root.to_string(), digest_of(&index));

    let record = shelf.store().record(outcome.save.unwrap()).unwrap();
    let revision = &record.revisions[0];
    assert_eq!(revision.not_shipped[0].to_string(), digest_of(&absent));
    assert_eq!(revision.images.len(), 2);
    for (image, manifest) in revision.images.iter().zip([&amd, &arm]) {
        assert_eq!(image.manifest.to_string(), digest_of(manifest));
        let id = image.image_id.to_string();
        for query in [id, format!("app@{}", image.manifest)] {
            let query = Query::parse(&query).unwrap();
            let found = resolve(shelf.store(), &query, &|_| None).unwrap();
            assert_eq!(found.manifest, Some(image.manifest));
            assert_eq!(found.revision.root, outcome.images[0].root);
        }
    }
}

#[test]
fn what_a_thin_archive_lacks_must_be_in_the_store() {
    let (base, new) = (big_layer(1), big_layer(2));
    let blob = gzip_by("go-flate-6", &base);
    let mut thin = Layout::default();
    let image = thin.image("amd64", &[Layer::gzip(&base, blob.clone()), Layer::plain(&new)]);
    thin.list(&image, Some("docker.io/library/app:2"));
    thin.blobs.remove(&sha256(&blob));
    let mut shelf = Shelf::new();
    let error = shelf.save(&thin.tar(), Way::File).unwrap_err();
    assert!(matches!(error, SaveError::Absent { .. }), "{error}");
    assert!(error.to_string().contains(&sha256(&blob)), "{error}");

    let mut whole = Layout::default();
    let image = whole.image("amd64", &[Layer::gzip(&base, blob)]);
    whole.list(&image, Some("docker.io/library/app:1"));
    shelf.save(&whole.tar(), Way::File).unwrap();
    for way in [Way::File, Way::Stream] {
        let outcome = shelf.save(&thin.tar(), way).unwrap();
        assert_eq!((outcome.images[0].layers, outcome.images[0].layers_known > 0), (2, true));
    }
}

#[test]
fn damaged_layers_are_refused_and_leave_nothing() {
    let tar = big_layer(3);
    let good = gzip_by("go-flate-6", &tar);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x55;
    let cut = good[..good.len() / 2].to_vec();
    for blob in [flipped, cut] {
        for way in [Way::File, Way::Stream] {
            let mut layout = Layout::default();
            let image = layout.image("amd64", &[Layer::gzip(&tar, blob.clone())]);
            layout.list(&image, Some("docker.io/library/app:1"));
            let mut shelf = Shelf::new();
            let error = shelf.save(&layout.tar(), way).unwrap_err();
            assert!(error.to_string().contains(&sha256(&blob)), "{error}");
            assert!(shelf.files().keys().all(|path| !path.starts_with("records")));
            assert!(std::fs::read_dir(shelf.root().join("tmp")).unwrap().next().is_none());
        }
    }
}

#[test]
fn a_layer_of_another_content_than_its_config_says_is_refused() {
    let mut layout = Layout::default();
    let (one, two) = (big_layer(1), big_layer(2));
    let lie = Layer { tar: two, blob: gzip_by("go-flate-6", &one), suffix: "+gzip" };
    let image = layout.image("amd64", &[lie]);
    layout.list(&image, None);
    let error = Shelf::new().save(&layout.tar(), Way::File).unwrap_err();
    assert!(matches!(error, SaveError::LayerMismatch { .. }), "{error}");
}

/// Bug: of a stream, the bodies of members that a later one of the same name
/// replaces were lost, and `export --original` failed.
#[test]
fn a_document_that_a_later_one_replaces_is_part_of_the_original() {
    let mut earlier = tar::Builder::new(Vec::new());
    for name in ["index.json", "manifest.json", "index.json"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        earlier.append_data(&mut header, name, &b"{ }"[..]).unwrap();
    }
    let earlier = earlier.into_inner().unwrap();
    let layout = every_compression();
    let archive = [&earlier[..earlier.len() - 1024], &layout.tar()].concat();
    let mut shelf = Shelf::new();
    let outcome = shelf.save(&archive, Way::Stream);
    // An empty `manifest.json` lists nothing.
    assert!(outcome.is_err(), "{outcome:?}");

    let mut layout = every_compression();
    layout.others.push(("manifest.json".to_owned(), b"[]".to_vec()));
    let archive = [&earlier[..earlier.len() - 1024], &layout.tar()].concat();
    for way in [Way::File, Way::Stream, Way::Zstd] {
        let mut shelf = Shelf::new();
        let outcome = shelf.save(&archive, way).unwrap();
        assert!(original(shelf.store(), &outcome).0 == archive, "{way:?}");
    }
}

/// Bug: an index that lists nothing was saved, and could not be exported.
#[test]
fn an_index_that_lists_nothing_comes_back() {
    let mut layout = Layout::default();
    let index = layout.index(&[]);
    layout.list(&index, None);
    let mut shelf = Shelf::new();
    let outcome = shelf.save(&layout.tar(), Way::File).unwrap();
    let query = format!("@{}", outcome.images[0].root);
    let found = resolve(shelf.store(), &Query::parse(&query).unwrap(), &|_| None).unwrap();
    let options = ExportOptions { format: Format::Oci, ..ExportOptions::default() };
    let mut bytes = Vec::new();
    let export = Export::plan(shelf.store(), &[found], &options, &()).unwrap();
    export.write(&mut bytes, Form::Plain, &()).unwrap();
    let found = Members::of_tar(bytes.as_slice()).blobs();
    assert_eq!(found, layout.blobs);
}
