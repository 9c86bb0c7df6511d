//! Header templates: what the headers of a layer have in common
//! (docs/FORMAT.md section 6.1).
//!
//! A header is taken apart into a template and six varying fields, and only if
//! putting those together gives the same 512 bytes.

use super::header::{BLOCK, field, parse_number, sums, until_nul};

/// Bytes of an encoded template.
pub const TEMPLATE: usize = 129;

const SIZE_STYLE: usize = 125;
const MTIME_STYLE: usize = 126;
const CHECKSUM_STYLE: usize = 127;
const FLAGS: usize = 128;
const BODY_BITS: u8 = 3;
const HAS_LINK: u8 = 4;
const HAS_PREFIX: u8 = 8;
const NUMBER_STYLES: u8 = 7;
const CHECKSUM_STYLES: u8 = 4;

/// Where the body of a member is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// There is none.
    Nothing,
    /// With the content.
    Content,
    /// With the framing, in the extensions column.
    Extension,
}

/// A template in its stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Template([u8; TEMPLATE]);

/// The fields of a header that its template doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The name field, without the NULs at its end.
    pub name: &'a [u8],
    /// The link field, the same.
    pub link: &'a [u8],
    /// The prefix field, the same.
    pub prefix: &'a [u8],
    /// Seconds.
    pub mtime: u64,
    /// Bytes.
    pub size: u64,
}

impl Template {
    /// Takes a header apart; `None` where no template gives it back exactly.
    pub fn split(block: &[u8; BLOCK], keep: Keep) -> Option<(Self, Fields<'_>)> {
        let fields = Fields {
            name: until_nul(&block[field::NAME]),
            link: until_nul(&block[field::LINK]),
            prefix: until_nul(&block[field::PREFIX]),
            mtime: parse_number(&block[field::MTIME])?,
            size: parse_number(&block[field::SIZE])?,
        };
        let mut bytes = [0; TEMPLATE];
        bytes[..24].copy_from_slice(&block[100..124]);
        bytes[24] = block[field::TYPE];
        bytes[25..113].copy_from_slice(&block[257..345]);
        bytes[113..125].copy_from_slice(&block[500..512]);
        bytes[SIZE_STYLE] = style_of(&block[field::SIZE], fields.size)?;
        bytes[MTIME_STYLE] = style_of(&block[field::MTIME], fields.mtime)?;
        let (sum, _) = sums(block);
        bytes[CHECKSUM_STYLE] =
            (0..CHECKSUM_STYLES).find(|style| checksum(*style, sum) == block[field::CHECKSUM])?;
        bytes[FLAGS] = match keep {
            Keep::Nothing => 0,
            Keep::Content => 1,
            Keep::Extension => 2,
        };
        bytes[FLAGS] |= if fields.link.is_empty() { 0 } else { HAS_LINK };
        bytes[FLAGS] |= if fields.prefix.is_empty() { 0 } else { HAS_PREFIX };
        let template = Self(bytes);
        (template.join(&fields) == *block).then_some((template, fields))
    }

    /// A template from its stored form, if it is well formed.
    pub fn from_bytes(bytes: [u8; TEMPLATE]) -> Option<Self> {
        let valid = bytes[SIZE_STYLE] < NUMBER_STYLES
            && bytes[MTIME_STYLE] < NUMBER_STYLES
            && bytes[CHECKSUM_STYLE] < CHECKSUM_STYLES
            && bytes[FLAGS] & BODY_BITS != BODY_BITS
            && bytes[FLAGS] & !(BODY_BITS | HAS_LINK | HAS_PREFIX) == 0;
        valid.then_some(Self(bytes))
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; TEMPLATE] {
        &self.0
    }

    /// The header that this template and `fields` make. Fields that are too
    /// long are cut; then the layer's digest tells.
    pub fn join(&self, fields: &Fields<'_>) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[100..124].copy_from_slice(&self.0[..24]);
        block[field::TYPE] = self.0[24];
        block[257..345].copy_from_slice(&self.0[25..113]);
        block[500..512].copy_from_slice(&self.0[113..125]);
        put_text(&mut block[field::NAME], fields.name);
        put_text(&mut block[field::LINK], fields.link);
        put_text(&mut block[field::PREFIX], fields.prefix);
        block[field::SIZE].copy_from_slice(&number(self.0[SIZE_STYLE], fields.size));
        block[field::MTIME].copy_from_slice(&number(self.0[MTIME_STYLE], fields.mtime));
        let (sum, _) = sums(&block);
        block[field::CHECKSUM].copy_from_slice(&checksum(self.0[CHECKSUM_STYLE], sum));
        block
    }

