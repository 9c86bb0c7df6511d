//! Sizes in bytes, as people read them.

use std::fmt;

/// A count of bytes; prints with two digits at least and a decimal unit:
/// `999 B`, `1.1 MB`, `84 MB`, `1.2 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
        if self.0 < 1000 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut unit = 1000u128;
        let mut name = UNITS[0];
        for next in &UNITS[1..] {
            // 999.5 and more of a unit would print as 1000 of it.
            if u128::from(self.0) * 2 < unit * 1999 {
                break;
            }
            unit *= 1000;
            name = next;
        }
        let tenths = (u128::from(self.0) * 10 + unit / 2) / unit;
        if tenths < 100 {
            f.pad(&format!("{}.{} {name}", tenths / 10, tenths % 10))
        } else {
            let whole = (u128::from(self.0) + unit / 2) / unit;
            f.pad(&format!("{whole} {name}"))
        }
    }
}

/// Reads a size as people give it to programs: `512M`, `1G`, `2 GiB`; units are powers
/// of 1024, and a number alone is bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << (10 * power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("17b", Some(17)),
            ("512M", Some(512 << 20)),
            ("512 MiB", Some(512 << 20)),
            ("1g", Some(1 << 30)),
            (" 3 KB ", Some(3 << 10)),
            ("16777215T", Some(16_777_215 << 40)),
            ("16777216T", None),
            ("", None),
            ("M", None),
            ("-1M", None),
            ("1.5G", None),
            ("1GG", None),
            ("1x", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn prints_two_digits_at_least() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_149_999, "1.1 MB"),
            (9_949_999, "9.9 MB"),
            (9_950_000, "10 MB"),
            (84_000_001, "84 MB"),
            (314_500_000, "315 MB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text, "{bytes}");
        }
    }
}
