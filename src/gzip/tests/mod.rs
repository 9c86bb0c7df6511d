//! Tests of the encoders as a whole: golden vectors, and properties.

pub(super) mod inputs;
mod prove;
mod real;
mod vectors;

use std::io::Read;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::EncoderId;

pub(crate) fn id(name: &str) -> EncoderId {
    EncoderId::named(name).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from_digit(number.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// What `id` makes of `input`, in writes of `size` bytes.
pub(crate) fn encode(id: EncoderId, input: &[u8], size: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (id.encoder(), Vec::new());
    for part in input.chunks(size.max(1)) {
        encoder.write(part, &mut out);
    }
    encoder.finish(&mut out);
    out
}

/// A gzip file by `id`, with the header that its program writes.
pub(crate) fn gzip(id: EncoderId, input: &[u8]) -> Vec<u8> {
    let time = if id.name().starts_with("go") { [0; 4] } else { [0, 9, 0x6e, 0x88] };
    let flags = match id.name() {
        name if name.ends_with("-9") => 2,
        name if ["-1", "-a1", "-b1"].iter().any(|end| name.ends_with(end)) => 4,
        _ => 0,
    };
    let mut file = [&[0x1f, 0x8b, 8, 0], time.as_slice(), &[flags, 0xff]].concat();
    file.extend(encode(id, input, 32768));
    let mut crc = flate2::Crc::new();
    crc.update(input);
    file.extend(crc.sum().to_le_bytes());
    file.extend(crc.amount().to_le_bytes());
    file
}

fn inflate(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::DeflateDecoder::new(body).read_to_end(&mut out).unwrap();
    out
}

fn golden(name: &str, vectors: &[(&str, usize, &str)]) {
    for (input, length, expected) in vectors {
        let file = gzip(id(name), &inputs::named(input));
        assert_eq!(inflate(&file[10..]), inputs::named(input), "{name} {input}");
        let hash = hex(&Sha256::digest(&file));
        let got = if file.len() <= 170 { hex(&file) } else { hash.clone() };
        assert_eq!((file.len(), got.as_str()), (*length, *expected), "{name} {input}");
    }
}

#[test]
fn inputs_are_those_of_the_vectors() {
    for (name, hash) in vectors::INPUTS {
        assert_eq!(hex(&Sha256::digest(inputs::named(name)))[..16], *hash, "{name}");
    }
}

#[test]
fn go_6() {
    golden("go-flate-6", &vectors::G6);
}

#[test]
fn go_1() {
    golden("go-flate-1", &vectors::G1);
}

#[test]
fn pgzip_a() {
    golden("pgzip-a", &vectors::P5A);
}

#[test]
fn pgzip_b() {
    golden("pgzip-b", &vectors::P5B);
}

#[test]
fn go_127_6() {
    golden("go127-flate-6", &vectors::N6);
}

#[test]
fn go_127_1() {
    golden("go127-flate-1", &vectors::N1);
}

#[test]
fn raw_streams_of_more_encoders() {
    for (name, input, hash) in vectors::RAW.iter().chain(&vectors::FROZEN).chain(&vectors::ZLIB) {
        let body = encode(id(name), &inputs::named(input), 32768);
        assert_eq!(&hex(&Sha256::digest(body))[..16], *hash, "{name} {input}");
    }
}

#[test]
fn each_encoder_has_a_vector() {
    for id in EncoderId::all() {
        let mut vectors = vectors::RAW.iter().chain(&vectors::FROZEN).chain(&vectors::ZLIB);
        assert!(vectors.any(|(name, ..)| *name == id.name()), "{id}");
    }
}

#[test]
fn threads_change_nothing() {
    let full = inputs::mixed(3 << 20);
    for name in ["pgzip-a", "pgzip-b6", "pgzip-a1", "pigz-6", "zlib-1", "go-flate-2"] {
        let mut encoder = id(name).encoder_on(3);
        for length in [0, 5, 128 << 10, 1 << 20, (1 << 20) + 1, full.len()] {
            let (input, mut out) = (&full[..length], Vec::new());
            for part in input.chunks(100_000) {
                encoder.write(part, &mut out);
            }
            encoder.finish(&mut out);
            encoder.reset();
            assert!(out == encode(id(name), input, 4096), "{name}, {length} bytes");
        }
        encoder.write(&full, &mut Vec::new());
        // Dropped in the middle of its work.
    }
}

#[test]
fn a_stream_knows_nothing_of_the_one_before() {
    let input = inputs::mixed(300_000);
    for id in EncoderId::all() {
        let (mut encoder, expected) = (id.encoder(), encode(id, &input, usize::MAX));
        for first in [0, 10, 70_000, 300_000] {
            let mut out = Vec::new();
            encoder.write(&input[..first], &mut out);
            encoder.finish(&mut out);
            encoder.reset();
            out.clear();
            encoder.write(&input, &mut out);
            encoder.finish(&mut out);
            encoder.reset();
            assert!(out == expected, "{id} after {first} bytes");
        }
    }
}

#[test]
fn write_sizes_do_not_matter() {
    let input = inputs::mixed(400_000);
    for id in EncoderId::all() {
        let whole = encode(id, &input, input.len());
        assert!(inflate(&whole) == input, "{id}");
        for size in [1, 512, 777, 32768, 65535] {
            assert!(encode(id, &input, size) == whole, "{id} in writes of {size}");
        }
    }
}

/// Bytes as layers have them: noise, runs, and copies of what came before.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|noise| (noise, 0, 0)),
        (any::<u8>(), 0..70_000_usize).prop_map(|(byte, count)| (vec![byte; count], 0, 0)),
        (1..70_000_usize, 0..40_000_usize).prop_map(|(back, count)| (Vec::new(), back, count)),
        (any::<u8>(), 0..3000_u64).prop_map(|(step, count)| {
            let text = (0..count).map(|at| ((at * at / (u64::from(step) + 1)) & 0x3f) as u8);
            (text.collect(), 0, 0)
        }),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| {
        let mut out = Vec::new();
        for (bytes, back, count) in parts {
            out.extend_from_slice(&bytes);
            for _ in 0..count.min(back * out.len()) {
                out.push(out[out.len().saturating_sub(back)]);
            }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn anything_comes_back(input in bytes(), size in 1..100_000_usize) {
        for id in EncoderId::all() {
            let body = encode(id, &input, usize::MAX);
            prop_assert!(inflate(&body) == input, "{}", id);
            prop_assert!(encode(id, &input, size) == body, "{} in writes of {}", id, size);
        }
    }
}
