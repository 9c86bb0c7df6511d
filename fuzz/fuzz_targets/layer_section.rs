//! Sections from anywhere: what they make is as long as was asked for, or it is
//! an error; and it is a layer like any other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::layer::section::{Operation, Section};
use orlop::varint;
use orlop_fuzz::{Plan, split};

const COLUMNS: usize = 10;

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let count = 1 + plan.below(3);
    let size = u64::from(plan.u32() >> (12 + plan.u8() % 20));
    let available = usize::from(plan.u16()) * 8;
    let sections: Vec<Vec<u8>> = (0..count).map(|_| section(&mut plan)).collect();

    for bytes in &sections {
        if let Ok(section) = Section::parse(bytes) {
            read(section, bytes.len());
        }
    }
    let content: Vec<u8> = (0..available).map(|at| (at * 7) as u8).collect();
    let Ok((layer, left)) = split::rebuild(&sections, &content, size) else { return };
    assert_eq!(layer.len() as u64, size);
    assert!(left.len() <= content.len());
    let parts = split::split([layer.as_slice()]);
    let (again, _) = split::rebuild(&parts.sections, &parts.content, size).expect("what was split");
    assert!(again == layer, "another layer comes back");
});

/// A section with the right lengths of its columns, or any bytes.
fn section(plan: &mut Plan<'_>) -> Vec<u8> {
    if plan.u8() == 255 {
        return plan.rest().to_vec();
    }
    let columns: [&[u8]; COLUMNS] = std::array::from_fn(|number| match number {
        // Whole templates.
        7 => {
            let count = plan.below(3);
            plan.take(129 * count)
        }
        _ => plan.short(),
    });
    let mut out = vec![1];
    for column in columns {
        varint::put(&mut out, column.len() as u64);
    }
    out.extend(columns.concat());
    out
}

/// Reads all that a section holds.
fn read(section: Section<'_>, length: usize) {
    let mut runs = section.clone();
    let mut count = 0;
    while let Ok(Some((first, chunks))) = runs.next_run() {
        assert!(chunks > 0 && first.checked_add(chunks).is_some());
        count += 1;
    }
    let mut operations = section;
    let (mut pending, mut kept) = (0, 0);
    while let Ok(Some(operation)) = operations.next_operation(pending) {
        let before = std::mem::take(&mut pending);
        count += 1;
        match operation {
            Operation::Raw(bytes) => kept += bytes.len(),
            Operation::Padding(bytes) => {
                assert_eq!(bytes.len() as u64, before);
                kept += bytes.len();
            }
            Operation::Header { extension, content, padding, .. } => {
                assert!(padding < 512 && (content == 0 || extension.is_empty()));
                kept += extension.len();
                pending = padding;
            }
            Operation::Zeros(_) | Operation::Content(_) => {}
        }
    }
    assert!(count <= length && kept <= length, "more is read than there is");
}
