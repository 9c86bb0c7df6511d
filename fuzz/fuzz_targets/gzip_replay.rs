//! Headers of gzip members, and descriptions of streams: read in one way only,
//! and what they describe can be made.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::gzip::{EncoderId, Member, NotAHeader, Rebuild, Replay, candidates, header_length};
use orlop::varint;
use orlop_fuzz::gzip::inflate;
use orlop_fuzz::{Plan, expand, pieces};

/// So that a run doesn't take long.
const CONTENT_MAX: u64 = 1 << 18;
const MEMBERS_MAX: usize = 16;

/// How every header begins; it isn't stored.
const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    match plan.u8() % 3 {
        0 => header(plan.rest()),
        1 => bytes(plan.rest()),
        _ => description(&mut plan),
    }
});

fn header(bytes: &[u8]) {
    let whole = header_length(bytes);
    // A header is told by as few bytes as it has, and never by fewer.
    for length in 0..bytes.len().min(300) {
        match (header_length(&bytes[..length]), whole) {
            (Ok(None), _) | (Err(NotAHeader), Err(NotAHeader)) => {}
            (Ok(Some(end)), Ok(Some(other))) => assert!(end == other && end <= length),
            (found, whole) => panic!("{found:?} of {length} bytes, {whole:?} of all"),
        }
    }
    if let Ok(Some(length)) = whole {
        assert!(length >= 10 && length <= bytes.len());
        assert_eq!(header_length(&bytes[..length]), whole);
        assert!(!candidates(&bytes[..length]).is_empty());
    }
}

fn bytes(bytes: &[u8]) {
    let Ok(replay) = Replay::from_bytes(bytes) else { return };
    assert!(replay.to_bytes() == bytes, "written in another way");
    make(&replay, bytes);
}

/// A description with a name that there is.
fn description(plan: &mut Plan<'_>) {
    let all: Vec<EncoderId> = EncoderId::all().collect();
    let encoder = plan.pick(&all);
    let members = 1 + plan.below(4);
    let member = |number| Member {
        // Without one, it is that of the member before.
        header: (number == 0 || plan.flag()).then(|| [MAGIC, plan.short()].concat()),
        length: u64::from(plan.u16() >> (plan.u8() & 15)),
        flushed: plan.flag(),
        trailer: plan.flag().then(|| plan.u64().to_le_bytes()),
    };
    let replay = Replay { encoder, members: (0..members).map(member).collect() };
    let bytes = replay.to_bytes();
    assert_eq!(Replay::from_bytes(&bytes).as_ref(), Ok(&replay));
    for length in 0..bytes.len() {
        assert!(Replay::from_bytes(&bytes[..length]).is_err(), "it is complete without its end");
    }
    make(&replay, plan.rest());
}

/// Makes the stream, and takes it apart by what was said of it.
fn make(replay: &Replay, input: &[u8]) {
    let length = replay.content_length();
    if length > CONTENT_MAX || replay.members.len() > MEMBERS_MAX {
        return;
    }
    let mut content = expand(&mut Plan::new(input), CONTENT_MAX as usize);
    content.resize(usize::try_from(length).unwrap_or_default(), b'.');

    let (mut rebuild, mut stream) = (Rebuild::new(replay.clone()), Vec::new());
    for piece in pieces(&content, &mut Plan::new(input)) {
        assert!(rebuild.write(piece, &mut stream).is_ok());
    }
    assert!(rebuild.finish(&mut stream).is_ok());
    let mut too_much = Rebuild::new(replay.clone());
    assert!(too_much.write(&content, &mut Vec::new()).is_ok());
    assert!(too_much.write(b"x", &mut Vec::new()).is_err());
    let too_little = Rebuild::new(replay.clone()).finish(&mut Vec::new());
    assert_eq!(too_little.is_ok(), length == 0);

    let (mut stream, mut content) = (stream.as_slice(), content.as_slice());
    let mut header: &[u8] = &[];
    for member in &replay.members {
        header = member.header.as_deref().unwrap_or(header);
        stream = stream.strip_prefix(header).expect("the header as it is");
        let (body, end) = inflate(stream, CONTENT_MAX as usize).expect("a body that is whole");
        assert_eq!(varint::len64(&body), member.length);
        content = content.strip_prefix(body.as_slice()).expect("the content as it is");
        let (trailer, rest) = stream[end..].split_first_chunk::<8>().expect("a trailer");
        if let Some(given) = &member.trailer {
            assert_eq!(trailer, given, "the trailer as it is");
        }
        stream = rest;
    }
    assert!(stream.is_empty() && content.is_empty());
}
