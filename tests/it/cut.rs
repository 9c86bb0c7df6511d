//! Archives that were cut, or in which a byte was flipped: what is left of them is
//! saved whole, or refused, and then the store is as it was.
//!
//! Through the library, as a file, as a stream and compressed.

use std::io::Write;

use orlop::ops::original::Original;
use orlop::ops::save::SaveOutcome;

use crate::dialects::gzip_by;
use crate::support::held::{Held, Members};
use crate::support::hello;
use crate::support::layouts::{Layer, Layout, digest_of};
use crate::support::shelf::{Shelf, Way, zstd};
use crate::support::stores::{layer, noise};

/// An archive, and what must be in a store that has all of it.
struct Whole {
    archive: Vec<u8>,
    held: Held,
}

impl Whole {
    fn of(archive: Vec<u8>) -> Self {
        let held = Held::of(&Members::of_tar(archive.as_slice()));
        Self { archive, held }
    }

    /// All that its images need is in the store, and the archive that was handed in.
    fn check(&self, shelf: &Shelf, outcome: &SaveOutcome, given: &[u8]) {
        for (hex, bytes) in &self.held.blobs {
            let digest = format!("sha256:{hex}").parse().unwrap();
            assert!(shelf.store().read_blob(digest, 1 << 30).unwrap() == *bytes, "{hex}");
        }
        for image in &outcome.images {
            let root = image.root.to_string();
            let export = shelf.export(&[format!("@{root}")]);
            let found = Held::of(&Members::of_tar(export.as_slice()));
            assert!(found.roots.contains(&root["sha256:".len()..]), "{root}");
            assert!(self.held.layers.is_subset(&found.layers), "{root}");
        }
        let mut original = Vec::new();
        let save = outcome.save.unwrap();
        Original::of(shelf.store(), save).unwrap().write(&mut original, &()).unwrap();
        assert!(original == given);
    }
}

/// A store that has another image, and takes in what is damaged.
struct Taker {
    shelf: Shelf,
    saved: usize,
    refused: usize,
}

impl Taker {
    fn new() -> Self {
        Self { shelf: Self::shelf(), saved: 0, refused: 0 }
    }

    fn shelf() -> Shelf {
        let mut shelf = Shelf::new();
        let mut layout = Layout::default();
        let tar = layer(&[("etc/other", b"other")]);
        let image = layout.image("amd64", &[Layer::gzip(&tar, gzip_by("go-flate-6", &tar))]);
        layout.list(&image, Some("docker.io/library/other:1"));
        shelf.save(&layout.tar(), Way::File).unwrap();
        shelf
    }

    fn take(&mut self, whole: &Whole, bytes: &[u8], way: Way, what: &str) {
        let before = self.shelf.files();
        match self.shelf.save(bytes, way) {
            Ok(outcome) => {
                whole.check(&self.shelf, &outcome, bytes);
                self.shelf = Self::shelf();
                self.saved += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 400, "{text}");
                assert_eq!(self.shelf.files(), before, "{what} {way:?}: {text}");
                self.refused += 1;
            }
        }
    }
}

/// A small layer: text and noise.
fn small_layer(seed: u64) -> Vec<u8> {
    let text: Vec<u8> = (0..800)
        .flat_map(|line| format!("line {} of {seed}\n", line * seed).into_bytes())
        .collect();
    layer(&[("usr/text", &text), ("usr/noise", &noise(seed, 1500))])
}

fn gzip_of_zlib(tar: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(3));
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

/// A layout with a plain layer, one that is compressed anew when it is given back,
/// one of gzip and one of zstd that are kept as they are; two platforms.
fn compressed_layout() -> Vec<u8> {
    let [a, b, c, d] = [1, 2, 3, 4].map(small_layer);
    let anew = Layer::gzip(&b, gzip_by("go-flate-6", &b));
    let mut layout = Layout::default();
    let layers = [Layer::plain(&a), anew.clone(), Layer::zstd(&d, zstd(&d))];
    let amd = layout.image("amd64", &layers);
    let arm = layout.image("arm64", &[anew, Layer::gzip(&c, gzip_of_zlib(&c))]);
    let index = layout.index(&[amd, arm]);
    layout.list(&index, Some("docker.io/library/app:1"));
    layout.tar()
}

#[test]
fn a_docker_archive_cut_anywhere_is_whole_or_refused() {
    let whole = Whole::of(std::fs::read(hello(2)).unwrap());
    let mut taker = Taker::new();
    for at in (0..whole.archive.len()).step_by(1531) {
        for way in [Way::File, Way::Stream, Way::Gzip] {
            taker.take(&whole, &whole.archive[..at], way, &format!("cut at {at}"));
        }
    }
    // Cut after all that matters, between members, it is as good as whole.
    assert!(taker.refused > 20 * taker.saved, "{} {}", taker.refused, taker.saved);
}

#[test]
fn a_layout_cut_anywhere_is_whole_or_refused() {
    let whole = Whole::of(compressed_layout());
    assert_eq!(whole.held.layers.len(), 4);
    let mut taker = Taker::new();
    for at in (0..whole.archive.len()).step_by(499) {
        for way in [Way::File, Way::Stream, Way::Zstd] {
            taker.take(&whole, &whole.archive[..at], way, &format!("cut at {at}"));
        }
    }
    assert!(taker.refused > 20 * taker.saved, "{} {}", taker.refused, taker.saved);
    for way in [Way::File, Way::Stream, Way::Gzip, Way::Zstd] {
        taker.take(&whole, &whole.archive, way, "whole");
    }
    assert!(taker.saved >= 4);
}

#[test]
fn a_flipped_byte_is_refused_or_belongs_to_no_image() {
    let whole = Whole::of(compressed_layout());
    let mut taker = Taker::new();
    for at in (0..whole.archive.len()).step_by(331) {
        let mut flipped = whole.archive.clone();
        flipped[at] ^= 0x11;
        for way in [Way::File, Way::Stream] {
            taker.take(&whole, &flipped, way, &format!("flipped at {at}"));
        }
    }
    // What isn't refused stands in padding, in unused fields of headers or at the end.
    assert!(taker.refused > taker.saved, "{} {}", taker.refused, taker.saved);
    assert!(taker.saved > 0);
}

#[test]
fn a_flipped_byte_of_a_compressed_layer_names_it() {
    let tar = small_layer(5);
    for good in [gzip_by("go-flate-6", &tar), gzip_by("pgzip-b", &tar), gzip_of_zlib(&tar)] {
        for at in (0..good.len()).step_by(good.len() / 23) {
            let mut blob = good.clone();
            blob[at] ^= 0x40;
            let mut layout = Layout::default();
            let image = layout.image("amd64", &[Layer::gzip(&tar, blob)]);
            layout.list(&image, Some("docker.io/library/app:1"));
            for way in [Way::File, Way::Stream] {
                let mut shelf = Shelf::new();
                let before = shelf.files();
                match shelf.save(&layout.tar(), way) {
                    // Time, system and the like: of no meaning to the content.
                    Ok(_) => assert!(at < 10, "{at} {way:?}"),
                    Err(error) => {
                        let text = error.to_string();
                        let listed = layout.blobs.keys().any(|hex| text.contains(hex.as_str()));
                        assert!(listed, "{} {text}", digest_of(&image));
                        assert_eq!(shelf.files(), before, "{at} {way:?}");
                    }
                }
            }
        }
    }
}
