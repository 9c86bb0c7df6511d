//! The search for an encoder: what it finds makes the same stream, and it finds
//! one for every stream that one of them made.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::gzip::{EncoderId, NoReplay, Rebuild, Replay, prove};
use orlop_fuzz::gzip::{Flate2, trailer};
use orlop_fuzz::{InPieces, Plan, expand, mutate, pieces, room};

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let mut cuts = Plan::new(plan.take(4));
    if plan.u8().is_multiple_of(8) {
        drop(check(plan.rest(), &mut cuts));
        return;
    }
    let all: Vec<EncoderId> = EncoderId::all().collect();
    let encoder = plan.pick(&all);
    let flushes = plan.u8().is_multiple_of(4);
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    // The end of a body that was not flushed may look as if it had been.
    let mut certain = true;
    for _ in 0..=plan.below(3) {
        stream.extend_from_slice(&header(&mut plan, encoder.name()));
        let room = room(&mut plan, 400_000);
        let content = expand(&mut plan, room);
        if plan.u8().is_multiple_of(8) {
            let level = flate2::Compression::new(u32::from(plan.u8() % 7));
            let mut zlib = flate2::write::DeflateEncoder::new(&mut stream, level);
            std::io::Write::write_all(&mut zlib, &content).expect("memory can be written");
            zlib.finish().expect("memory can be written");
            certain = false;
        } else {
            let mut encoder = encoder.encoder();
            encoder.write(&content, &mut stream);
            if flushes {
                encoder.flush(&mut stream);
            }
            encoder.finish(&mut stream);
            let end = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
            certain &=
                flushes || !(stream.ends_with(&end) || stream.ends_with(&[0, 0, 0xff, 0xff, 3, 0]));
        }
        stream.extend_from_slice(&trailer(&content));
        expected.extend_from_slice(&content);
    }
    let changed = mutate(&mut stream, &mut plan);
    let found = check(&stream, &mut cuts);
    if certain && !changed {
        match found {
            Ok((replay, content)) => assert!(content == expected, "{} has another", replay.encoder),
            Err(error) => panic!("a stream of {encoder}: {error}"),
        }
    }
});

/// A header that doesn't rule the encoder out.
fn header(plan: &mut Plan<'_>, encoder: &str) -> Vec<u8> {
    let effort = match encoder.as_bytes().last() {
        Some(b'9') => 2,
        Some(b'1') => 4,
        _ => 0,
    };
    let flags = plan.pick(&[0, 0, 0, 4, 8, 16, 2, 30]);
    let mut header = vec![0x1f, 0x8b, 8, flags];
    header.extend_from_slice(&plan.pick(&[[0; 4], [0, 9, 0x6e, 0x88], [1, 2, 3, 4]]));
    header.extend_from_slice(&[plan.pick(&[effort, 1]), 255]);
    if flags & 4 != 0 {
        let extra = plan.short();
        header.extend_from_slice(&[(extra.len() & 255) as u8, 0]);
        header.extend_from_slice(extra);
    }
    for text in [8, 16] {
        if flags & text != 0 {
            header.extend(plan.short().iter().filter(|byte| **byte != 0));
            header.push(0);
        }
    }
    if flags & 2 != 0 {
        header.extend_from_slice(&plan.u16().to_le_bytes());
    }
    header
}

/// Looks for the encoder of a stream, and makes it again by what was found.
fn check(stream: &[u8], cuts: &mut Plan<'_>) -> Result<(Replay, Vec<u8>), NoReplay> {
    let input = InPieces::new(pieces(stream, cuts));
    let mut content = Vec::new();
    let mut take = |piece: &[u8]| content.extend_from_slice(piece);
    let replay = prove(input, &mut Flate2::default(), &mut take)?;
    assert_eq!(replay.content_length(), content.len() as u64);
    assert_eq!(Replay::from_bytes(&replay.to_bytes()).as_ref(), Ok(&replay));
    let (mut rebuild, mut again) = (Rebuild::new(replay.clone()), Vec::new());
    for piece in pieces(&content, cuts) {
        assert!(rebuild.write(piece, &mut again).is_ok());
    }
    assert!(rebuild.finish(&mut again).is_ok());
    assert!(again == stream, "{} makes another stream", replay.encoder);
    Ok((replay, content))
}
