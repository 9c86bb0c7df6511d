//! Arbitrary layers: tars of every dialect, odd in every field, and bytes that are
//! no tar at all.
//!
//! Headers are laid out by hand, since no library writes what some archives hold.
//! Bodies are drawn from a few streams, so that layers have content in common.
//! Guarantees that no layer begins like compressed data. Doesn't know how a layer
//! is taken apart.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const BLOCK: usize = 512;
const USTAR: [u8; 8] = *b"ustar\x0000";
const GNU: [u8; 8] = *b"ustar  \0";

/// Few, so that they come more than once in a layer.
const NAMES: [&[u8]; 10] = [
    b"etc/passwd",
    b"usr/bin/tool",
    b"/absolute",
    b"../outside",
    b"dir/",
    b".wh.gone",
    b"caf\xe9",
    b"",
    b"{\"not\": \"json\"}",
    b"a/very/long/name/that/fills/the/whole/field/of/one/hundred/bytes/with/no/zero/at/its/end/of/it/all/x",
];

/// What a member is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A header with this type flag, and a body if the flag has one.
    Plain(u8),
    /// Before POSIX: no magic, and zero as type flag.
    Version7,
    /// Long name, or long link, as GNU tar writes them.
    GnuLong(u8),
    /// A PAX header, for one file or all.
    Pax(u8),
    /// A PAX size that the header does not repeat.
    PaxSize,
    /// Sparse as GNU tar writes it, with so many further header blocks.
    OldSparse(u8),
    /// Sparse in PAX records, version 0.1 or 1.0.
    PaxSparse(bool),
}

/// How a number stands in its field.
#[derive(Debug, Clone, Copy)]
enum Number {
    Octal,
    OctalSpace,
    Spaces,
    Full,
    Base256,
    Negative,
    Junk,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: Kind,
    name: &'static [u8],
    body: Vec<u8>,
    size: Number,
    mtime: Number,
    owner: Number,
    filler: u8,
    seven_digits: bool,
    broken: bool,
}

/// How a tar ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Blocks(usize),
    Record,
    Nothing,
    Cut(Index),
    Junk(u8, usize),
}

/// Bytes from one of a few endless streams; every other one compresses well.
pub(crate) fn body(stream: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(stream);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        if stream.is_multiple_of(2) {
            bytes.extend_from_slice(if word[0] < 128 { b"a line " } else { &word[..2] });
        } else {
            bytes.extend_from_slice(&word);
        }
    }
    bytes.truncate(length);
    bytes
}

/// A layer: mostly a tar, sometimes anything else.
pub(crate) fn layer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        16 => tar(),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 1..3000),
        1 => (0..6_u8, 1..5000_usize).prop_map(|(stream, length)| {
            [b"{\"layers\": [1, 2]}".as_slice(), &body(stream, length)].concat()
        }),
        1 => (1..3000_usize).prop_map(|length| vec![0; length]),
    ]
    .prop_map(|mut bytes| {
        // Its first bytes would have it refused as compressed.
        if orlop::image::sniff(&bytes).is_some() {
            bytes[0] = b'x';
        }
        bytes
    })
}

fn tar() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![
        4 => (0..4_usize).prop_map(End::Blocks),
        2 => Just(End::Record),
        1 => Just(End::Nothing),
        2 => any::<Index>().prop_map(End::Cut),
        2 => (any::<u8>(), 1..2000_usize).prop_map(|(stream, length)| End::Junk(stream, length)),
    ];
    (vec(entry(), 0..7), end).prop_map(|(entries, end)| {
        let mut bytes: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
        let length = bytes.len();
        match end {
            End::Blocks(count) => bytes.resize(length + count * BLOCK, 0),
            End::Record => bytes.resize((length + 1).next_multiple_of(20 * BLOCK), 0),
            End::Nothing => {}
            End::Cut(at) => bytes.truncate(at.index(length + 1)),
            End::Junk(stream, junk) => {
                bytes.resize(length + 2 * BLOCK, 0);
                bytes.extend(body(stream, junk));
            }
        }
        bytes
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        8 => Just(Kind::Plain(b'0')),
        4 => select(b"1234567DVMZ\0".to_vec()).prop_map(Kind::Plain),
        1 => Just(Kind::Version7),
        1 => select(b"LK".to_vec()).prop_map(Kind::GnuLong),
        2 => select(b"xg".to_vec()).prop_map(Kind::Pax),
        1 => Just(Kind::PaxSize),
        1 => (0..3_u8).prop_map(Kind::OldSparse),
        1 => any::<bool>().prop_map(Kind::PaxSparse),
    ];
    let length = prop_oneof![
        4 => select(vec![0_usize, 1, 511, 512, 513, 1024]),
        4 => 0..3000_usize,
        1 => 100_000..300_000_usize,
    ];
    let sizes = select(vec![Number::Octal, Number::OctalSpace, Number::Spaces, Number::Base256]);
    let numbers = || {
        use Number::{Base256, Full, Junk, Negative, Octal, OctalSpace, Spaces};
        prop_oneof![
            5 => Just(Octal),
            1 => select(vec![OctalSpace, Spaces, Full, Base256, Negative, Junk]),
        ]
    };
    let body = (0..6_u8, length).prop_map(|(stream, length)| body(stream, length));
    let odd = (any::<u8>(), 0..30_u8);
    (kind, select(NAMES.to_vec()), body, sizes, numbers(), numbers(), odd).prop_map(
        |(kind, name, body, size, mtime, owner, (filler, odd))| Entry {
            kind,
            name,
            body,
            size,
            mtime,
            owner,
            filler: if odd == 0 { filler } else { 0 },
            seven_digits: odd == 1,
            broken: odd == 2,
        },
    )
}

