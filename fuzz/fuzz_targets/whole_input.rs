//! Whole inputs, plain or compressed: what a reader gives doesn't depend on how
//! the input comes, and what was compressed comes back.

#![no_main]

use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;
use orlop::codec;
use orlop::image::sniff;
use orlop::ops::input::{Bytes, Input};
use orlop_fuzz::{InPieces, Plan, expand, mutate, pieces, room};

/// The most that is read of an input that goes on and on.
const READ_MAX: u64 = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let mut cuts = Plan::new(plan.take(4));
    let kind = plan.u8() % 4;
    if kind == 0 {
        check(plan.rest(), &mut cuts);
        return;
    }
    let (mut compressed, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..=plan.below(3) {
        let room = room(&mut plan, 300_000);
        let content = expand(&mut plan, room);
        compress(kind, plan.u8(), &content, &mut compressed);
        expected.extend_from_slice(&content);
    }
    let changed = mutate(&mut compressed, &mut plan);
    let found = check(&compressed, &mut cuts);
    if !changed {
        assert_eq!(found.as_deref(), Some(expected.as_slice()));
    }
});

fn compress(kind: u8, level: u8, content: &[u8], out: &mut Vec<u8>) {
    let done = if kind == 1 {
        // No higher: it is the time of this that counts, not that of the reader.
        let level = flate2::Compression::new(u32::from(level % 7));
        let mut encoder = flate2::write::GzEncoder::new(out, level);
        encoder.write_all(content).and_then(|()| encoder.finish().map(drop))
    } else {
        let mut encoder = zstd::Encoder::new(out, i32::from(level % 8)).expect("a level that is");
        encoder.include_checksum(level & 8 != 0).expect("a parameter that is");
        encoder.write_all(content).and_then(|()| encoder.finish().map(drop))
    };
    done.expect("memory can be written");
}

/// Reads it at once and in pieces. `None` where it can't be read.
fn check(bytes: &[u8], cuts: &mut Plan<'_>) -> Option<Vec<u8>> {
    let parts = pieces(bytes, cuts).into_iter().map(<[u8]>::to_vec);
    let (one, whole) = read(InPieces::new([bytes.to_vec()]));
    let (other, in_pieces) = read(InPieces::new(parts));
    assert_eq!(whole, in_pieces, "readable in one way only");
    // Where it is damaged, a decoder may have given more or less of what it had.
    if whole {
        assert!(one == other, "another content");
        if sniff(bytes).is_none() {
            assert_eq!(one, bytes[..bytes.len().min(READ_MAX as usize)]);
        }
    }
    whole.then_some(one)
}

fn read(input: impl Read + Send + 'static) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let Ok(opened) = Input::from_stream("input".to_owned(), input) else { return (out, false) };
    let Bytes::Stream(stream) = opened.bytes else { panic!("a stream is no file") };
    let read = match opened.compression {
        None => stream.take(READ_MAX).read_to_end(&mut out),
        Some(compression) => codec::expand(compression, stream)
            .and_then(|content| content.take(READ_MAX).read_to_end(&mut out)),
    };
    assert!(out.len() as u64 <= READ_MAX);
    (out, read.is_ok())
}
