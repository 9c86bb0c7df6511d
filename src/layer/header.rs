//! One tar header block of 512 bytes: its fields, and nothing else.
//!
//! Reads the POSIX ustar, old V7 and GNU forms, with octal and base-256
//! numbers. It guarantees only what a valid checksum says; every other field
//! may hold anything. It follows no extension header: callers do.

/// The size of a tar block in bytes.
pub const BLOCK: usize = 512;

/// Offset and length in bytes of each field of a header block.
pub mod field {
    use std::ops::Range;

    /// File name, or its last part where `PREFIX` is used.
    pub const NAME: Range<usize> = 0..100;
    /// Permission bits.
    pub const MODE: Range<usize> = 100..108;
    /// Body length.
    pub const SIZE: Range<usize> = 124..136;
    /// Modification time, seconds since 1970.
    pub const MTIME: Range<usize> = 136..148;
    /// Sum of all bytes of the block with this field as spaces.
    pub const CHECKSUM: Range<usize> = 148..156;
    /// What kind of member this is.
    pub const TYPE: usize = 156;
    /// Target of a link.
    pub const LINK: Range<usize> = 157..257;
    /// Magic and version together.
    pub const MAGIC: Range<usize> = 257..265;
    /// First part of a long name (ustar); times and sparse map (GNU).
    pub const PREFIX: Range<usize> = 345..500;
}

/// A block whose checksum is valid.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    block: &'a [u8; BLOCK],
}

impl<'a> Header<'a> {
    /// The block as a header, if its checksum (unsigned, or signed as some old
    /// writers summed) is right. A block of zeros is no header.
    pub fn parse(block: &'a [u8; BLOCK]) -> Option<Self> {
        let stored = parse_number(&block[field::CHECKSUM])?;
        let (unsigned, signed) = sums(block);
        let valid = stored == unsigned || i64::try_from(stored).ok() == Some(signed);
        (valid && unsigned != 8 * u64::from(b' ')).then_some(Self { block })
    }

    /// The name field up to its first NUL.
    pub fn name(&self) -> &'a [u8] {
        until_nul(&self.block[field::NAME])
    }

    /// The link target up to its first NUL.
    pub fn link(&self) -> &'a [u8] {
        until_nul(&self.block[field::LINK])
    }

    /// The prefix field up to its first NUL; empty unless the magic is POSIX
    /// ustar, since GNU tar keeps other things there.
    pub fn prefix(&self) -> &'a [u8] {
        if &self.block[field::MAGIC][..6] == b"ustar\0" {
            until_nul(&self.block[field::PREFIX])
        } else {
            &[]
        }
    }

    /// The name with its prefix.
    pub fn path(&self) -> Vec<u8> {
        let (prefix, name) = (self.prefix(), self.name());
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The size field as a number, if it is one.
    pub fn size(&self) -> Option<u64> {
        parse_number(&self.block[field::SIZE])
    }

    /// The mtime field as a number, if it is one that is not negative.
    pub fn mtime(&self) -> Option<u64> {
        parse_number(&self.block[field::MTIME])
    }

    /// The type flag byte as it stands.
    pub fn kind(&self) -> u8 {
        self.block[field::TYPE]
    }

    /// Whether a body of `size` bytes follows: links, devices, directories and
    /// FIFOs have none whatever their size field says, as in Go's archive/tar.
    pub fn has_body(&self) -> bool {
        !matches!(self.kind(), b'1'..=b'6')
    }
}

/// Reads a numeric field: octal digits with spaces or NULs around them, or
/// base-256 (first bit set). Empty fields are 0. `None` for anything else, for
/// negative numbers and for numbers over 2^63 - 1.
pub fn parse_number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        return parse_base256(field);
    }
    let start = field.iter().position(|&byte| byte != b' ' && byte != 0).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|&byte| byte == b' ' || byte == 0).unwrap_or(digits.len());
    if digits[end..].iter().any(|&byte| byte != b' ' && byte != 0) {
        return None;
    }
    let mut value: u64 = 0;
    for &digit in &digits[..end] {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))?;
    }
    (i64::try_from(value).is_ok()).then_some(value)
}

