//! Cuts: as docs/FORMAT.md section 8 says, and the same however a content comes.

#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use orlop::chunk::cutter::{AVERAGE, Cutter, MAX, MIN, WHOLE, lengths};
use orlop::digest::Id;
use orlop_fuzz::{Plan, expand, pieces};

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let seed = [b"orlop gear ".as_slice(), &[(byte & 0xff) as u8]].concat();
        Plan::new(Id::of(&seed).as_bytes()).u64()
    })
});

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let mut cuts = Plan::new(plan.take(5));
    let known = cuts.flag();
    // What is short is one chunk.
    let room = plan.pick(&[100_000, 200_000, 400_000, 400_000, 800_000]);
    let content = expand(&mut plan, room);
    let expected = model(&content);
    assert_eq!(lengths(&content), expected);

    let mut cutter = Cutter::default();
    // Something else before, of which nothing may be left.
    cutter.begin(None);
    let Ok(()) = cutter.push(&content[..content.len().min(1000)], |_| Ok::<_, Infallible>(()));
    let mut chunks: Vec<u8> = Vec::new();
    let mut found = Vec::new();
    let mut emit = |chunk: &[u8]| {
        found.push(chunk.len());
        chunks.extend_from_slice(chunk);
        Ok::<_, Infallible>(())
    };
    cutter.begin(known.then_some(content.len() as u64));
    for piece in pieces(&content, &mut cuts) {
        let Ok(()) = cutter.push(piece, &mut emit);
    }
    let Ok(()) = cutter.finish(&mut emit);
    assert_eq!(found, expected);
    assert!(chunks == content, "the chunks are another content");
});

/// Section 8 as it stands there.
fn model(content: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    if content.len() <= WHOLE {
        lengths.extend((!content.is_empty()).then_some(content.len()));
        return lengths;
    }
    let mut rest = content;
    while !rest.is_empty() {
        let end = rest.len().min(MAX);
        let mut state: u64 = 0;
        let found = (MIN + 1..=end).find(|&length| {
            state = (state << 1).wrapping_add(GEAR[usize::from(rest[length - 1])]);
            state >> (if length <= AVERAGE { 46 } else { 50 }) == 0
        });
        let length = found.unwrap_or(end);
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}
