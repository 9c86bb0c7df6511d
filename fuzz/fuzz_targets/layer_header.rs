//! One header block: what a template takes apart comes back, and what any
//! template puts together has a checksum that is right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::layer::header::{BLOCK, Extended, Header, field, parse_number, pax_records, sums};
use orlop::layer::template::{Fields, Keep, TEMPLATE, Template};
use orlop_fuzz::{Plan, tar};

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    match plan.u8() % 3 {
        0 => block(&mut plan),
        1 => template(&mut plan),
        _ => extension(&mut plan),
    }
});

fn block(plan: &mut Plan<'_>) {
    let (style, keep) = (plan.u8(), plan.pick(&[Keep::Nothing, Keep::Content, Keep::Extension]));
    let mut block = [0; BLOCK];
    let taken = plan.take(BLOCK);
    block[..taken.len()].copy_from_slice(taken);
    if style < 0xf0 {
        tar::put_sum(&mut block, style);
    }
    if let Some(header) = Header::parse(&block) {
        let (unsigned, signed) = sums(&block);
        let stored = parse_number(&block[field::CHECKSUM]).expect("it was read before");
        assert!(stored == unsigned || i64::try_from(stored) == Ok(signed));
        assert!(header.size().is_none_or(|size| size <= i64::MAX.unsigned_abs()));
        assert!(header.mtime().is_none_or(|mtime| mtime <= i64::MAX.unsigned_abs()));
        assert!(header.path().len() <= 100 + 155 + 1);
    }
    if let Some((template, fields)) = Template::split(&block, keep) {
        assert_eq!(template.join(&fields), block);
        assert_eq!(Template::from_bytes(*template.as_bytes()), Some(template));
        assert_eq!((template.keep(), template.kind()), (keep, block[field::TYPE]));
        assert!(template.has_link() || fields.link.is_empty());
        assert!(template.has_prefix() || fields.prefix.is_empty());
    }
}

fn template(plan: &mut Plan<'_>) {
    let mut bytes = [0; TEMPLATE];
    // The styles first, which are last in a template.
    for style in &mut bytes[125..] {
        *style = plan.u8();
    }
    let (mtime, size) = (plan.u64(), plan.u64());
    let (name, link, prefix) = (plan.short(), plan.short(), plan.short());
    let taken = plan.take(125);
    bytes[..taken.len()].copy_from_slice(taken);
    let Some(template) = Template::from_bytes(bytes) else { return };
    let block = template.join(&Fields { name, link, prefix, mtime, size });
    let (unsigned, _) = sums(&block);
    assert_eq!(parse_number(&block[field::CHECKSUM]), Some(unsigned));
    assert!(Header::parse(&block).is_some() || unsigned == 256);
}

fn extension(plan: &mut Plan<'_>) {
    let kind = plan.pick(b"xLKg");
    let body = plan.rest();
    let mut length = 0;
    for (key, value) in pax_records(body) {
        length += key.len() + value.len() + 2;
    }
    assert!(length <= body.len());
    let extended = Extended::of(kind, body);
    assert!(kind == b'x' || extended.size.is_none());
    assert!(extended.path.is_none_or(|path| path.len() <= body.len()));
}
