//! The split of a layer: any bytes come back, and however they were cut into
//! pieces, their parts are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::layer::section::Section;
use orlop_fuzz::{Plan, pieces, split, tar};

fuzz_target!(|input: &[u8]| {
    let layer = tar::archive(input, 1 << 20);
    let parts = split::split([layer.as_slice()]);
    let size = layer.len() as u64;
    let (again, left) =
        split::rebuild(&parts.sections, &parts.content, size).expect("what was split");
    assert!(again == layer, "another layer comes back");
    assert!(left.is_empty(), "content is left over");
    for section in &parts.sections {
        let mut section = Section::parse(section).expect("what was written");
        assert_eq!(section.next_run(), Ok(None));
    }

    // Cuts are told by the end of the input, which the layer's beginning isn't.
    let mut cuts = Plan::new(&input[input.len().saturating_sub(4)..]);
    let other = split::split(pieces(&layer, &mut cuts));
    assert_eq!(other.sections, parts.sections);
    assert_eq!(other.contents, parts.contents);
    assert_eq!(other.paths, parts.paths);
    assert!(other.content == parts.content);

    // One that is longer than what there is can't be made.
    assert!(split::rebuild(&parts.sections, &parts.content, size + 512).is_err());
});
