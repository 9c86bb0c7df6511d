//! Tests of finding the encoder, and of making streams again.

use super::super::{
    EncoderId, Inflater, Member, NoReplay, Rebuild, Replay, ReplayError, prove, prove_on,
};
use super::{gzip, id, inputs};

/// Proves `stream`, and checks that it comes back through bytes.
pub(crate) fn check(stream: &[u8]) -> Result<Replay, NoReplay> {
    let mut content = Vec::new();
    let replay =
        prove(stream, &mut Inflater::new(), &mut |piece: &[u8]| content.extend_from_slice(piece))?;
    assert_eq!(replay.content_length(), content.len() as u64);
    assert_eq!(Replay::from_bytes(&replay.to_bytes()), Ok(replay.clone()));
    let (mut rebuild, mut out) = (Rebuild::new(replay.clone()), Vec::new());
    for piece in content.chunks(100_000) {
        rebuild.write(piece, &mut out).unwrap();
    }
    rebuild.finish(&mut out).unwrap();
    assert!(out == stream, "made again with other bytes");

    let mut lengths = 0;
    let again =
        prove_on(2, stream, &mut Inflater::new(), &mut |piece: &[u8]| lengths += piece.len());
    assert_eq!((again.unwrap(), lengths), (replay.clone(), content.len()));
    let (mut rebuild, mut out) = (Rebuild::on_threads(replay.clone(), 2), Vec::new());
    rebuild.write(&content, &mut out).unwrap();
    rebuild.finish(&mut out).unwrap();
    assert!(out == stream, "made again with other bytes by threads");
    Ok(replay)
}

#[test]
fn each_encoder_is_found() {
    let input = [inputs::mixed(1_500_000), inputs::named("W(200000)")].concat();
    for id in EncoderId::all() {
        // The versions b and c rarely differ, and not here.
        let found = check(&gzip(id, &input)).unwrap().encoder.name();
        assert_eq!(found, id.name().replace("-c", "-b"));
    }
}

#[test]
fn small_streams_come_back() {
    for input in ["Z(0)", "Z(1)", "A(40)", "T(300)", "R(5000)", "Z(65536)", "Z(1200000)"] {
        for id in EncoderId::all() {
            let found = check(&gzip(id, &inputs::named(input)));
            assert!(found.is_ok(), "{id} {input}: {found:?}");
        }
    }
}

#[test]
fn members_and_fields_are_kept() {
    let nine = id("go-flate-9");
    let mut first = gzip(nine, &inputs::named("T(100000)"));
    first[3] = 8 | 4;
    first.splice(10..10, *b"\x02\0SGname\0");
    let second = gzip(nine, &[]);
    let third = gzip(nine, &inputs::named("M(400000)"));
    let stream = [first, second, third].concat();
    let replay = check(&stream).unwrap();
    assert_eq!(replay.encoder, nine);
    let lengths: Vec<_> = replay.members.iter().map(|member| member.length).collect();
    assert_eq!(lengths, [100_000, 0, 400_000]);
    assert_eq!(replay.members[0].header.as_ref().map(Vec::len), Some(19));
    assert_eq!(replay.members[2].header, None);
    assert!(replay.members.iter().all(|member| member.trailer.is_none()));

    let other = [stream, gzip(id("go-flate-6"), &inputs::named("T(100000)"))].concat();
    assert!(matches!(check(&other), Err(NoReplay::OtherEncoder { .. })));
}

#[test]
fn flushes_before_the_end_are_kept() {
    for name in ["go-flate-6", "go-flate-1", "go127-flate-6", "klauspost-a1"] {
        for input in ["Z(0)", "Z(1)", "T(300)", "M(400000)", "Z(65535)"] {
            let input = inputs::named(input);
            let (mut encoder, mut stream) = (id(name).encoder(), gzip(id(name), &input));
            let trailer = stream.split_off(stream.len() - 8);
            stream.truncate(10);
            encoder.write(&input, &mut stream);
            encoder.flush(&mut stream);
            encoder.finish(&mut stream);
            stream.extend(trailer);
            assert!(check(&stream).unwrap().members[0].flushed, "{name}");
        }
    }
}

#[test]
fn streams_of_others_are_refused() {
    use std::io::Write;
    let input = inputs::named("M(1048581)");
    for level in [1, 6, 9] {
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&input).unwrap();
        let stream = encoder.finish().unwrap();
        assert!(matches!(check(&stream), Err(NoReplay::OtherEncoder { .. })), "level {level}");
    }
}