    /// Where the bodies of its members are.
    pub fn keep(&self) -> Keep {
        match self.0[FLAGS] & BODY_BITS {
            1 => Keep::Content,
            2 => Keep::Extension,
            _ => Keep::Nothing,
        }
    }

    /// Whether its members have a link field.
    pub fn has_link(&self) -> bool {
        self.0[FLAGS] & HAS_LINK != 0
    }

    /// Whether its members have a prefix field.
    pub fn has_prefix(&self) -> bool {
        self.0[FLAGS] & HAS_PREFIX != 0
    }

    /// The type flag of its members.
    pub fn kind(&self) -> u8 {
        self.0[24]
    }
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

fn style_of(field: &[u8], value: u64) -> Option<u8> {
    (0..NUMBER_STYLES).find(|style| number(*style, value) == *field)
}

/// `value` in 12 bytes, as the style says.
fn number(style: u8, value: u64) -> [u8; 12] {
    match style {
        0 => octal(value, 11, b'0', [0].as_slice()),
        1 => octal(value, 11, b'0', b" "),
        2 => {
            let mut field = [0; 12];
            field[0] = 0x80;
            for (byte, shift) in field[4..].iter_mut().zip((0..64).step_by(8).rev()) {
                *byte = ((value >> shift) & 0xff) as u8;
            }
            field
        }
        4 => octal(value, 11, b' ', b" "),
        5 => octal(value, 11, b' ', &[0]),
        6 => octal(value, 12, b'0', &[]),
        _ => [0; 12],
    }
}

/// The checksum field, as the style says.
fn checksum(style: u8, sum: u64) -> [u8; 8] {
    match style {
        0 => octal(sum, 6, b'0', b"\0 "),
        1 => octal(sum, 7, b'0', b"\0"),
        2 => octal(sum, 6, b'0', b" \0"),
        _ => octal(sum, 6, b' ', b"\0 "),
    }
}

/// `value` in octal, right-aligned in `digits` bytes and filled with `fill`,
/// then `end`. Digits that don't fit are dropped.
fn octal<const N: usize>(mut value: u64, digits: usize, fill: u8, end: &[u8]) -> [u8; N] {
    let mut field = [fill; N];
    field[digits..].copy_from_slice(end);
    for at in (0..digits).rev() {
        field[at] = b'0' + (value & 7) as u8;
        value >>= 3;
        if value == 0 {
            break;
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(build: impl FnOnce(&mut tar::Header)) -> [u8; BLOCK] {
        let mut header = tar::Header::new_ustar();
        header.set_path("usr/bin/true").unwrap();
        header.set_size(1234);
        header.set_mtime(1_700_000_000);
        header.set_mode(0o755);
        build(&mut header);
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn headers_come_back() {
        let plain = header(|_| {});
        let link = header(|header| {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name("true").unwrap();
            header.set_size(0);
        });
        let long = header(|header| {
            header.set_path(format!("{}/{}", "d".repeat(120), "f".repeat(90))).unwrap();
        });
        for block in [plain, link, long] {
            let (template, fields) = Template::split(&block, Keep::Content).unwrap();
            assert_eq!(template.join(&fields), block);
            assert_eq!(Template::from_bytes(*template.as_bytes()), Some(template));
        }
        let (template, fields) = Template::split(&long, Keep::Content).unwrap();
        assert!(template.has_prefix() && !template.has_link());
        assert_eq!((fields.prefix.len(), fields.name.len()), (120, 90));
    }

    #[test]
    fn every_style_is_found() {
        for style in 0..NUMBER_STYLES {
            let value = if style == 3 { 0 } else { 0o7654 };
            let mut block = header(|_| {});
            block[field::SIZE].copy_from_slice(&number(style, value));
            for check in 0..CHECKSUM_STYLES {
                let (sum, _) = sums(&block);
                block[field::CHECKSUM].copy_from_slice(&checksum(check, sum));
                let (template, fields) = Template::split(&block, Keep::Nothing).unwrap();
                assert_eq!((template.0[SIZE_STYLE], template.0[CHECKSUM_STYLE]), (style, check));
                assert_eq!((fields.size, template.join(&fields)), (value, block));
            }
        }
    }

    #[test]
    fn what_no_template_makes_is_refused() {
        let mut block = header(|_| {});
        block[50] = b'x'; // after the NUL that ends the name
        assert!(Template::split(&block, Keep::Content).is_none());
        assert!(Template::from_bytes([0xff; TEMPLATE]).is_none());
    }
}
