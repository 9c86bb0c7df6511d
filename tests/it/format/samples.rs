//! Layers for the reader: large files, odd tars, and bytes that are no tar.
//!
//! All are made from numbers, always the same. Knows nothing of the format.

/// The xorshift64 generator.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes that can't be compressed.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|_| self.number().to_le_bytes());
        words.take(count).collect()
    }

    /// Text that can be compressed.
    pub(crate) fn text(&mut self, count: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(count + 16);
        while text.len() < count {
            let number = self.number();
            text.extend(format!("{:x} ", number % 4096).bytes());
            if number.is_multiple_of(17) {
                text.push(b'\n');
            }
        }
        text.truncate(count);
        text
    }
}

/// The layers of a version of the image, and nothing that they have in common
/// with those of another version is the same layer.
pub(crate) fn layers(version: u64) -> Vec<Vec<u8>> {
    let odd = odd(version);
    let mut random = Random(100 + version);
    let mut trailing = small(version);
    trailing.extend(random.bytes(300_000));
    vec![
        large(version),
        many(version),
        cut_off(&odd, 1),
        cut_off(&odd, 300),
        small(version),
        cut_off(&extended(version), 512 + 200),
        random.bytes(700_000),
        random.text(5000),
        trailing,
        cut_off(&truncated_large(version), 1),
        odd,
    ]
}

fn cut_off(bytes: &[u8], from_end: usize) -> Vec<u8> {
    bytes[..bytes.len() - from_end].to_vec()
}

fn header(size: usize, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_mtime(mtime);
    header
}

/// Files that are cut, and that change a little from version to version.
fn large(version: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, body: &[u8]| {
        tar.append_data(&mut header(body.len(), 1_700_000_000 + version), name, body).unwrap();
    };
    add("large.random", &Random(7).bytes(3_000_000));
    let mut text = Random(9).text(6_000_000);
    for place in 1..20 {
        let from = place * 290_000;
        text.splice(from..from, format!("version {version}").bytes());
    }
    add("large.text", &text);
    add("whole.text", &Random(10).text(131_072));
    add("more.text", &Random(11).text(131_073));
    add("zeros", &vec![0; 1_000_000]);
    add("empty", &[]);
    tar.into_inner().unwrap()
}

/// Enough small files for several sections.
fn many(version: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut random = Random(12 + version);
    for number in 0..12_000 {
        let directory = format!("{:016x}/{:016x}", random.number(), random.number());
        let body = if number % 10 == 0 { random.text(700) } else { Vec::new() };
        let mtime = random.number() % 4_000_000_000;
        tar.append_data(&mut header(body.len(), mtime), format!("{directory}/{number}"), &body[..])
            .unwrap();
    }
    tar.into_inner().unwrap()
}

/// GNU long names and links, PAX records, and all kinds of members.
fn small(version: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut random = Random(13 + version);
    tar.append_pax_extensions([("comment", &b"a comment"[..]), ("SCHILY.xattr.user.a", b"b")])
        .unwrap();
    tar.append_data(&mut header(5, 1), "pax", &b"12345"[..]).unwrap();
    let long = "long/".repeat(60);
    tar.append_data(&mut header(7, 2), &long, &b"content"[..]).unwrap();
    for (kind, name, link) in [
        (tar::EntryType::Link, "hard", "pax".to_owned()),
        (tar::EntryType::Symlink, "soft", "../pax".to_owned()),
        (tar::EntryType::Symlink, "soft-long", long),
        (tar::EntryType::Symlink, "soft-100", "l".repeat(100)),
    ] {
        let mut header = header(0, random.number() % (1 << 33));
        header.set_entry_type(kind);
        tar.append_link(&mut header, name, link).unwrap();
    }
    for kind in [tar::EntryType::Directory, tar::EntryType::Fifo, tar::EntryType::Char] {
        let mut header = header(0, version);
        header.set_entry_type(kind);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        tar.append_data(&mut header, "special", std::io::empty()).unwrap();
    }
    let mut ustar = tar::Header::new_ustar();
    ustar.set_size(3);
    let prefixed = format!("{}/{}", "prefix".repeat(20), "name".repeat(25));
    tar.append_data(&mut ustar, prefixed, &b"abc"[..]).unwrap();
    tar.into_inner().unwrap()
}

/// Ends with a PAX header, and two zero blocks.
fn extended(version: u64) -> Vec<u8> {
    let mut tar = small(version);
    tar.truncate(tar.len() - 1024);
    let body = Random(14 + version).text(1000);
    tar.extend(member("x", 'x', [&octal(1000), &octal(version)], 0));
    tar.extend(body);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}

/// A member that tells of more than `whole` and has less.
fn truncated_large(version: u64) -> Vec<u8> {
    let mut tar = small(version);
    tar.truncate(tar.len() - 1024);
    tar.extend(member("f", '0', [&octal(150_000), &octal(version)], 0));
    tar.extend(Random(15 + version).text(120_000));
    tar
}

fn octal(value: u64) -> Vec<u8> {
    format!("{value:011o}\0").into_bytes()
}

/// Each style of number and of checksum, some that no template makes, and
/// padding that isn't zero.
fn odd(version: u64) -> Vec<u8> {
    let mut tar = Vec::new();
    let mtime = 1_000_000 + version;
    let numbers = |value: u64| -> Vec<Vec<u8>> {
        let mut binary = vec![0x80, 0, 0, 0];
        binary.extend(value.to_le_bytes().iter().rev());
        vec![
            octal(value),
            format!("{value:011o} ").into_bytes(),
            binary,
            format!("{:>11} ", format!("{value:o}")).into_bytes(),
            format!("{:>11}\0", format!("{value:o}")).into_bytes(),
            format!("{value:012o}").into_bytes(),
            format!("{value:o}\0").into_bytes(),
        ]
    };
    for (row, size) in numbers(700).iter().enumerate() {
        for (column, mtime) in numbers(mtime).iter().enumerate() {
            let name = format!("odd-{row}-{column}");
            tar.extend(member(&name, '0', [size, mtime], row + column));
            tar.extend(Random(20 + row as u64).text(700));
            let padding = if column % 2 == 0 { 0 } else { b'x' };
            tar.resize(tar.len().next_multiple_of(512), padding);
        }
    }
    let nothing = vec![0; 12];
    tar.extend(member("nothing", '0', [&nothing, &nothing], 0));
    tar.extend(member("last", '0', [&octal(100), &nothing], 0));
    tar.extend(Random(40).text(100));
    tar.resize(tar.len().next_multiple_of(512), b'y');
    tar
}

/// A tar header made by hand.
fn member(name: &str, kind: char, [size, mtime]: [&[u8]; 2], checksum: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, name.as_bytes());
    put(100, b"0000644\x000001750\x000001750\0");
    put(124, size);
    put(136, mtime);
    put(148, b"        ");
    put(156, kind.to_string().as_bytes());
    put(257, b"ustar\x0000somebody");
    put(500, b"by hand");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    let text = match checksum % 5 {
        0 => format!("{sum:06o}\0 "),
        1 => format!("{sum:07o}\0"),
        2 => format!("{sum:06o} \0"),
        3 => format!("{:>6}\0 ", format!("{sum:o}")),
        _ => format!("{sum:08o}"),
    };
    header[148..156].copy_from_slice(text.as_bytes());
    header
}
