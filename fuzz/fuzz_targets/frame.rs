//! Frames: what was encoded decodes to the same, and a payload from anywhere to
//! what its header says, or not at all.

#![no_main]

use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use orlop::codec::{Compressor, Levels};
use orlop::digest::Id;
use orlop::pack::format::{Codec, FrameHeader, FrameKind};
use orlop::pack::frame::{RawFrame, decode, encode};
use orlop_fuzz::{Plan, expand, mutate, room};

/// One for all runs, as a store has it.
static COMPRESSOR: Mutex<Option<Compressor>> = Mutex::new(None);

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let room = room(&mut plan, 300_000);
    let prefix = if plan.flag() { expand(&mut plan, room) } else { Vec::new() };
    if plan.u8().is_multiple_of(4) {
        return foreign(&mut plan, &prefix);
    }
    let raw = expand(&mut plan, room);
    if raw.is_empty() {
        return;
    }
    let (header, mut payload) = whole(&raw, &prefix, &mut plan);
    assert!(
        decode(&header, &payload, &prefix_of(&header, &prefix)).is_ok_and(|again| again == raw)
    );
    if mutate(&mut payload, &mut plan) {
        assert!(decode(&header, &payload, &prefix).is_err(), "its hash is wrong");
        check(header, &payload, &prefix);
    }
});

/// Encodes a frame, and reads its header again.
fn whole(raw: &[u8], prefix: &[u8], plan: &mut Plan<'_>) -> (FrameHeader, Vec<u8>) {
    let mut frame = RawFrame::default();
    let mut rest = raw;
    while !rest.is_empty() {
        let length = (1 + usize::from(plan.u16())).max(raw.len() / 64).min(rest.len());
        let (chunk, later) = rest.split_at(length);
        assert!(frame.has_room(length));
        frame.push(Id::of(chunk), chunk);
        rest = later;
    }
    if !prefix.is_empty() {
        frame.base.push(Id::of(prefix), plan.u8().into(), prefix.len());
        frame.base.depth = 1;
    }
    let found = prefix.to_vec();
    let unreadable = plan.u8() == 1;
    let find = move |_: &[_]| if unreadable { None } else { Some(found.clone()) };
    let mut compressor = COMPRESSOR.lock().expect("no run fails and goes on");
    let compressor = compressor
        .get_or_insert_with(|| Compressor::new(Levels::for_content(3)).expect("a level that is"));
    let lengths = frame.lengths.clone();
    let encoded = encode(FrameKind::Content, frame, compressor, &find).expect("it is in bounds");
    let (header, payload) = encoded.bytes.split_at(encoded.entry.header_len as usize);
    let header = FrameHeader::decode(header).expect("what was written");
    assert_eq!(header.lengths, lengths);
    assert_eq!(header.depth, encoded.entry.depth);
    assert!(payload.len() <= raw.len());
    (header, payload.to_vec())
}

fn prefix_of(header: &FrameHeader, prefix: &[u8]) -> Vec<u8> {
    if header.depth == 0 { Vec::new() } else { prefix.to_vec() }
}

/// A payload of any bytes.
fn foreign(plan: &mut Plan<'_>, prefix: &[u8]) {
    let raw_len = 1 + (plan.u32() >> (10 + plan.u8() % 22));
    let codec = plan.pick(&[Codec::Stored, Codec::Zstd]);
    let header = FrameHeader {
        kind: FrameKind::Content,
        codec,
        depth: 0,
        stored_len: 0,
        raw_len,
        payload: Id::of(b""),
        bases: Vec::new(),
        lengths: vec![raw_len],
    };
    check(header, plan.rest(), prefix);
}

/// Decodes a payload whose hash is right.
fn check(mut header: FrameHeader, payload: &[u8], prefix: &[u8]) {
    header.payload = Id::of(payload);
    header.stored_len = u32::try_from(payload.len()).unwrap_or_default();
    let Ok(raw) = decode(&header, payload, prefix) else { return };
    assert_eq!(raw.len(), header.raw_len as usize);
    if header.codec == Codec::Zstd {
        let length = zstd::zstd_safe::find_frame_compressed_size(payload);
        assert_eq!(length.ok(), Some(payload.len()), "more than one frame");
    }
}
