//! What goes in comes out: layers, configs and given manifests, bit for bit, from
//! arbitrary archives and from real ones, however they were saved.
//!
//! Assumes the tar crate and SHA-256 to judge by. Archives that other tools wrote
//! are `fixtures`'; what a save costs is `cost`'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::images::{Found, Image, Layout, Place, archive, images};
use crate::support::shelf::{Shelf, Way};
use crate::support::{hello, tars};

const LAYOUTS: [Layout; 3] = [Layout::Legacy, Layout::Hybrid, Layout::Podman];

/// Images that share a few layers; `series` keeps their names and configs apart
/// from those of other calls.
fn images_of(layers: &[Vec<u8>], picks: &[(Vec<usize>, usize)], series: usize) -> Vec<Image> {
    let image = |(number, (layer_picks, names)): (usize, &(Vec<usize>, usize))| Image {
        names: (0..*names)
            .map(|tag| format!("docker.io/library/app{number}:{series}.{tag}"))
            .collect(),
        layers: layer_picks.iter().map(|pick| layers[pick % layers.len()].clone()).collect(),
        comment: format!("{series} {number}"),
    };
    picks.iter().enumerate().map(image).collect()
}

fn pool() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(tars::layer(), 1..5)
}

/// For each image: which layers, and how many names.
fn picks() -> impl Strategy<Value = Vec<(Vec<usize>, usize)>> {
    vec((vec(0..8_usize, 0..5), 0..4_usize), 1..4)
}

/// What to ask for to get all of these images under all of their names.
fn queries(images: &[Image]) -> Vec<String> {
    let of = |image: &Image| {
        if image.names.is_empty() {
            vec![format!("sha256:{}", image.id())]
        } else {
            image.names.clone()
        }
    };
    images.iter().flat_map(of).collect()
}

/// How images in this layout are to come out. Where none came with a manifest,
/// there is one of ours.
fn expected(images: &[Image], layout: Layout) -> BTreeMap<String, Found> {
    images.iter().map(|image| (image.id(), image.found(layout))).collect()
}

fn check(export: &[u8], expected: &BTreeMap<String, Found>) {
    let mut found = images(export);
    for (id, image) in &mut found {
        assert_eq!(image.manifests.len(), 1, "one manifest for each image");
        if expected.get(id).is_some_and(|expected| expected.manifests.is_empty()) {
            image.manifests.clear();
        }
    }
    assert_eq!(&found, expected);
}

/// Saving again adds nothing, whichever way.
fn check_unchanged(shelf: &mut Shelf, archive: &[u8], way: Way) {
    let before = shelf.files();
    let outcome = shelf.save(archive, way).unwrap();
    assert!(outcome.save.is_none(), "{outcome:?}");
    for image in &outcome.images {
        assert!(image.unchanged, "{image:?}");
        assert_eq!((image.layers_known, image.added), (image.layers, 0), "{image:?}");
    }
    assert_eq!(shelf.files(), before);
}

/// What to ask for, what is to come, and the bytes that came.
type Saved = (Vec<String>, BTreeMap<String, Found>, Vec<u8>);

/// Few cases, since each makes several stores; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { max_shrink_iters: 300, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 32;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whichever_way_it_is_saved(
        layers in pool(),
        picks in picks(),
        place in select(vec![Place::First, Place::Middle, Place::Last]),
        way in select(vec![Way::Stream, Way::Gzip, Way::Zstd]),
    ) {
        let images = images_of(&layers, &picks, 0);
        let queries = queries(&images);
        let mut reversed = queries.clone();
        reversed.reverse();
        let mut plain = None;
        for layout in LAYOUTS {
            let mut exports = Vec::new();
            for (way, place) in [(Way::File, Place::Last), (way, place)] {
                let archive = archive(&images, layout, place);
                let mut shelf = Shelf::new();
                let outcome = shelf.save(&archive, way).unwrap();
                assert_eq!(outcome.images.len(), images.len());
                assert!(outcome.images.iter().all(|image| !image.unchanged));
                let export = shelf.export(&queries);
                check(&export, &expected(&images, layout));
                assert!(shelf.export(&reversed) == export, "the order asked shows");
                check_unchanged(&mut shelf, &archive, Way::Stream);
                check_unchanged(&mut shelf, &archive, Way::File);
                exports.push(export);
            }
            assert!(exports[0] == exports[1], "{layout:?} by {way:?} with the list {place:?}");
            if layout != Layout::Hybrid {
                let plain = plain.get_or_insert_with(|| exports[0].clone());
                assert!(*plain == exports[0], "{layout:?} differs");
            }
        }
    }

    #[test]
    fn one_save_after_another(
        layers in pool(),
        saves in vec(
            (
                picks(),
                select(LAYOUTS.to_vec()),
                select(vec![Way::File, Way::Stream, Way::Gzip, Way::Zstd]),
            ),
            2..5,
        ),
    ) {
        let mut shelf = Shelf::new();
        let mut before: Vec<Saved> = Vec::new();
        for (series, (picks, layout, way)) in saves.iter().enumerate() {
            // Layers grow together, so that most chunks of most are known.
            let pool = &layers[..layers.len().min(series + 1)];
            let images = images_of(pool, picks, series);
            let archive = archive(&images, *layout, Place::Last);
            let outcome = shelf.save(&archive, *way).unwrap();
            assert!(outcome.save.is_some());
            let queries = queries(&images);
            let export = shelf.export(&queries);
            check(&export, &expected(&images, *layout));
            before.push((queries, expected(&images, *layout), export));
            for (queries, _, export) in &before {
                assert!(shelf.export(queries) == *export, "an export changed");
            }
        }
        let all: Vec<String> = before.iter().flat_map(|(queries, _, _)| queries.clone()).collect();
        let expected = before.iter().flat_map(|(_, expected, _)| expected.clone()).collect();
        check(&shelf.export(&all), &expected);
    }
}

#[test]
fn real_archives_one_after_the_other() {
    let mut archives: Vec<Vec<PathBuf>> = vec![vec![hello(1), hello(2)]];
    match std::env::var_os("ORLOP_CORPUS") {
        None => println!("skipped: ORLOP_CORPUS names no folder with more archives"),
        Some(folder) => {
            let mut families = paths(Path::new(&folder));
            families.retain(|family| family.is_dir());
            for family in families {
                let mut files = paths(&family);
                files.retain(|file| file.extension().is_some_and(|end| end == "tar"));
                archives.push(files);
            }
        }
    }
    for family in archives {
        let mut shelf = Shelf::new();
        let mut saved = Vec::new();
        for path in family {
            let given = images(std::fs::File::open(&path).unwrap());
            let outcome = shelf.save_file(&path).unwrap();
            assert_eq!(outcome.images.len(), given.len(), "{}", path.display());
            saved.push(given);
        }
        // Only now, when later saves may have spoilt earlier ones.
        for given in saved {
            let queries: Vec<String> = given.keys().map(|id| format!("sha256:{id}")).collect();
            let found = export(&shelf, &queries);
            let content = |image: &Found| (image.config.clone(), image.layers.clone());
            assert!(given.values().map(content).eq(found.values().map(content)));
            for (id, image) in given {
                assert!(image.manifests.is_subset(&found[&id].manifests), "{id}");
            }
        }
    }
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What an export holds, however large it is.
fn export(shelf: &Shelf, queries: &[String]) -> BTreeMap<String, Found> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reading = std::thread::spawn(move || images(reader));
    shelf.export_to(queries, &mut writer);
    drop(writer);
    reading.join().unwrap()
}