impl Entry {
    /// The member with everything before it that belongs to it.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.kind {
            Kind::Plain(flag) => self.member(&mut bytes, flag, USTAR, &self.body),
            Kind::Version7 => self.member(&mut bytes, 0, [0; 8], &self.body),
            Kind::GnuLong(flag) => {
                let long = [self.name, &b"/long".repeat(60), b"\0"].concat();
                self.member(&mut bytes, flag, GNU, &long);
                self.member(&mut bytes, if flag == b'L' { b'0' } else { b'2' }, GNU, &self.body);
            }
            Kind::Pax(flag) => {
                let path = [self.name, b"/\xc3\xbcn\xc3\xaf"].concat();
                let records = [
                    record(b"path", &path),
                    record(b"mtime", b"1700000000.123456789"),
                    record(b"SCHILY.xattr.user.x", b"a\0b\nc"),
                ];
                self.member(&mut bytes, flag, USTAR, &records.concat());
                self.member(&mut bytes, b'0', USTAR, &self.body);
            }
            Kind::PaxSize => {
                let size = self.body.len().to_string();
                self.member(&mut bytes, b'x', USTAR, &record(b"size", size.as_bytes()));
                bytes.extend(self.header(b'0', USTAR, 0));
                self.put_body(&mut bytes, &self.body);
            }
            Kind::OldSparse(more) => self.old_sparse(&mut bytes, more),
            Kind::PaxSparse(first) => {
                let map = if first { "0,1,4096,2" } else { "1" };
                let key: &[u8] = if first { b"GNU.sparse.map" } else { b"GNU.sparse.major" };
                let records =
                    [record(key, map.as_bytes()), record(b"GNU.sparse.name", self.name)].concat();
                self.member(&mut bytes, b'x', USTAR, &records);
                let map = [b"2\n0\n1\n4096\n2\n".as_slice(), &[0; BLOCK - 13]].concat();
                let map = if first { Vec::new() } else { map };
                self.member(&mut bytes, b'0', USTAR, &[map, self.body.clone()].concat());
            }
        }
        bytes
    }

    fn member(&self, bytes: &mut Vec<u8>, flag: u8, magic: [u8; 8], body: &[u8]) {
        let bodiless = matches!(flag, b'1'..=b'6');
        bytes.extend(self.header(flag, magic, if bodiless { 0 } else { body.len() }));
        if !bodiless {
            self.put_body(bytes, body);
        }
    }

    fn old_sparse(&self, bytes: &mut Vec<u8>, more: u8) {
        let mut header = self.header(b'S', GNU, self.body.len());
        header[386..398].copy_from_slice(b"00000000000\0");
        header[482] = u8::from(more > 0);
        header[483..495].copy_from_slice(b"00000100000\0");
        seal(&mut header, false);
        bytes.extend(header);
        for left in (0..more).rev() {
            let mut block = [0; BLOCK];
            block[..12].copy_from_slice(b"00000010000\0");
            block[504] = u8::from(left > 0);
            bytes.extend(block);
        }
        self.put_body(bytes, &self.body);
    }

    fn put_body(&self, bytes: &mut Vec<u8>, body: &[u8]) {
        bytes.extend(body);
        let padding = body.len().next_multiple_of(BLOCK) - body.len();
        bytes.resize(bytes.len() + padding, self.filler);
    }

    fn header(&self, flag: u8, magic: [u8; 8], size: usize) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..self.name.len()].copy_from_slice(self.name);
        put(&mut header[100..108], 0o100_644, Number::Octal);
        put(&mut header[108..116], 1805, self.owner);
        put(&mut header[116..124], 0, self.owner);
        put(&mut header[124..136], size as u64, self.size);
        put(&mut header[136..148], 1_700_000_000 + u64::from(flag), self.mtime);
        header[156] = flag;
        if matches!(flag, b'1' | b'2') {
            header[157..168].copy_from_slice(b"etc/passwd\0");
        }
        header[257..265].copy_from_slice(&magic);
        if magic == USTAR {
            header[265..269].copy_from_slice(b"root");
            header[345..349].copy_from_slice(b"pre\0");
        }
        seal(&mut header, self.seven_digits);
        if self.broken {
            header[0] ^= 1;
        }
        header
    }
}

/// A PAX record; its length counts itself.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn put(field: &mut [u8], value: u64, style: Number) {
    let width = field.len();
    let less = width - 1;
    let text = match style {
        Number::Octal => format!("{value:0less$o}\0"),
        Number::OctalSpace => format!("{value:0less$o} "),
        Number::Spaces => format!("{value:>less$o} "),
        Number::Full => format!("{value:0width$o}"),
        Number::Junk => "9z".to_owned(),
        Number::Base256 | Number::Negative => {
            field.fill(if matches!(style, Number::Negative) { 0xff } else { 0 });
            for (at, byte) in value.to_le_bytes().into_iter().enumerate().take(less) {
                field[less - at] = byte;
            }
            field[0] |= 0x80;
            return;
        }
    };
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// Writes the checksum.
pub(crate) fn seal(header: &mut [u8; BLOCK], seven_digits: bool) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    let text = if seven_digits { format!("{sum:07o}\0") } else { format!("{sum:06o}\0 ") };
    header[148..156].copy_from_slice(text.as_bytes());
}
