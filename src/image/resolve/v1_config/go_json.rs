//! JSON as Go's `encoding/json` writes it.
//!
//! The same as serde's but for a few characters: `<`, `>` and `&` and the two
//! line separators of Unicode are escaped, since Go expects the text in HTML, and
//! so are backspace and form feed, by number.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use serde_json::value::RawValue;

/// `value` in Go's form.
pub(super) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    // Strings, numbers, lists and maps with string keys always serialise, and
    // a Vec takes all bytes: there is no error to report.
    drop(value.serialize(&mut Serializer::with_formatter(&mut out, Go)));
    out
}

/// A map in Go's form: the values as they are written, without blanks.
pub(super) fn compact_map(map: &BTreeMap<String, Box<RawValue>>) -> Vec<u8> {
    let mut out = b"{".to_vec();
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(to_vec(key));
        out.push(b':');
        compact(value.get(), &mut out);
    }
    out.push(b'}');
    out
}

/// Valid JSON without blanks between its tokens.
fn compact(json: &str, out: &mut Vec<u8>) {
    let mut text = [0; 4];
    let (mut in_string, mut escaped) = (false, false);
    for char in json.chars() {
        if !in_string && matches!(char, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        if char == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = char == '\\' && !escaped;
        match escape(char) {
            Some(escape) => out.extend(escape.as_bytes()),
            None => out.extend(char.encode_utf8(&mut text).as_bytes()),
        }
    }
}

/// What Go writes instead, wherever the character stands in a text.
fn escape(char: char) -> Option<&'static str> {
    match char {
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '&' => Some("\\u0026"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    }
}

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, escaped)) =
            rest.char_indices().find_map(|(at, char)| escape(char).map(|text| ((at, char), text)))
        {
            let (at, char) = at;
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(escaped.as_bytes())?;
            rest = &rest[at + char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        writer.write_all(match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::Backspace => b"\\u0008",
            CharEscape::FormFeed => b"\\u000c",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        let text = "a<b>&\u{2028}\u{8}\u{c}\n\u{1}\u{e4}\"\\/";
        let expected = r#""a\u003cb\u003e\u0026\u2028\u0008\u000c\n\u0001*\"\\/""#;
        assert_eq!(String::from_utf8(to_vec(&text)).unwrap(), expected.replace('*', "\u{e4}"));
    }

    #[test]
    fn compacts_and_keeps_what_is_written() {
        let json = "{\"b\": [1.50 , \"x  \\\" <y> \\\\\" ,\n null], \"a\":\t{ }}";
        let map = serde_json::from_str(json).unwrap();
        let expected = r#"{"a":{},"b":[1.50,"x  \" \u003cy\u003e \\",null]}"#;
        assert_eq!(String::from_utf8(compact_map(&map)).unwrap(), expected);
    }
}
