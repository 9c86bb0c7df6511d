//! Tars out of inputs: nearly well-formed ones, which raw bytes hardly ever are.

use orlop::layer::header::{BLOCK, field, sums};

use crate::{Plan, expand, room};

/// What stands for a checksum that is to be put in.
const ANY_SUM: &[u8; 8] = b"????????";

/// An archive of at most about `most` bytes. If the input's first byte is odd,
/// what follows says how to put one together; if it is even, the rest is the
/// archive, where checksums of question marks are put right.
pub fn archive(input: &[u8], most: usize) -> Vec<u8> {
    let mut plan = Plan::new(input);
    if plan.flag() {
        return assemble(&mut plan, most);
    }
    let mut bytes = plan.rest().to_vec();
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        if &block[field::CHECKSUM] == ANY_SUM {
            put_sum(block, 0);
        }
    }
    bytes
}

/// Puts an archive together.
fn assemble(plan: &mut Plan<'_>, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !plan.is_empty() && out.len() < most {
        match plan.u8() % 16 {
            0 => out.resize(out.len() + BLOCK * usize::from(plan.u8() % 4), 0),
            1 => out.extend_from_slice(plan.short()),
            2 => out.resize(out.len().next_multiple_of(BLOCK), 0),
            3 => {
                out.pop();
            }
            _ => member(plan, &mut out, most),
        }
    }
    // Most archives end with zeros, and some inside something.
    if plan.flag() {
        out.resize(out.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    }
    out
}

/// A header, perhaps not quite well formed, and a body, perhaps another one than
/// the header says.
fn member(plan: &mut Plan<'_>, out: &mut Vec<u8>, most: usize) {
    let kinds = *b"00000125xxxgLLKSX7\x00346Z";
    let kind = plan.pick(&kinds);
    let odd = plan.u8();
    let mut block = [0; BLOCK];
    put_text(&mut block[field::NAME], name(plan));
    block[100..124].copy_from_slice(b"0000644\x000000000\x000000000\x00");
    block[field::TYPE] = kind;
    if matches!(kind, b'1' | b'2') || odd & 1 != 0 {
        put_text(&mut block[field::LINK], name(plan));
    }
    let magic: &[u8] = plan.pick(&[b"ustar\x0000", b"ustar  \0", b"\0\0\0\0\0\0\0\0"]);
    block[field::MAGIC].copy_from_slice(magic);
    if odd & 2 != 0 {
        put_text(&mut block[field::PREFIX], name(plan));
    }
    let body = match kind {
        b'x' | b'g' | b'X' => records(plan),
        b'L' | b'K' => [name(plan), b"\0"].concat(),
        b'1'..=b'6' => Vec::new(),
        _ => {
            let room = room(plan, most);
            expand(plan, room.min(most.saturating_sub(out.len())))
        }
    };
    let size = if odd & 4 == 0 { body.len() as u64 } else { plan.u64() >> (plan.u8() & 63) };
    put_number(&mut block[field::SIZE], plan.u8(), size);
    put_number(&mut block[field::MTIME], plan.u8(), u64::from(plan.u16()) << 16);
    if odd & 8 != 0 {
        // Anything, anywhere.
        for _ in 0..plan.u8() % 4 {
            block[usize::from(plan.u16()) % BLOCK] = plan.u8();
        }
    }
    put_sum(&mut block, plan.u8());
    out.extend_from_slice(&block);
    if odd & 16 != 0 && plan.flag() {
        // Further blocks of a sparse map.
        let mut map = [0; BLOCK];
        map[504] = plan.u8() & 1;
        out.extend_from_slice(&map);
    }
    out.extend_from_slice(&body);
    if odd & 32 == 0 {
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    } else {
        out.resize(out.len().next_multiple_of(BLOCK), plan.u8());
    }
}

/// A path: one of a few, so that they meet, or any bytes.
fn name<'a>(plan: &mut Plan<'a>) -> &'a [u8] {
    const NAMES: [&[u8]; 12] = [
        b"a",
        b"a/b",
        b"./a/",
        b"../x",
        b"/abs",
        b"manifest.json",
        b"index.json",
        b"layer.tar",
        b"a/../b",
        b"",
        b".",
        b"link",
    ];
    match usize::from(plan.u8()) {
        known if known < 200 => NAMES[known % NAMES.len()],
        _ => plan.short(),
    }
}

/// Records of an extended header, mostly with the right lengths.
fn records(plan: &mut Plan<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..plan.u8() % 4 {
        let keys = ["path", "size", "linkpath", "mtime", "GNU.sparse.name", "GNU.sparse.major", ""];
        let key = plan.pick(&keys);
        let value = if key == "size" {
            let size = plan.u32() >> (plan.u8() & 31);
            size.to_string().into_bytes()
        } else {
            name(plan).to_vec()
        };
        let mut length = key.len() + value.len() + 3;
        while length != key.len() + value.len() + 3 + length.to_string().len() {
            length = key.len() + value.len() + 3 + length.to_string().len();
        }
        length += usize::from(plan.u8() == 1);
        out.extend_from_slice(format!("{length} {key}=").as_bytes());
        out.extend_from_slice(&value);
        out.push(b'\n');
    }
    out
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Writes a number in one of the ways that there are.
pub fn put_number(field: &mut [u8], style: u8, value: u64) {
    let octal = match style % 8 {
        0..3 => format!("{value:011o}\0"),
        3 => format!("{value:011o} "),
        4 => format!("{value:>11o} "),
        5 => format!("{value:012o}"),
        6 => {
            field[..4].copy_from_slice(&[0x80, 0, 0, 0]);
            return field[4..].copy_from_slice(&value.to_be_bytes());
        }
        _ => return field.fill(0),
    };
    put_text(field, octal.as_bytes());
}

/// Writes the checksum in one of the ways that there are; seldom a wrong one.
pub fn put_sum(block: &mut [u8; BLOCK], style: u8) {
    let (unsigned, signed) = sums(block);
    let text = match style % 16 {
        9 => format!("{unsigned:07o}\0"),
        10 => format!("{unsigned:06o} \0"),
        11 => format!("{unsigned:>6o}\0 "),
        12 if signed >= 0 => format!("{signed:06o}\0 "),
        13 => format!("{:06o}\0 ", unsigned + 1),
        _ => format!("{unsigned:06o}\0 "),
    };
    put_text(&mut block[field::CHECKSUM], text.as_bytes());
}
