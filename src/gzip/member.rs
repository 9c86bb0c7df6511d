//! Members of a gzip stream (RFC 1952): where a header ends, and what it says
//! about the program that wrote it.
//!
//! A header is kept as it is, whatever is in it; its own checksum isn't looked at.

use super::EncoderId;
use super::id::Family;

/// The bytes behind the content of a member: CRC-32 and length.
pub(super) const TRAILER: usize = 8;

/// The part of a header that is always there.
const FIXED: usize = 10;
/// The longest header that is kept.
const LONGEST: usize = 128 << 10;

/// Flags of what follows the fixed part.
const CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// The first day of the year 1, as seconds of 1970 in 32 bits: what klauspost's
/// programs write without a time.
const NO_TIME: [u8; 4] = [0x00, 0x09, 0x6e, 0x88];

/// Bytes that are no header of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no gzip header of a known form")]
pub struct NotAHeader;

/// The length of the header at the start of `bytes`; `None` while there are too
/// few of them to tell.
pub fn header_length(bytes: &[u8]) -> Result<Option<usize>, NotAHeader> {
    let magic = [0x1f, 0x8b, 8];
    let known = bytes.len().min(magic.len());
    if bytes[..known] != magic[..known] {
        return Err(NotAHeader);
    }
    let Some(&flags) = bytes.get(3) else { return Ok(None) };
    if flags & RESERVED != 0 {
        return Err(NotAHeader);
    }
    match end_of_fields(bytes, flags) {
        Some(end) if end > LONGEST => Err(NotAHeader),
        None if bytes.len() >= LONGEST => Err(NotAHeader),
        end => Ok(end.filter(|end| *end <= bytes.len())),
    }
}

/// Where the fields end that `flags` announces, if that can be seen.
fn end_of_fields(bytes: &[u8], flags: u8) -> Option<usize> {
    let mut end = FIXED;
    if flags & EXTRA != 0 {
        let length = bytes.get(end..)?.first_chunk::<2>()?;
        end += 2 + usize::from(u16::from_le_bytes(*length));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            end += 1 + bytes.get(end..)?.iter().position(|byte| *byte == 0)?;
        }
    }
    if flags & CHECKSUM != 0 {
        end += 2;
    }
    Some(end)
}

/// The encoders that can have made what follows a header, the likeliest first.
pub fn candidates(header: &[u8]) -> Vec<EncoderId> {
    tiers(header).concat()
}

/// The same in groups: each is worth trying only if nothing in those before fits.
pub(super) fn tiers(header: &[u8]) -> Vec<Vec<EncoderId>> {
    let time = header.get(4..8).unwrap_or_default();
    let (effort, system) = (header.get(8), header.get(9));
    let mut all: Vec<EncoderId> = EncoderId::all()
        .filter(|id| match (effort, id.family()) {
            // Python wrote 2 for any level once, and Java writes 0.
            (Some(2 | 0), Family::Zlib) => true,
            (Some(2), _) => id.level() == 9,
            (Some(4), _) => id.level() == 1,
            (Some(0), _) => !matches!(id.level(), 1 | 9),
            _ => true,
        })
        .collect();
    let families: &[Family] = match system {
        Some(255) if time == NO_TIME => &[Family::Klauspost],
        Some(255) if time == [0; 4] => &[Family::Go],
        Some(3) => &[Family::Gzip, Family::Zlib],
        _ => &[Family::Zlib],
    };
    let tier = |id: &EncoderId| match (id.is_common(), families.contains(&id.family())) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    all.sort_by_key(tier);
    all.chunk_by(|one, next| tier(one) == tier(next)).map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_behind_their_fields() {
        let fixed = [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3];
        let mut full = fixed.to_vec();
        full[3] = 0x1f;
        full.extend(b"\x03\x00ex\0name\0a comment\0\x12\x34");
        for (header, length) in [(&fixed[..], 10), (&full, full.len())] {
            let stream = [header, b"body"].concat();
            for count in 0..length {
                assert_eq!(header_length(&stream[..count]), Ok(None), "{count}");
            }
            assert_eq!(header_length(&stream), Ok(Some(length)));
        }
        assert_eq!(header_length(&[0x1f, 0x8b, 8, 0x20]), Err(NotAHeader));
        assert_eq!(header_length(b"\x1f\x8c"), Err(NotAHeader));
        let endless = [&[0x1f, 0x8b, 8, NAME], vec![7; LONGEST].as_slice()].concat();
        assert_eq!(header_length(&endless), Err(NotAHeader));
    }

    #[test]
    fn the_header_says_what_to_try() {
        let names = |time: [u8; 4], effort| {
            let header = [&[0x1f, 0x8b, 8, 0], time.as_slice(), &[effort, 0xff]].concat();
            candidates(&header).into_iter().map(EncoderId::name).collect::<Vec<_>>()
        };
        assert_eq!(names([0; 4], 0)[..2], ["go-flate-6", "go127-flate-6"]);
        assert_eq!(names(NO_TIME, 0)[..2], ["pgzip-a", "pgzip-b"]);
        assert_eq!(names([0; 4], 4)[..2], ["go-flate-1", "go127-flate-1"]);
        assert_eq!(names([0; 4], 2)[..1], ["go-flate-9"]);
        assert_eq!(names([1; 4], 0)[..2], ["zlib-6", "zlib-9"]);
        assert_eq!(names([0; 4], 1).len(), EncoderId::all().count());
    }
}
