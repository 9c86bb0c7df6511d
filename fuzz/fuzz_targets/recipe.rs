//! Recipes: there is one way to write each, and virtual numbers mean what their
//! spans say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::chunk::recipe::{Body, Names, Recipe, Span};
use orlop::digest::Id;
use orlop::varint::{self, Cursor};
use orlop_fuzz::Plan;

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    match plan.u8() % 4 {
        0 | 1 => bytes(plan.rest(), &mut Plan::new(input)),
        2 => names(&mut plan),
        _ => numbers(plan.rest()),
    }
});

fn bytes(chunk: &[u8], plan: &mut Plan<'_>) {
    let Ok(recipe) = Recipe::decode(chunk) else { return };
    assert!(recipe.encode() == chunk, "written in another way");
    if let Body::Chunks(names) | Body::Tar(names) = &recipe.body {
        for _ in 0..4 {
            let (first, count) = (plan.u64() >> (plan.u8() & 63), plan.u8().into());
            check(names, first, count);
        }
    }
}

/// Names that are well formed, and ranges that lie near their spans.
fn names(plan: &mut Plan<'_>) {
    let directories: Vec<Id> = (0..=plan.u8() % 4).map(|number| Id::of(&[number])).collect();
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for _ in 0..plan.u8() % 12 {
        let span = Span {
            virtual_first: end + u64::from(plan.u8() / 64),
            directory: u32::try_from(plan.below(directories.len())).unwrap_or_default(),
            first: plan.u8().into(),
            count: u32::from(plan.u8() % 8),
        };
        end = span.virtual_first + u64::from(span.count);
        spans.push(span);
    }
    let names = Names { directories, spans, sections: Vec::new() };
    for _ in 0..8 {
        check(&names, u64::from(plan.u8()) % (end + 2), u64::from(plan.u8() % 40));
    }
    let digest = orlop::digest::Digest::of(b"");
    let recipe = Recipe { digest, size: plan.u64(), body: Body::Tar(names) };
    assert_eq!(Recipe::decode(&recipe.encode()), Ok(recipe));
}

/// Compares with looking up number by number.
fn check(names: &Names, first: u64, count: u64) {
    let lookup = |number: u64| {
        let holds = |span: &&Span| {
            number >= span.virtual_first && number - span.virtual_first < span.count.into()
        };
        let span = names.spans.iter().find(holds)?;
        let skipped = u32::try_from(number - span.virtual_first).ok()?;
        Some((names.directories[span.directory as usize], span.first + skipped))
    };
    let numbers = first.checked_add(count).map(|end| first..end);
    let expected: Option<Vec<_>> = numbers.and_then(|mut numbers| {
        numbers.try_fold(Vec::new(), |mut found, number| {
            found.push(lookup(number)?);
            Some(found)
        })
    });
    let found = names.resolve(first, count).ok().map(|runs| {
        let chunks = |run: &orlop::chunk::recipe::Run| {
            let directory = run.directory;
            (run.first..run.first + run.count).map(move |position| (directory, position))
        };
        runs.iter().flat_map(chunks).collect::<Vec<_>>()
    });
    assert_eq!(found, expected, "{count} from {first}");
}

/// The integers that all of this is made of.
fn numbers(bytes: &[u8]) {
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let before = cursor.rest();
        let Ok(value) = cursor.varint() else { return };
        let mut again = Vec::new();
        varint::put(&mut again, value);
        assert_eq!(again, before[..before.len() - cursor.rest().len()]);
        let signed = Cursor::new(before).signed().expect("a varint");
        let mut again = Vec::new();
        varint::put_signed(&mut again, signed);
        assert!(before.starts_with(&again));
    }
}