fn parse_base256(field: &[u8]) -> Option<u64> {
    if field[0] & 0x40 != 0 {
        return None;
    }
    let mut value: u64 = u64::from(field[0] & 0x3f);
    for &byte in &field[1..] {
        value = value.checked_mul(256)?.checked_add(u64::from(byte))?;
    }
    i64::try_from(value).is_ok().then_some(value)
}

/// The unsigned and the signed checksum of a block.
pub fn sums(block: &[u8; BLOCK]) -> (u64, i64) {
    // Without a condition for each byte, so that many are added at once.
    let of = |bytes: &[u8]| {
        bytes.iter().fold((0u32, 0u32), |(sum, negative), &byte| {
            (sum + u32::from(byte), negative + u32::from(byte >> 7))
        })
    };
    let (all, own) = (of(block), of(&block[field::CHECKSUM]));
    let blanks = 8 * u32::from(b' ');
    let (unsigned, negative) = (all.0 - own.0 + blanks, all.1 - own.1);
    (unsigned.into(), i64::from(unsigned) - 256 * i64::from(negative))
}

/// The records of a PAX extended header body (POSIX pax, "Extended Header"),
/// as far as they are well formed.
pub fn pax_records(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let space = rest.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
        rest = &rest[length..];
        let equals = record.iter().position(|&byte| byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    })
}

/// What an extension header says of the member after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extended<'a> {
    /// Its path.
    pub path: Option<&'a [u8]>,
    /// The length of its body.
    pub size: Option<u64>,
}

impl<'a> Extended<'a> {
    /// Reads the body of an extension header of this kind: `x` (PAX) or `L` (GNU
    /// long name). Others say neither path nor size of one member.
    pub fn of(kind: u8, body: &'a [u8]) -> Self {
        let mut extended = Self::default();
        match kind {
            b'x' => {
                for (key, value) in pax_records(body) {
                    match key {
                        b"path" => extended.path = Some(value),
                        b"size" => {
                            let text = std::str::from_utf8(value).ok();
                            extended.size = text.and_then(|text| text.parse().ok());
                        }
                        _ => {}
                    }
                }
            }
            b'L' => extended.path = Some(until_nul(body)),
            _ => {}
        }
        extended
    }
}

/// The bytes before the first NUL, or all of them.
pub fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse_number(b"0000644\0"), Some(0o644));
        assert_eq!(parse_number(b"   644 \0"), Some(0o644));
        assert_eq!(parse_number(b"\0\0\0\0"), Some(0));
        assert_eq!(parse_number(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02"), Some(258));
        assert_eq!(parse_number(b"\xff\xff\xff\xff"), None);
        assert_eq!(parse_number(b"12x\0"), None);
        assert_eq!(parse_number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn pax_records_end_at_the_first_bad_one() {
        let body = b"11 path=ab\n9 size=7\nxx";
        let records: Vec<_> = pax_records(body).collect();
        assert_eq!(records, [(&b"path"[..], &b"ab"[..]), (b"size", b"7")]);
        assert_eq!(pax_records(b"99999999999999999999 a=b\n").count(), 0);
        assert_eq!(pax_records(b"3 a=b\n").count(), 0);
    }

    #[test]
    fn sums_take_the_checksum_field_for_blanks() {
        let mut block = [1; BLOCK];
        block[field::CHECKSUM].fill(0xff);
        block[0] = 0x80;
        assert_eq!(sums(&block), (503 + 128 + 8 * 32, 503 - 128 + 8 * 32));
    }

    #[test]
    fn zeros_are_no_header() {
        assert!(Header::parse(&[0; BLOCK]).is_none());
    }
}