#[test]
fn the_first_difference_is_told() {
    // Other bits in the last block: the same content, another stored length's padding.
    let mut stream = gzip(id("go-flate-6"), &inputs::named("R(300000)"));
    let at = stream.len() - 8 - 5;
    assert_eq!(stream[at..at + 5], [1, 0, 0, 0xff, 0xff]);
    stream[at] |= 0x80;
    match check(&stream) {
        Err(NoReplay::OtherEncoder { nearest: Some((nearest, place)) }) => {
            assert_eq!((nearest, place), (id("go-flate-6"), at as u64));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_stream_is_refused() {
    let stream = gzip(id("pgzip-a"), &inputs::named("T(70000)"));
    assert!(matches!(check(b""), Err(NoReplay::Truncated)));
    assert!(matches!(check(b"PK\x03\x04"), Err(NoReplay::NotGzip(0))));
    for cut in [1, 5, 12, 9000, stream.len() - 9, stream.len() - 1] {
        let error = check(&stream[..cut]).unwrap_err();
        let likely = matches!(error, NoReplay::Truncated | NoReplay::OtherEncoder { .. });
        assert!(likely, "cut at {cut}: {error}");
    }
    let longer = [&stream[..], b"\0"].concat();
    let end = stream.len() as u64;
    assert!(matches!(check(&longer), Err(NoReplay::NotGzip(at)) if at == end));
    let mut damaged = stream;
    damaged[10] = 0xff;
    assert!(matches!(check(&damaged), Err(NoReplay::Damaged)));
}

#[test]
fn endless_flushes_do_not_fill_memory() {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let flushes = [0, 0, 0, 0xff, 0xff].repeat(3_000_000);
    let stream = [&header[..], &flushes, &[3, 0], &[0; 8]].concat();
    assert!(matches!(check(&stream), Err(NoReplay::OtherEncoder { .. })));
}

#[test]
fn only_as_much_content_as_there_was() {
    let replay = check(&gzip(id("go-flate-6"), b"content")).unwrap();
    let mut out = Vec::new();
    let mut rebuild = Rebuild::new(replay.clone());
    assert!(rebuild.write(b"content and more", &mut out).is_err());
    let mut rebuild = Rebuild::new(replay);
    rebuild.write(b"cont", &mut out).unwrap();
    assert!(rebuild.finish(&mut out).is_err());
}

#[test]
fn trailers_that_say_something_else_are_kept() {
    let mut stream = gzip(id("go127-flate-6"), b"content");
    let end = stream.len();
    stream[end - 1] ^= 1;
    let replay = check(&stream).unwrap();
    assert_eq!(replay.members[0].trailer.as_ref().map(|trailer| trailer[7]), Some(1));
}

#[test]
fn usual_members_cost_a_few_bytes() {
    let nine = id("go-flate-9");
    let files: Vec<_> = (0..50).map(|at| gzip(nine, &inputs::mixed(1000 + 37 * at))).collect();
    let whole = check(&files.concat()).unwrap();
    assert_eq!(whole.to_bytes().len(), 13 + 10 + 49 * 3);
    assert!(check(&files[0]).unwrap().to_bytes().len() <= 25);
}

#[test]
fn too_many_members_are_refused() {
    let one = gzip(id("go-flate-6"), b"");
    let few = check(&one.repeat(250_000)).unwrap();
    assert!(few.to_bytes().len() <= 512 << 10);
    assert!(matches!(check(&one.repeat(270_000)), Err(NoReplay::TooManyMembers)));
}

#[test]
fn damaged_replays_are_refused() {
    let header = Some(b"\x1f\x8b\x08header".to_vec());
    let member = Member { header, length: 5, flushed: true, trailer: Some([7; 8]) };
    let plain = Member { header: None, length: 300, flushed: false, trailer: None };
    let encoder = id("pgzip-b");
    let members = vec![member, plain.clone(), plain];
    let replay = Replay { encoder, members };
    let bytes = replay.to_bytes();
    let member = b"\x35header\x05\x07\x07\x07\x07\x07\x07\x07\x07";
    let expected = [b"\x07pgzip-b\x01\x03", &member[..], b"\x02\xac\x02\x02\xac\x02"].concat();
    assert_eq!(bytes, expected);
    assert_eq!(Replay::from_bytes(&bytes), Ok(replay.clone()));
    for cut in 0..bytes.len() {
        assert!(Replay::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Replay::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let without = Replay { members: replay.members[1..].to_vec(), ..replay.clone() };
    assert!(Replay::from_bytes(&without.to_bytes()).is_err(), "no header to begin with");
    let none = Replay { members: Vec::new(), ..replay };
    assert!(Replay::from_bytes(&none.to_bytes()).is_err(), "no members");
    for at in 1..9 {
        let mut other = bytes.clone();
        other[at] ^= 2;
        let error = Replay::from_bytes(&other).unwrap_err();
        assert!(matches!(error, ReplayError::Unknown { .. }), "{error}");
    }
}

#[test]
fn names_stay() {
    let names: Vec<_> = EncoderId::all().map(EncoderId::name).collect();
    for name in [
        "go-flate-1",
        "go-flate-2",
        "go-flate-3",
        "go-flate-4",
        "go-flate-5",
        "go-flate-6",
        "go-flate-7",
        "go-flate-8",
        "go-flate-9",
        "go127-flate-1",
        "go127-flate-6",
        "pgzip-a",
        "pgzip-b",
        "pgzip-c",
        "pgzip-o",
        "pgzip-a6",
        "pgzip-b6",
        "pgzip-o6",
        "pgzip-a1",
        "pgzip-b1",
        "klauspost-a1",
        "klauspost-a5",
        "klauspost-a6",
        "klauspost-b5",
        "klauspost-c5",
        "klauspost-o5",
        "gnu-gzip-1",
        "gnu-gzip-2",
        "gnu-gzip-3",
        "gnu-gzip-4",
        "gnu-gzip-5",
        "gnu-gzip-6",
        "gnu-gzip-7",
        "gnu-gzip-8",
        "gnu-gzip-9",
        "pigz-1",
        "pigz-6",
        "pigz-9",
        "zlib-1",
        "zlib-2",
        "zlib-3",
        "zlib-4",
        "zlib-5",
        "zlib-6",
        "zlib-7",
        "zlib-8",
        "zlib-9",
    ] {
        assert!(names.contains(&name), "{name}");
        assert_eq!(id(name).name(), name);
    }
    assert_eq!(names.len(), 47);
    assert_eq!(EncoderId::named("gzip"), None);
}
