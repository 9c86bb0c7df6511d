//! The encoders of gzip: what they emit inflates to what went in, however that
//! was cut or flushed, and on threads as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::gzip::EncoderId;
use orlop_fuzz::gzip::inflate;
use orlop_fuzz::{Plan, expand, pieces, room};

const CONTENT_MAX: usize = 2_500_000;

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let all: Vec<EncoderId> = EncoderId::all().collect();
    let id = plan.pick(&all);
    let mut cuts = Plan::new(plan.take(4));
    let flushed = plan.flag();
    let room = room(&mut plan, CONTENT_MAX);
    let content = expand(&mut plan, room);

    let mut whole = Vec::new();
    let mut encoder = id.encoder();
    encoder.write(&content, &mut whole);
    encoder.finish(&mut whole);
    check(&whole, &content);

    let (mut parts, mut encoder) = (Vec::new(), id.encoder());
    for piece in pieces(&content, &mut cuts) {
        encoder.write(piece, &mut parts);
    }
    if flushed {
        encoder.flush(&mut parts);
    }
    encoder.finish(&mut parts);
    if flushed {
        check(&parts, &content);
    } else {
        assert!(parts == whole, "{id} minds how its input is cut");
    }

    let (mut threaded, mut encoder) = (Vec::new(), id.encoder_on(2));
    for piece in pieces(&content, &mut cuts) {
        encoder.write(piece, &mut threaded);
    }
    encoder.finish(&mut threaded);
    assert!(threaded == whole, "{id} gives another stream on threads");
});

fn check(body: &[u8], content: &[u8]) {
    let (again, end) = inflate(body, content.len()).expect("a body that is whole");
    assert!(again == content, "it inflates to something else");
    assert_eq!(end, body.len(), "something follows the body");
}
